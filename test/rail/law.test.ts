// The law of DESIGN.md section 4 as properties, against the brute-force oracle and against plain arithmetic.
import { describe, expect, it } from 'vitest';
import type { SecurityEvent } from '../../src/rail/event.ts';
import type { Count, Limit, Rule } from '../../src/rail/rule.ts';
import type { Decision } from '../../src/rail/decision.ts';
import { closed, query, railOf, tunnel } from '../support/rail-bench.ts';
import { Oracle } from '../support/oracle.ts';
import { Random, SEED } from '../support/random.ts';

console.log(`law: TEST_SEED=${SEED}`);

const policy = (rules: readonly Rule[]): { revision: string; profiles: Map<string, readonly Rule[]> } => ({
  revision: 'test',
  profiles: new Map([['balanced', rules]]),
});

const base = { title: 'a rule', level: 'low', tags: [], then: 'block', mode: 'enforce' } as const;

const WINDOWS_MS = [1, 7, 60, 119, 1000, 1001, 3600] as const;

function randomLimit(random: Random, count: Count): Limit {
  const windowMs = random.pick(WINDOWS_MS);
  if (count.kind === 'distinct') return { kind: 'sliding', max: random.int(0, 6), windowMs, exact: true };
  if (random.next() < 0.4) {
    return {
      kind: 'bucket',
      bucket: random.int(1, 60),
      refill: random.int(1, 50),
      perMs: random.int(1, 4000),
    };
  }
  const max = random.next() < 0.05 ? 0 : random.next() < 0.2 ? random.int(129, 140) : random.int(1, 40);
  return { kind: 'sliding', max, windowMs, exact: max <= 128 || random.next() < 0.5 };
}

function randomRule(random: Random, i: number): Rule {
  const id = `r${i}`;
  const mode = random.next() < 0.2 ? ('shadow' as const) : ('enforce' as const);
  const then = random.next() < 0.1 ? ('detect' as const) : ('block' as const);
  const kind = random.int(0, 9);
  if (kind === 0) {
    const limit: Limit = { kind: 'concurrent', max: random.int(0, 3) };
    return { ...base, id, mode, then, events: ['tunnel.open'], count: { kind: 'events' }, by: ['vm'], limit };
  }
  if (kind === 1) {
    const count: Count = { kind: 'sum', field: 'octets_up' };
    const limit = randomLimit(random, count);
    return { ...base, id, mode, then, events: ['tunnel.close'], count, by: ['vm', 'dest.host'], limit };
  }
  const count = random.pick<Count>([
    { kind: 'events' },
    { kind: 'distinct', field: 'dns.qtype' },
    { kind: 'distinct', field: 'dns.qname' },
    { kind: 'new', field: 'dns.qname' },
    { kind: 'new', field: 'dns.suffix' },
    { kind: 'octets', field: 'dns.subdomain', fresh: 'dns.qname' },
  ]);
  const by = random.pick([['vm'], ['vm', 'dns.suffix'], ['vm', 'dns.qtype'], ['dns.suffix'], []] as const);
  const limit = randomLimit(random, count);
  const forMs = random.int(1, 500);
  const hold = { forMs, factor: random.int(1, 3), maxMs: forMs * random.int(1, 8) };
  return {
    ...base,
    id,
    mode,
    then,
    events: ['dns.query'],
    count,
    by,
    limit,
    ...(random.next() < 0.5 ? { hold } : {}),
  };
}

function randomEvent(random: Random): SecurityEvent {
  const vm = random.pick(['vm-a', 'vm-b']);
  const host = random.pick(['a.example', 'b.example']);
  const kind = random.int(0, 9);
  if (kind === 0) return tunnel(vm, host);
  if (kind === 1) return closed(vm, host, random.int(0, 50));
  const label = 'x'.repeat(random.int(1, 20)) + String(random.int(0, 30));
  return query(
    vm,
    `${label}.${random.pick(['one.example', 'two.example'])}`,
    random.pick(['A', 'AAAA', 'TXT']),
  );
}

/** Mostly bursts, now and then a pause, and often a step to just around a window's edge. */
function randomStep(random: Random): number {
  const kind = random.int(0, 5);
  if (kind < 3) return random.int(0, 3);
  if (kind === 3) return random.int(0, 500);
  return random.pick(WINDOWS_MS) + random.int(-1, 1);
}

