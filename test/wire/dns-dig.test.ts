// The DNS side as dig and kdig see it.
import packet from 'dns-packet';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { run, startDnsSide } from '../support/dns-server.ts';
import type { DnsSide } from '../support/dns-server.ts';
import { plainAnswer, startUpstream } from '../support/dns-upstream.ts';
import type { RecordingUpstream } from '../support/dns-upstream.ts';
import { refused } from '../support/fake-rail.ts';

let upstream: RecordingUpstream;
let dns: DnsSide;
beforeAll(async () => {
  upstream = await startUpstream();
  dns = await startDnsSide({
    upstreamPort: upstream.port,
    listen: [
      { address: '127.0.0.1', port: 0 },
      { address: '::1', port: 0 },
    ],
  });
});
afterEach(() => {
  expect(dns.server.inFlight).toBe(0);
  expect(dns.exchange.inFlight).toBe(0);
  upstream.asked.length = 0;
  upstream.script = (_asked, query) => plainAnswer(query);
  dns.rail.events.length = 0;
  dns.rail.script = () => ({ verdict: 'allow', reason: 'allowed' });
});
afterAll(async () => {
  await dns.server.close(1000);
  expect(dns.server.connections).toBe(0);
  dns.exchange.close();
  await upstream.close();
});

const dig = (...args: string[]): Promise<string> =>
  run('dig', '@127.0.0.1', '-p', String(dns.port), '+tries=1', '+nocookie', ...args);
const flagsOf = (out: string): string => /;; flags: ([a-z ]*);/.exec(out)?.[1] ?? 'none';
const statusOf = (out: string): string => /status: (\w+)/.exec(out)?.[1] ?? 'none';
const answersOf = (out: string): string[] =>
  out.split('\n').filter((line) => /\sIN\s/.test(line) && !line.startsWith(';'));
const optOf = (message: Buffer | undefined): packet.Answer | undefined =>
  message === undefined ? undefined : packet.decode(message).additionals?.[0];

describe('an allowed query', () => {
  it('is answered over UDP and TCP, IPv4 and IPv6, alike, with qr rd ra and no aa', async () => {
    const [, six] = dns.endpoints;
    const outs = [
      await dig('www.example.com', '+noedns'),
      await dig('www.example.com', '+noedns', '+tcp'),
      await run('dig', '@::1', '-p', String(six?.port), 'www.example.com', '+noedns'),
      await run('dig', '@::1', '-p', String(six?.port), 'www.example.com', '+noedns', '+tcp'),
    ];
    for (const out of outs) {
      expect(statusOf(out)).toBe('NOERROR');
      expect(flagsOf(out)).toBe('qr rd ra');
      expect(answersOf(out)).toEqual(['www.example.com.\t60\tIN\tA\t127.0.0.1']);
      expect(out).not.toContain('EDNS');
      expect(out).not.toContain('WARNING');
    }
    expect(dns.rail.events.map((event) => [event.source, event.type])).toEqual([
      ['127.0.0.1', 'dns.query'],
      ['127.0.0.1', 'dns.query'],
      ['::1', 'dns.query'],
      ['::1', 'dns.query'],
    ]);
  });

  it('keeps its letter case in the answer and shows none of it upstream', async () => {
    const out = await dig('WwW.eXaMpLe.CoM');
    expect(out).toContain(';WwW.eXaMpLe.CoM.');
    expect(answersOf(out)[0]).toMatch(/^www\.example\.com\./i);
    expect([...upstream.names()]).toEqual(['www.example.com']);
  });

  it('may have reserved flags and unknown EDNS flags and options: ignored, not echoed, not passed on', async () => {
    const out = await dig(
      'www.example.com',
      '+zflag',
      '+aaflag',
      '+tcflag',
      '+ednsflags=0x0080',
      '+ednsopt=100:c0ffee',
      '+subnet=192.0.2.0/24',
      '+cookie=0102030405060708',
      '+nsid',
    );
    expect(statusOf(out)).toBe('NOERROR');
    expect(out).toContain('; EDNS: version: 0, flags:; udp: 1232');
    expect(out).not.toMatch(/OPT=100|CLIENT-SUBNET|COOKIE|NSID/);
    expect(optOf(upstream.asked[0]?.message)).toMatchObject({ udpPayloadSize: 1232, options: [], flags: 0 });
  });

  it('with DO or CD passes them on, and gets DO and AD back when it asked', async () => {
    upstream.script = (_asked, query) => plainAnswer(query, { flags: 0x01a0 });
    const out = await dig('www.example.com', '+dnssec', '+cdflag');
    expect(out).toContain('EDNS: version: 0, flags: do;');
    expect(flagsOf(out)).toBe('qr rd ra ad cd');
    expect(packet.decode(upstream.asked[0]?.message ?? Buffer.alloc(12))).toMatchObject({ flag_cd: true });
    expect(optOf(upstream.asked[0]?.message)).toMatchObject({ flag_do: true });
    expect(flagsOf(await dig('www.example.com', '+noadflag'))).toBe('qr rd ra');
    expect(flagsOf(await dig('www.example.com', '+adflag'))).toBe('qr rd ra ad');
    expect(optOf(upstream.asked[1]?.message)).toMatchObject({ flag_do: false });
  });

  it('of a type that nobody knows gets its data to the octet, though it looks like a pointer', async () => {
    upstream.script = (_asked, query) =>
      Buffer.concat([
        plainAnswer(query, { answers: [] }).fill(1, 7, 8),
        Buffer.from([0xc0, 12, 2, 154, 0, 1, 0, 0, 0, 60, 0, 4, 0xc0, 0x0c, 0xff, 0]),
      ]);
    expect(answersOf(await dig('www.example.com', 'TYPE666'))).toEqual([
      'www.example.com.\t60\tIN\tTYPE666\t\\# 4 C00CFF00',
    ]);
  });

  it('asks several times over one connection with kdig', async () => {
    const out = await run(
      'kdig',
      '@127.0.0.1',
      '-p',
      String(dns.port),
      '+tcp',
      '+keepopen',
      'a.example.com',
      'b.example.com',
      'c.example.com',
    );
    expect(out.match(/status: NOERROR/g)).toHaveLength(3);
    expect([...upstream.names()]).toEqual(['a.example.com', 'b.example.com', 'c.example.com']);
  });
});

