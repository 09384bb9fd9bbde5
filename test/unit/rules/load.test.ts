import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { loadRules } from '../../../src/rules/load.ts';
import { query, railOf, tunnel } from '../../support/rail-bench.ts';

const RULES = new URL('../../../config/rules/', import.meta.url);

function problemsOf(text: string): readonly string[] {
  const loaded = loadRules({ corp: [], profiles: new Map([['balanced', [{ path: 'r.yaml', text }]]]) });
  return loaded.ok ? [] : loaded.problems;
}

const rule = (more: string): string => `- id: r\n  title: t\n${more.replace(/^/gm, '  ')}\n`;

describe('shipped rules', () => {
  for (const name of readdirSync(RULES)) {
    it(`${name} loads, and each rule carries the reason for its number in a comment`, () => {
      const text = readFileSync(new URL(name, RULES), 'utf8');
      expect(problemsOf(text)).toEqual([]);
      for (const part of text.split(/^- id: /m).slice(1)) {
        expect(part, `rule ${part.split('\n', 1)[0]}`).toMatch(/^ {2}# \S.{20}/m);
      }
    });
  }
});

/** What a person may get wrong, and what they are told. Each row is a load error with its place. */
const WRONG: readonly (readonly [string, string, string])[] = [
  [
    'a misspelt key',
    'event: dns.query\nlimt: { max: 1, window: 1s }',
    'r.yaml:4:9: rule `r`: unknown key `limt`',
  ],
  ['a misspelt key of a limit', 'event: dns.query\nlimit: { max: 1, windw: 1s }', '`limit.windw`'],
  [
    'a window without a unit',
    'event: dns.query\nlimit: { max: 1, window: 60 }',
    '`limit.window`: must be a time above 0',
  ],
  [
    'a window of 0',
    'event: dns.query\nlimit: { max: 1, window: 0s }',
    '`limit.window`: must be a time above 0',
  ],
  ['a negative limit', 'event: dns.query\nlimit: { max: -1, window: 1s }', 'must be 0 or more'],
  ['a refill of 0', 'event: dns.query\nlimit: { bucket: 1, refill: 0, per: day }', 'must be above 0'],
  ['a bucket of 0', 'event: dns.query\nlimit: { bucket: 0, refill: 1, per: day }', 'must be above 0'],
  ['a limit that is not a number', 'event: dns.query\nlimit: { max: many, window: 1s }', 'must be a number'],
  ['an unknown event', 'event: dns.qurey', 'must be an event type or a list of them'],
  [
    'an unknown field in by',
    'event: dns.query\nby: [vm, dns.sufix]',
    'r.yaml:4:12: rule `r`: unknown field `dns.sufix`',
  ],
  [
    'a field of another event in by',
    'event: http.request\nby: [vm, dns.suffix]',
    'is not a field of http.request events',
  ],
  [
    'a field that an event may lack',
    'event: dns.query\nby: [tenant]',
    '`tenant` is not on every dns.query event',
  ],
  [
    'a field that one of the events lacks',
    'event: [dns.query, http.request]\nby: [http.method]',
    'is not a field of dns.query',
  ],
  [
    'an unknown count',
    'event: dns.query\ncount: uniq(dns.qname)\nlimit: { max: 1, window: 1s }',
    '`count` must be events',
  ],
  [
    'octets without new',
    'event: dns.query\ncount: octets(dns.qname)\nlimit: { max: 1, window: 1s }',
    '`count` must be events',
  ],
  [
    'a sum of text',
    'event: dns.query\ncount: sum(dns.qname)\nlimit: { max: 1, window: 1s }',
    'so it has no sum',
  ],
  [
    'octets of a number',
    "event: dns.query\ncount: 'octets(dest.port, new: dns.qname)'\nlimit: { max: 1, window: 1s }",
    'so it has no octets',
  ],
  [
    'distinct in a bucket',
    'event: dns.query\ncount: distinct(dns.qname)\nlimit: { bucket: 1, refill: 1, per: day }',
    'distinct needs a window',
  ],
  [
    'a distinct set too large',
    'event: dns.query\ncount: distinct(dns.qname)\nlimit: { max: 5000, window: 1s }',
    'at most 1024',
  ],
  ['half an event', 'event: dns.query\nlimit: { max: 1.5, window: 1s }', 'must be a whole number'],
  [
    'an exact log too large',
    'event: dns.query\nlimit: { max: 20000, window: 1s, exact: true }',
    'at most 16384',
  ],
  [
    'slots for what does not stay open',
    'event: dns.query\nlimit: { max: 5, concurrent: true }',
    'needs events that stay open',
  ],
  ['warn without a limit', 'event: dns.query\nwarn: 0.5', '`warn` needs a `limit`'],
  ['warn of 1', 'event: dns.query\nlimit: { max: 1, window: 1s }\nwarn: 1', 'above 0 and below 1'],
  ['hold without a limit', 'event: dns.query\nhold: { for: 1s }', '`hold` needs a `limit`'],
  [
    'a hold whose max is shorter',
    'event: dns.query\nlimit: { max: 1, window: 1s }\nhold: { for: 2s, factor: 2, max: 1s }',
    'must not be shorter',
  ],
  [
    'a growing hold without a max',
    'event: dns.query\nlimit: { max: 1, window: 1s }\nhold: { for: 2s, factor: 2 }',
    'needs `hold.max`',
  ],
  [
    'allow with a limit',
    'event: dns.query\nthen: allow\nlimit: { max: 1, window: 1s }',
    '`then: allow` takes no limit',
  ],
  ['a count without a limit', 'event: dns.query\ncount: new(dns.qname)', '`count` needs a `limit`'],
  ['a DNS answer without DNS', 'event: http.request\nanswer: { dns: nodata }', 'needs the event dns.query'],
  ['a verdict of a later day', 'event: dns.query\nthen: refuse', 'must be allow, detect or block'],
  ['a misspelt field in a message', "event: dns.query\nmessage: 'no {dns.nmae}'", 'unknown field `dns.nmae`'],
  ['a misspelt field in when', 'event: dns.query\nwhen: \'dns.qnam == "a"\'', 'No such key: qnam'],
  ['a misspelt field in has()', "event: dns.query\nwhen: 'has(dns.nope)'", 'has() takes a field'],
  [
    'a field of another event in when',
    "event: http.request\nwhen: 'dns.reverse'",
    'is not a field of http.request',
  ],
  ['a when that is no condition', "event: dns.query\nwhen: 'dns.qname'", 'a condition must be true or false'],
  [
    'a when that stops short',
    "event: dns.query\nwhen: 'dns.reverse &&'",
    'r.yaml:4:24: rule `r`: `when`: Unexpected token',
  ],
  ['matches in when', 'event: dns.query\nwhen: \'dns.qname.matches("^(a+)+$")\'', "can't be used in a rule"],
];

describe('a wrong rule', () => {
  for (const [what, more, told] of WRONG) {
    it(`is refused for ${what}, with its place`, () => {
      const problems = problemsOf(rule(more));
      expect(problems.join('\n')).toContain(told);
      expect(problems[0]).toMatch(/^r\.yaml:\d+:\d+: rule /);
    });
  }

  it('is refused when it is not a list, not YAML, or has the same id twice', () => {
    expect(problemsOf('id: r')).toEqual(['r.yaml:1:1: a rule pack is a list of rules']);
    expect(problemsOf('- {')[0]).toMatch(/^r\.yaml:\d+:\d+: /);
    expect(problemsOf(rule('event: dns.query') + rule('event: dns.query'))).toEqual([
      'rules of profile balanced: the id `r` is used twice',
    ]);
    expect(problemsOf('- id: A B\n  title: t\n  event: dns.query')[0]).toContain('`id`: must be lower-case');
  });

  it('advises quotes for a count that YAML reads as a mapping', () => {
    const text = rule('event: dns.query\ncount: octets(dns.qname, new: dns.qname)');
    expect(problemsOf(text)[0]).toContain('put quotes around');
  });

  it('refuses the whole set, and every problem of it is told', () => {
    const text =
      rule('event: dns.qurey') + rule('event: dns.query').replace('id: r', 'id: good') + rule('evnt: x');
    expect(problemsOf(text).length).toBeGreaterThanOrEqual(2);
  });
});

describe('a right rule', () => {
  it('with enabled: false does nothing, and with max: 0 refuses everything', () => {
    const off = railOf(rule('event: dns.query\nlimit: { max: 0, window: 1s }\nenabled: false'));
    expect(off.rail.decide(query('vm-a', 'a.example')).verdict).toBe('allow');
    const none = railOf(rule('event: dns.query\nlimit: { max: 0, window: 1s }'));
    const decision = none.rail.decide(query('vm-a', 'a.example'));
    expect(decision).toMatchObject({ verdict: 'block', reason: 'budget_exhausted' });
    expect(decision).not.toHaveProperty('retryAfterMs');
  });

  it('compares numbers with whole literals, in every operator', () => {
    for (const [when, hit] of [
      ['dest.port == 53', true],
      ['dest.port != 53', false],
      ['dest.port in [53, 54]', true],
      ['dest.port > 52 && dest.port <= 53', true],
      ['size(dns.qname) == 9', true],
      ['size(dns.qname) == 9 && dest.port == 53', true],
      ['dns.qname.startsWith("a") && !dns.qname.endsWith("x")', true],
      ['dns.qname.contains("zz") ? true : dns.qtype == "TXT"', false],
      ['has(dns.qtype) && dns.qtype == "TXT"', false],
      ['vm == "vm-a" || dns.reverse', true],
    ] as const) {
      const { rail } = railOf(rule(`event: dns.query\nwhen: '${when}'`));
      expect(rail.decide(query('vm-a', 'a.example')).verdict, when).toBe(hit ? 'block' : 'allow');
    }
  });

  it('that refuses matches when its condition fails, one that only allows does not (fail closed)', () => {
    const { rail } = railOf(rule(`event: dns.query\nwhen: 'tenant == "t"'`));
    expect(rail.decide(query('vm-a', 'a.example')).verdict).toBe('block');
  });

  it('for slots frees them when the ticket is finished, once', () => {
    const { rail } = railOf(rule('event: tunnel.open\nlimit: { max: 1, concurrent: true }'));
    const first = rail.decide(tunnel('vm-a', 'a.example'));
    expect(rail.decide(tunnel('vm-a', 'a.example'))).toMatchObject({ verdict: 'block', reason: 'too_many' });
    if (first.verdict !== 'allow' || first.ticket === undefined) throw new Error('no ticket');
    rail.finish(first.ticket);
    rail.finish(first.ticket);
    expect(rail.decide(tunnel('vm-a', 'a.example')).verdict).toBe('allow');
    expect(rail.decide(tunnel('vm-a', 'a.example')).verdict).toBe('block');
  });
});
