// DNS upstreams as people write them, and as resolv.conf has them.
import { describe, expect, it } from 'vitest';
import { parseUpstream, systemUpstreams } from '../../../src/lib/upstream-address.ts';

describe('an upstream', () => {
  const cases: readonly (readonly [text: string, transport: string, address: string, port: number])[] = [
    ['udp://192.0.2.1', 'udp', '192.0.2.1', 53],
    ['tcp://192.0.2.1:5353', 'tcp', '192.0.2.1', 5353],
    ['udp://[2001:DB8::1]:5353', 'udp', '2001:db8::1', 5353],
    ['udp://[2001:db8::1]', 'udp', '2001:db8::1', 53],
    ['udp://2001:db8::1', 'udp', '2001:db8::1', 53],
    ['udp://192.0.2.1/', 'udp', '192.0.2.1', 53],
  ];
  for (const [text, transport, address, port] of cases) {
    it(`${text} is ${address} port ${port} by ${transport}`, () => {
      expect(parseUpstream(text)).toEqual({ ok: true, upstream: { transport, address, port } });
    });
  }

  const refused: readonly (readonly [text: string, detail: RegExp])[] = [
    ['192.0.2.1', /^must be udp:\/\/address or tcp:\/\/address/],
    ['tls://192.0.2.1', /^must be udp/],
    ['UDP://192.0.2.1', /^must be udp/],
    ['udp://192.0.2.1/dns-query', /^must be udp/],
    ['udp://dns.example', /^`dns\.example` is not an IP address/],
    ['udp://192.0.2.1:0', /is not an IP address/],
    ['udp://192.0.2.1:65536', /is not an IP address/],
    ['udp://[::1', /is not an IP address/],
    ['udp://', /^must be udp/],
  ];
  for (const [text, detail] of refused) {
    it(`is not "${text}"`, () => {
      expect(parseUpstream(text)).toEqual({ ok: false, detail: expect.stringMatching(detail) });
    });
  }
});

describe('resolv.conf', () => {
  it('gives its name servers in order, by UDP to port 53', () => {
    const text =
      '# made by hand\nsearch example.com\nnameserver 192.0.2.1\n\tnameserver\t2001:db8::1 \noptions edns0\n';
    expect(systemUpstreams(text)).toEqual([
      { transport: 'udp', address: '192.0.2.1', port: 53 },
      { transport: 'udp', address: '2001:db8::1', port: 53 },
    ]);
  });

  it('may have lines that nobody can read', () => {
    expect(
      systemUpstreams('nameserver\nnameserver dns.example\n;nameserver 192.0.2.9\nnameservers 192.0.2.8\n'),
    ).toEqual([]);
    expect(systemUpstreams('')).toEqual([]);
  });

  it('may have Windows line ends and a zone id', () => {
    expect(
      systemUpstreams('nameserver 192.0.2.1\r\nnameserver fe80::1%eth0\r\n').map(({ address }) => address),
    ).toEqual(['192.0.2.1', 'fe80::1']);
  });
});