describe('a large answer', () => {
  const large = (): void => {
    upstream.script = (_asked, query) =>
      plainAnswer(query, {
        answers: Array.from({ length: 24 }, (_, i) => ({
          type: 'A',
          name: 'www.example.com',
          ttl: 60,
          data: `192.0.2.${i}`,
        })),
      });
  };

  for (const [how, cut] of [
    ['+noedns', true],
    ['+bufsize=100', true],
    ['+bufsize=512', true],
    ['+bufsize=1232', false],
    ['+bufsize=4096', false],
  ] as const) {
    it(`of 800 octets is ${cut ? 'empty with TC' : 'whole'} with ${how}, and whole when dig comes back by TCP`, async () => {
      large();
      const once = await dig('www.example.com', how, '+ignore');
      expect(flagsOf(once)).toBe(cut ? 'qr tc rd ra' : 'qr rd ra');
      expect(answersOf(once)).toHaveLength(cut ? 0 : 24);
      expect(answersOf(await dig('www.example.com', how))).toHaveLength(24);
    });
  }
});

describe('a refused query', () => {
  it('is NXDOMAIN with a SOA of 10 s; EDE 15 names rule, event and message to a client with EDNS', async () => {
    dns.rail.script = () => refused({ message: 'too many new names under example.com' });
    const out = await dig('a.www.example.com', '+edns');
    expect(statusOf(out)).toBe('NXDOMAIN');
    expect(out).toContain(
      'EDE: 15 (Blocked): (rule=rule-a id=01hzzzzzzzzzzzzzzzzzzzzzzz: too many new names under example.com)',
    );
    expect(answersOf(out)).toEqual(['example.com.\t\t10\tIN\tSOA\t. . 1 3600 600 86400 10']);
    const plain = await dig('a.www.example.com', '+noedns');
    expect(statusOf(plain)).toBe('NXDOMAIN');
    expect(plain).not.toContain('EDE');
    const kdig = await run(
      'kdig',
      '@127.0.0.1',
      '-p',
      String(dns.port),
      '+edns',
      'a.www.example.com',
      '+tcp',
    );
    expect(kdig).toMatch(/EDE: 15 \(Blocked\)/);
    expect(upstream.asked).toEqual([]);
  });

  it('is answered as its rule says: NODATA with EDE 30, REFUSED, or nothing at all', async () => {
    dns.rail.script = () => refused({ reason: 'blocked', answer: { dns: 'nodata', ede: 30 } });
    const nodata = await dig('www.example.com', 'NULL', '+edns');
    expect(statusOf(nodata)).toBe('NOERROR');
    expect(nodata).toContain('EDE: 30');
    expect(nodata).toContain('ANSWER: 0, AUTHORITY: 1');
    dns.rail.script = () => refused({ answer: { dns: 'refused' } });
    expect(statusOf(await dig('www.example.com'))).toBe('REFUSED');
    dns.rail.script = () => refused({ answer: { dns: 'drop' } });
    expect(await dig('www.example.com', '+timeout=1')).toContain('timed out');
    expect(upstream.asked).toEqual([]);
  });

  it('of a stranger is REFUSED with EDE 18', async () => {
    dns.rail.script = () => refused({ reason: 'unknown_vm', determinedBy: [], rule: 'unknown_vm' });
    const out = await dig('www.example.com', '+edns');
    expect(statusOf(out)).toBe('REFUSED');
    expect(out).toContain('EDE: 18 (Prohibited)');
  });
});

describe('what a forwarder does not do', () => {
  it.each([
    ['another EDNS version', ['www.example.com', '+edns=1', '+noednsneg'], 'BADVERS', 'version: 0'],
    ['another opcode', ['+opcode=4', '+header-only'], 'NOTIMP', ';; flags: qr'],
    ['another class', ['-c', 'CH', '-t', 'TXT', 'version.bind'], 'REFUSED', 'version.bind'],
    ['a query without recursion', ['www.example.com', '+norec'], 'REFUSED', ';; flags: qr ra'],
    ['a signed query', ['www.example.com', '-y', 'hmac-sha256:k:c2VjcmV0'], 'REFUSED', 'flags: qr'],
  ])('%s', async (_what, args, status, text) => {
    const out = await dig(...args);
    expect(statusOf(out)).toBe(status);
    expect(out).toContain(text);
    expect(dns.rail.events.map(({ type }) => type)).toEqual(['wire.malformed']);
    expect(upstream.asked).toEqual([]);
  });

  it('a zone transfer, though the rail allows it', async () => {
    expect(await dig('example.com', 'AXFR')).toContain('Transfer failed');
    expect(await dig('example.com', 'IXFR=1')).toContain('Transfer failed');
    await dig('example.com', 'IXFR=1', '+notcp');
    expect(upstream.asked).toEqual([]);
  });
});
