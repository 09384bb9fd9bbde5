import { describe, expect, it } from 'vitest';
import { Random, SEED } from '../../support/random.ts';
import { query, railOf } from '../../support/rail-bench.ts';

const BURST = `
- { id: r, title: t, event: dns.query, count: new(dns.qname), by: [vm, dns.suffix], limit: { max: 4, window: 10s }, warn: 0.5 }
- { id: s, title: t, event: dns.query, count: events, by: [vm], limit: { max: 6, window: 10s }, mode: shadow }`;

describe('detections', () => {
  it('are one line a transition: warned, blocked, released a whole window after the last refusal', () => {
    const { rail, clock, lines, transitions } = railOf(BURST);
    for (let i = 0; i < 9; i += 1) rail.decide(query('vm-a', `n${i}.example.com`));
    const of = (rule: string): object[] =>
      lines.filter((l) => l.rule === rule).map(({ state, count }) => ({ state, count }));
    expect(of('r')).toEqual([
      { state: 'warned', count: 1 },
      { state: 'blocked', count: 1 },
    ]);
    clock.advance(9_999);
    transitions.sweep();
    expect(of('r')).toHaveLength(2);
    clock.advance(1);
    transitions.sweep();
    expect(of('r').at(-1)).toEqual({ state: 'released', count: 4 });
    expect(transitions.openKeys).toBe(0);
  });

  it('say everything that a person needs, and refusals carry the id of the line', () => {
    const { rail, lines } = railOf(BURST);
    const decisions = Array.from({ length: 6 }, (_, i) => rail.decide(query('vm-a', `n${i}.example.com`)));
    const blocked = lines.find((l) => l.rule === 'r' && l.state === 'blocked');
    expect(blocked).toMatchObject({
      eventType: 'dns.query',
      vm: 'vm-a',
      profile: 'balanced',
      key: 'vm=vm-a dns.suffix=example.com',
      value: 4,
      max: 4,
      windowMs: 10_000,
      mode: 'enforce',
      verdict: 'block',
      count: 1,
      interval: false,
      retryAfterMs: 10_000,
    });
    const last = decisions.at(-1);
    expect(last?.verdict === 'block' && last.id).toBe(blocked?.eventId);
  });

  it('never lose a count: over all lines of a rule they add up to its refusals, shadow included', () => {
    const random = new Random(SEED);
    const { rail, clock, lines, transitions } = railOf(BURST);
    let refused = 0;
    for (let i = 0; i < 20_000; i += 1) {
      const name = `n${random.int(0, 500)}.d${random.int(0, 30)}.example`;
      if (rail.decide(query(random.pick(['vm-a', 'vm-b']), name)).verdict === 'block') refused += 1;
      clock.advance(random.int(0, 40));
      if (random.next() < 0.05) transitions.sweep();
    }
    transitions.flush();
    const counted = lines
      .filter((l) => l.rule === 'r' && l.state !== 'warned')
      .reduce((sum, l) => sum + l.count, 0);
    expect(refused, `TEST_SEED=${SEED}`).toBeGreaterThan(100);
    expect(counted, `TEST_SEED=${SEED}`).toBe(refused);
    expect(lines.some((l) => l.rule === 's' && l.mode === 'shadow' && l.count > 1)).toBe(true);
  });

  it('stay bounded when every key is new, and still count every refusal', () => {
    const { rail, clock, lines, transitions } = railOf(
      `- { id: r, title: t, event: dns.query, by: [vm, dns.qname] }`,
    );
    for (let i = 0; i < 40_000; i += 1) rail.decide(query('vm-a', `n${i}.example.com`));
    expect(transitions.openKeys).toBeLessThanOrEqual(257);
    expect(lines.length).toBeLessThanOrEqual(257);
    clock.advance(3_600_000);
    transitions.sweep();
    expect(lines.reduce((sum, l) => sum + l.count, 0)).toBe(40_000);
    expect(transitions.openKeys).toBe(0);
  });
});
