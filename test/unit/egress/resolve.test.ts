import type packet from 'dns-packet';
import { describe, expect, it } from 'vitest';
import type { Answered, Ask } from '../../../src/egress/exchange.ts';
import { createResolver } from '../../../src/egress/resolve.ts';
import { FakeExchange, upstreamAnswer } from '../../support/fake-exchange.ts';
import { FakeRail, refused, SUBJECT } from '../../support/fake-rail.ts';

type Records = Record<string, packet.Answer[]>;
const HOST = 'www.example.com';

/** Answers by type name from a table; `flags` low bits are the rcode. */
const from =
  (records: Records, rcode = 0) =>
  (ask: Ask): Answered => ({
    ok: true,
    message: upstreamAnswer(ask, {
      flags: 0x0180 | rcode,
      answers: records[ask.type === 1 ? 'A' : 'AAAA'] ?? [],
    }),
  });
function setUp(script?: (ask: Ask) => Answered | Promise<Answered>) {
  const rail = new FakeRail();
  const exchange = new FakeExchange(script);
  return { rail, exchange, resolver: createResolver({ rail, exchange }) };
}
const a = (name: string, data: string): packet.Answer => ({ type: 'A', name, ttl: 5, data });
const aaaa = (name: string, data: string): packet.Answer => ({ type: 'AAAA', name, ttl: 5, data });
const cname = (name: string, data: string): packet.Answer => ({ type: 'CNAME', name, ttl: 5, data });

describe('a name that the HTTP side needs', () => {
  it('is judged as two dns.query events of the same VM before anything is asked', async () => {
    const seen: number[] = [];
    const { rail, exchange, resolver } = setUp((ask) => {
      seen.push(rail.events.length);
      return from({ A: [a(HOST, '192.0.2.1')] })(ask);
    });
    expect(await resolver.resolve(SUBJECT, HOST)).toEqual({ ok: true, addresses: ['192.0.2.1'] });
    expect(rail.events).toMatchObject([
      { type: 'dns.query', vm: 'vm-a', 'dns.qname': HOST, 'dns.qtype': 'A', 'dns.transport': 'proxy' },
      { type: 'dns.query', vm: 'vm-a', 'dns.qname': HOST, 'dns.qtype': 'AAAA', 'dns.transport': 'proxy' },
    ]);
    expect(seen).toEqual([2, 2]);
    expect(exchange.asked.map(({ vm, type }) => [vm, type])).toEqual([
      ['vm-a', 1],
      ['vm-a', 28],
    ]);
  });

  it('that is refused is never asked for; after a refused A, AAAA is not even judged', async () => {
    for (const [type, judged] of [
      ['A', 1],
      ['AAAA', 2],
    ] as const) {
      const { rail, resolver } = setUp();
      rail.script = (event) =>
        event.type === 'dns.query' && event['dns.qtype'] === type ? refused() : FakeRail.ticket();
      expect(await resolver.resolve(SUBJECT, HOST)).toEqual({ ok: false, refused: refused() });
      expect(rail.events.length).toBe(judged);
      expect(rail.open.size).toBe(0);
    }
  });

  it('holds its slots until both answers are there', async () => {
    let held = 0;
    const { rail, resolver } = setUp((ask) => {
      held = rail.open.size;
      return from({})(ask);
    });
    rail.script = () => FakeRail.ticket();
    await resolver.resolve(SUBJECT, HOST);
    expect(held).toBe(2);
    expect(rail.open.size).toBe(0);
  });

  it('that means this machine, or is no name at all, is neither judged nor asked for', async () => {
    const { rail, resolver } = setUp();
    for (const host of [
      'localhost',
      'a.localhost',
      'a..b',
      `${'l'.repeat(64)}.example`,
      'a\\b',
      'é.example',
    ]) {
      expect(await resolver.resolve(SUBJECT, host), host).toMatchObject({ ok: false, error: 'nxdomain' });
    }
    expect(rail.events).toEqual([]);
  });
});

