import { describe, expect, it } from 'vitest';
import { createDnsHandler } from '../../../src/dns/handler.ts';
import type { Answered, Ask } from '../../../src/egress/exchange.ts';
import { decodeAnswer, encodeQuery } from '../../support/dns-client.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { FakeExchange, upstreamAnswer } from '../../support/fake-exchange.ts';
import { FakeRail, fakeIdentity, FakeTraffic, refused } from '../../support/fake-rail.ts';

const FROM = { source: '127.0.0.9', transport: 'udp' } as const;
const answersOne = (ask: Ask): Answered => ({
  ok: true,
  message: upstreamAnswer(ask, { answers: [{ type: 'A', name: ask.text, ttl: 9, data: '192.0.2.7' }] }),
});

function setUp(script?: (ask: Ask) => Answered | Promise<Answered>) {
  const rail = new FakeRail();
  const traffic = new FakeTraffic();
  const exchange = new FakeExchange(script);
  const clock = new FakeClock();
  const handler = createDnsHandler({ rail, traffic, exchange, clock, identity: fakeIdentity() });
  return { rail, traffic, exchange, clock, handler };
}

describe('a query', () => {
  it('is judged exactly once as a dns.query of its VM, in lower case, then asked upstream and answered', async () => {
    const { rail, traffic, exchange, handler } = setUp(answersOne);
    const reply = await handler.handle(encodeQuery('WWW.Example.com', 'A'), FROM);
    expect(rail.events).toMatchObject([
      {
        type: 'dns.query',
        vm: 'vm-a',
        source: '127.0.0.9',
        'dns.qname': 'www.example.com',
        'dns.qtype': 'A',
        'dns.suffix': 'example.com',
        'dns.transport': 'udp',
      },
    ]);
    expect(exchange.asked).toMatchObject([{ vm: 'vm-a', text: 'www.example.com', type: 1 }]);
    expect(reply === undefined ? '' : decodeAnswer(reply)).toMatchObject({
      rcode: 'NOERROR',
      addresses: ['192.0.2.7'],
    });
    expect(traffic.lines).toMatchObject([
      { kind: 'query', qname: 'www.example.com', qtype: 'A', rcode: 'NOERROR', verdict: 'allow' },
    ]);
  });

  it('that is refused never reaches an upstream, and its line names the rule', async () => {
    const { rail, traffic, handler } = setUp();
    rail.script = () => refused();
    const reply = await handler.handle(encodeQuery('www.example.com'), { ...FROM, transport: 'tcp' });
    expect(reply === undefined ? '' : decodeAnswer(reply)).toMatchObject({
      rcode: 'NXDOMAIN',
      ede: { code: 15 },
    });
    expect(traffic.lines).toMatchObject([
      { kind: 'query', rcode: 'NXDOMAIN', verdict: 'block', rule: 'rule-a', transport: 'tcp' },
    ]);
  });

  it('holds its slot until it is answered, and gives it back once', async () => {
    let held = -1;
    const { rail, handler } = setUp((ask) => {
      held = rail.open.size;
      return answersOne(ask);
    });
    rail.script = () => FakeRail.ticket();
    await handler.handle(encodeQuery('www.example.com'), FROM);
    expect(held).toBe(1);
    expect(rail.open.size).toBe(0);
  });

  it('of a type that no forwarder can serve is refused though no rule says so, and never forwarded', async () => {
    const { rail, handler } = setUp();
    for (const type of ['AXFR', 'IXFR']) {
      for (const transport of ['udp', 'tcp'] as const) {
        const reply = await handler.handle(encodeQuery('example.com', type), { ...FROM, transport });
        expect(reply === undefined ? '' : decodeAnswer(reply).rcode).toBe('REFUSED');
      }
    }
    expect(rail.events.map((event) => event.type === 'dns.query' && event['dns.qtype'])).toEqual([
      'AXFR',
      'AXFR',
      'IXFR',
      'IXFR',
    ]);
  });

  it('tells the upstream of DO and CD, and of nothing else', async () => {
    const { exchange, handler } = setUp(answersOne);
    const query = encodeQuery('www.example.com');
    query.writeUInt16BE(0x0110, 2);
    query.writeUInt16BE(0x8000, query.length - 4);
    await handler.handle(query, FROM);
    expect(exchange.asked).toEqual([
      {
        vm: 'vm-a',
        name: expect.any(Buffer),
        text: 'www.example.com',
        type: 1,
        dnssecOk: true,
        checkingDisabled: true,
      },
    ]);
  });
});