const shown = (d: Decision): object =>
  d.verdict === 'allow'
    ? { verdict: 'allow' }
    : { verdict: 'block', rule: d.rule, by: d.determinedBy.toSorted(), retryAfterMs: d.retryAfterMs };

const SEQUENCES = 10_000;
const EVENTS = 60;

describe('the law, against a brute-force oracle', () => {
  it('decides every event of thousands of random sequences as the oracle does', () => {
    for (let s = 0; s < SEQUENCES; s += 1) {
      const random = new Random(SEED + s);
      const rules = Array.from({ length: random.int(1, 5) }, (_, i) => randomRule(random, i));
      const { rail, clock, errors } = railOf(policy(rules), { keysPerVm: 256 });
      const oracle = new Oracle(rules);
      const open: { decision: Decision; event: SecurityEvent }[] = [];
      for (let e = 0; e < EVENTS; e += 1) {
        clock.advance(randomStep(random));
        const event = randomEvent(random);
        const decision = rail.decide(event);
        const expected = oracle.decide(event, clock.now());
        const want =
          expected.verdict === 'allow'
            ? { verdict: 'allow' }
            : {
                verdict: 'block',
                rule: expected.rule,
                by: expected.determinedBy,
                retryAfterMs: expected.retryAfterMs,
              };
        const got = shown(decision);
        if (JSON.stringify(got) !== JSON.stringify(want)) {
          expect(got, `TEST_SEED=${SEED} sequence ${s} event ${e} ${JSON.stringify(rules)}`).toEqual(want);
        }
        if (decision.verdict === 'allow' && event.type === 'tunnel.open') open.push({ decision, event });
        if (open.length > 0 && random.next() < 0.3) {
          const done = open.splice(random.int(0, open.length - 1), 1)[0];
          if (done?.decision.verdict === 'allow' && done.decision.ticket !== undefined) {
            rail.finish(done.decision.ticket);
            rail.finish(done.decision.ticket);
          }
          if (done !== undefined) oracle.finish(done.event);
        }
      }
      expect(errors).toEqual([]);
    }
  });
});