describe('the addresses of a name', () => {
  const addresses = async (records: Records): Promise<unknown> => {
    const resolved = await setUp(from(records)).resolver.resolve(SUBJECT, HOST);
    return resolved.ok ? resolved.addresses : resolved;
  };

  it('are IPv4 first, in canonical text, each once', async () => {
    expect(
      await addresses({
        A: [a(HOST, '192.0.2.2'), a(HOST, '192.0.2.1'), a(HOST, '192.0.2.2')],
        AAAA: [aaaa(HOST, '2001:DB8:0:0::1'), aaaa(HOST, '::ffff:192.0.2.9')],
      }),
    ).toEqual(['192.0.2.2', '192.0.2.1', '2001:db8::1', '192.0.2.9']);
  });

  it('are those at the end of the chain of aliases, in whatever order and letter case', async () => {
    const records = [
      a('END.example.net', '192.0.2.5'),
      cname('mid.example.net', 'end.Example.net'),
      cname('WWW.example.com', 'MID.example.net'),
    ];
    expect(await addresses({ A: records })).toEqual(['192.0.2.5']);
  });

  it('are not those of other names in the answer', async () => {
    expect(await addresses({ A: [a('evil.example.net', '192.0.2.66'), a(HOST, '192.0.2.1')] })).toEqual([
      '192.0.2.1',
    ]);
    expect(await addresses({ A: [cname(HOST, 'mid.example.net'), a(HOST, '192.0.2.1')] })).toMatchObject({
      error: 'no_address',
    });
  });

  it('are none when aliases run in a circle', async () => {
    const circle = [cname(HOST, 'b.example.com'), cname('b.example.com', HOST)];
    expect(await addresses({ A: circle, AAAA: circle })).toMatchObject({ ok: false, error: 'no_address' });
  });

  it('are never more than 32', async () => {
    const many = Array.from({ length: 250 }, (_, i) => a(HOST, `192.0.2.${i}`));
    expect(await addresses({ A: many })).toHaveLength(32);
  });

  it('come from the answer section alone', async () => {
    const { resolver } = setUp((ask) => ({
      ok: true,
      message: upstreamAnswer(ask, {
        authorities: [a(HOST, '192.0.2.3')],
        additionals: [a(HOST, '192.0.2.4')],
      }),
    }));
    expect(await resolver.resolve(SUBJECT, HOST)).toMatchObject({ ok: false, error: 'no_address' });
  });

  it('of one family are enough when the other fails', async () => {
    const { resolver } = setUp((ask) =>
      ask.type === 1 ? { ok: false, error: 'timeout' } : from({ AAAA: [aaaa(HOST, '2001:db8::1')] })(ask),
    );
    expect(await resolver.resolve(SUBJECT, HOST)).toEqual({ ok: true, addresses: ['2001:db8::1'] });
  });
});

describe('a name without addresses', () => {
  const SERVFAIL = 2;
  const failed = (error: 'timeout' | 'unreachable' | 'invalid' | 'busy') => (): Answered => ({
    ok: false,
    error,
  });
  const garbled = (ask: Ask): Answered => ({
    ok: true,
    message: upstreamAnswer(ask, { answers: [a(HOST, '192.0.2.1')] }).subarray(0, -1),
  });
  const none = from({});
  const ROWS: [string, (ask: Ask) => Answered, (ask: Ask) => Answered, object][] = [
    ['does not exist', from({}, 3), from({}, 3), { error: 'nxdomain', rcode: 'NXDOMAIN' }],
    ['has other records', none, none, { error: 'no_address', rcode: 'NOERROR' }],
    ['has no IPv6 while IPv4 timed out', failed('timeout'), none, { error: 'timeout' }],
    [
      'has no IPv6 while IPv4 failed',
      from({}, SERVFAIL),
      none,
      { error: 'server_failure', rcode: 'SERVFAIL' },
    ],
    ['is refused by the upstream', from({}, 5), from({}, 5), { error: 'server_failure', rcode: 'REFUSED' }],
    ['cannot be asked for', failed('unreachable'), failed('busy'), { error: 'server_failure' }],
    ['has a garbled answer', garbled, none, { error: 'server_failure' }],
  ];
  for (const [what, first, second, expected] of ROWS) {
    it(`that ${what} says ${JSON.stringify(expected)}`, async () => {
      const { resolver } = setUp((ask) => (ask.type === 1 ? first(ask) : second(ask)));
      expect(await resolver.resolve(SUBJECT, HOST)).toEqual({ ok: false, ...expected });
    });
  }
});