describe('an upstream that fails', () => {
  const upstream = { transport: 'udp', address: '2001:db8::53', port: 53 } as const;
  const ROWS = [
    { error: 'timeout', ede: 22, text: 'upstream [2001:db8::53]:53 udp: timeout' },
    { error: 'unreachable', ede: 23, text: 'upstream [2001:db8::53]:53 udp: unreachable' },
    { error: 'invalid', ede: 24, text: 'upstream [2001:db8::53]:53 udp: invalid' },
    { error: 'busy', ede: 14, text: 'too many queries are being answered' },
  ] as const;
  for (const { error, ede, text } of ROWS) {
    it(`with ${error} gives SERVFAIL and EDE ${ede}`, async () => {
      const { traffic, handler } = setUp(() => ({ ok: false, error, upstream }));
      const reply = await handler.handle(encodeQuery('www.example.com'), FROM);
      expect(reply === undefined ? '' : decodeAnswer(reply)).toMatchObject({
        rcode: 'SERVFAIL',
        ede: { code: ede, text },
      });
      expect(traffic.lines).toMatchObject([{ rcode: 'SERVFAIL', verdict: 'allow', error }]);
    });
  }

  it('with an answer that does not decode, or to another name, gives SERVFAIL and EDE 24', async () => {
    const records = { answers: [{ type: 'A', name: 'x', ttl: 9, data: '192.0.2.7' }] } as const;
    const lies = [
      (ask: Ask) => upstreamAnswer(ask, { answers: [...records.answers] }).subarray(0, -1),
      (ask: Ask) => upstreamAnswer({ ...ask, text: 'other.example.net' }),
      (ask: Ask) => Buffer.concat([upstreamAnswer(ask), Buffer.from('more')]),
    ];
    for (const lie of lies) {
      const { handler } = setUp((ask) => ({ ok: true, message: lie(ask) }));
      const reply = await handler.handle(encodeQuery('www.example.com'), FROM);
      expect(reply === undefined ? '' : decodeAnswer(reply)).toMatchObject({
        rcode: 'SERVFAIL',
        ede: { code: 24 },
      });
    }
  });
});

describe('a malformed message', () => {
  const response = encodeQuery('www.example.com');
  response.writeUInt16BE(0x8180, 2);

  it('is judged exactly once as wire.malformed, with words of ours', async () => {
    const { rail, traffic, handler } = setUp();
    const reply = await handler.handle(encodeQuery('www.example.com').subarray(0, 20), FROM);
    expect(reply === undefined ? '' : decodeAnswer(reply).rcode).toBe('FORMERR');
    expect(rail.events).toMatchObject([
      { type: 'wire.malformed', vm: 'vm-a', 'wire.protocol': 'dns', 'wire.detail': 'bad question' },
    ]);
    expect(traffic.lines).toMatchObject([{ kind: 'malformed', protocol: 'dns', detail: 'bad question' }]);
  });

  it('that is a response, or no message at all, is an event and gets no answer', async () => {
    const { rail, handler } = setUp();
    expect(await handler.handle(response, FROM)).toBeUndefined();
    expect(await handler.handle(Buffer.alloc(0), FROM)).toBeUndefined();
    expect(rail.events.map((event) => event.type)).toEqual(['wire.malformed', 'wire.malformed']);
  });

  it('gives its slot back', async () => {
    const { rail, handler } = setUp();
    rail.script = () => FakeRail.ticket();
    await handler.handle(response, FROM);
    expect(rail.open.size).toBe(0);
  });
});