describe('the law, by its own words', () => {
  it('gives the same decisions whatever the order of the rules', () => {
    for (let s = 0; s < 300; s += 1) {
      const random = new Random(SEED + s);
      const rules = Array.from({ length: 4 }, (_, i) => randomRule(random, i));
      const one = railOf(policy(rules));
      const two = railOf(policy(random.shuffle(rules)));
      for (let e = 0; e < EVENTS; e += 1) {
        const step = randomStep(random);
        one.clock.advance(step);
        two.clock.advance(step);
        const event = randomEvent(random);
        expect(shown(two.rail.decide(event))).toEqual(shown(one.rail.decide(event)));
      }
    }
  });

  it('is not changed by rules in shadow, nor by rules that only detect', () => {
    for (let s = 0; s < 300; s += 1) {
      const random = new Random(SEED + s);
      const rules = Array.from({ length: 3 }, (_, i) => ({
        ...randomRule(random, i),
        mode: 'enforce' as const,
      }));
      const shadows = Array.from({ length: 3 }, (_, i) => ({
        ...randomRule(random, i + 10),
        mode: random.next() < 0.5 ? ('shadow' as const) : ('enforce' as const),
      })).map((rule) => (rule.mode === 'shadow' ? rule : { ...rule, then: 'detect' as const }));
      const one = railOf(policy(rules));
      const two = railOf(policy([...shadows, ...rules]));
      for (let e = 0; e < EVENTS; e += 1) {
        const step = randomStep(random);
        one.clock.advance(step);
        two.clock.advance(step);
        const event = randomEvent(random);
        expect(shown(two.rail.decide(event)), `seed ${SEED + s}`).toEqual(shown(one.rail.decide(event)));
      }
    }
  });

  it('admits at retry_after and not 1 ms earlier, if nothing else was charged', () => {
    let tried = 0;
    for (let s = 0; s < 1500; s += 1) {
      const random = new Random(SEED + s);
      const rules = Array.from({ length: random.int(1, 3) }, (_, i) => randomRule(random, i));
      const { rail, clock } = railOf(policy(rules));
      for (let e = 0; e < EVENTS; e += 1) {
        clock.advance(random.int(0, 3));
        const event = randomEvent(random);
        const decision = rail.decide(event);
        if (decision.verdict === 'allow' || decision.retryAfterMs === undefined) continue;
        tried += 1;
        clock.advance(decision.retryAfterMs - 1);
        const early = rail.decide(event);
        expect(early.verdict, `seed ${SEED + s}`).toBe('block');
        if (early.verdict !== 'allow') expect(early.retryAfterMs, `seed ${SEED + s}`).toBe(1);
        clock.advance(1);
        expect(rail.decide(event).verdict, `seed ${SEED + s}`).toBe('allow');
      }
    }
    expect(tried).toBeGreaterThan(1000);
  });

  it('admits at most max in every half-open window, and a ring sustains max·120/121', () => {
    for (let s = 0; s < 60; s += 1) {
      const random = new Random(SEED + s);
      const max = random.pick([1, 3, 60, 119, 128, 129, 600]);
      const windowMs = random.pick([1000, 60_000, 3_600_000]);
      const limit: Limit = { kind: 'sliding', max, windowMs, exact: max <= 128 };
      const rule: Rule = {
        ...base,
        id: 'r',
        events: ['dns.query'],
        count: { kind: 'events' },
        by: ['vm'],
        limit,
      };
      const { rail, clock } = railOf(policy([rule]));
      const admitted: number[] = [];
      const start = clock.now();
      const gap = windowMs / max / 3;
      while (clock.now() - start < 5 * windowMs) {
        clock.advance(Math.max(1, Math.round(random.next() * 2 * gap)));
        if (rail.decide(query('vm-a', 'a.example')).verdict === 'allow') admitted.push(clock.now());
      }
      for (let i = 0; i + max < admitted.length; i += 1) {
        expect((admitted[i + max] ?? 0) - (admitted[i] ?? 0)).toBeGreaterThanOrEqual(windowMs);
      }
      const sustained = max > 128 ? (max * 120) / 121 : max;
      const inFour = admitted.filter((t) => t - start >= windowMs).length;
      if (gap >= 1) expect(inFour).toBeGreaterThanOrEqual(Math.floor(4 * sustained * 0.9));
    }
  });

  it('lets through at most bucket + refill·t in any time t', () => {
    for (let s = 0; s < 100; s += 1) {
      const random = new Random(SEED + s);
      const [bucket, refill, perMs] = [
        random.int(1, 2000),
        random.int(1, 5000),
        random.pick([1000, 60_000, 86_400_000]),
      ];
      const limit: Limit = { kind: 'bucket', bucket, refill, perMs };
      const count: Count = { kind: 'sum', field: 'octets_up' };
      const rule: Rule = { ...base, id: 'r', events: ['tunnel.close'], count, by: ['vm'], limit };
      const { rail, clock } = railOf(policy([rule]));
      const admitted: { at: number; cost: number }[] = [];
      for (let e = 0; e < 300; e += 1) {
        clock.advance(random.int(0, Math.ceil(perMs / refill)));
        const cost = random.int(0, Math.ceil(bucket / 3));
        if (rail.decide(closed('vm-a', 'a.example', cost)).verdict === 'allow')
          admitted.push({ at: clock.now(), cost });
      }
      for (let i = 0; i < admitted.length; i += 7) {
        let sum = 0;
        for (let j = i; j < admitted.length; j += 1) {
          sum += admitted[j]?.cost ?? 0;
          const t = (admitted[j]?.at ?? 0) - (admitted[i]?.at ?? 0);
          expect(sum).toBeLessThanOrEqual(bucket + (refill * t) / perMs + 1e-9);
        }
      }
    }
  });

  it('keeps rates exact: 3 per 3600 s and 119 per 60 s', () => {
    for (const [max, windowMs] of [
      [3, 3_600_000],
      [119, 60_000],
    ] as const) {
      const limit: Limit = { kind: 'sliding', max, windowMs, exact: true };
      const rule: Rule = {
        ...base,
        id: 'r',
        events: ['dns.query'],
        count: { kind: 'events' },
        by: ['vm'],
        limit,
      };
      const { rail, clock } = railOf(policy([rule]));
      const ask = (): string => rail.decide(query('vm-a', 'a.example')).verdict;
      for (let i = 0; i < max; i += 1) expect(ask()).toBe('allow');
      for (const pause of [10_000, 40_000, 9_999]) {
        clock.advance(pause);
        expect(ask()).toBe('block');
      }
      clock.advance(windowMs - 59_999 - 1);
      expect(ask()).toBe('block');
      clock.advance(1);
      for (let i = 0; i < max; i += 1) expect(ask()).toBe('allow');
      expect(ask()).toBe('block');
    }
  });
});
