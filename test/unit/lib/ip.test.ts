// Addresses and ranges: one text for each, and nothing that only some parsers would take.
import { isIP } from 'node:net';
import { describe, expect, it } from 'vitest';
import {
  formatEndpoint,
  formatIp,
  inRange,
  maskIp,
  parseEndpoint,
  parseIp,
  parseRange,
  unmap,
} from '../../../src/lib/ip.ts';
import type { Ip, IpRange } from '../../../src/lib/ip.ts';
import { Random } from '../../support/random.ts';

function ip(text: string): Ip {
  const parsed = parseIp(text);
  if (parsed === undefined) throw new Error(`${text} is no address`);
  return parsed;
}

function range(text: string): IpRange {
  const parsed = parseRange(text);
  if (parsed === undefined) throw new Error(`${text} is no range`);
  return parsed;
}

describe('an address', () => {
  const canonical: readonly (readonly [text: string, said: string])[] = [
    ['0.0.0.0', '0.0.0.0'],
    ['255.255.255.255', '255.255.255.255'],
    ['192.0.2.1', '192.0.2.1'],
    ['::', '::'],
    ['::1', '::1'],
    ['1::', '1::'],
    ['2001:DB8::00aB', '2001:db8::ab'],
    ['2001:db8:0:0:0:0:0:1', '2001:db8::1'],
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:0:0:1:0:0:0:1', '2001:0:0:1::1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['1:2:3:4:5:6:7::', '1:2:3:4:5:6:7:0'],
    ['::ffff:192.0.2.1', '::ffff:c000:201'],
    ['64:ff9b::192.0.2.33', '64:ff9b::c000:221'],
  ];
  for (const [text, said] of canonical) {
    it(`${text} is written ${said} (RFC 5952)`, () => {
      expect(formatIp(ip(text))).toBe(said);
      expect(ip(said)).toEqual(ip(text));
    });
  }

  const refused = [
    '',
    ' ',
    '1.2.3.4 ',
    ...'1 1.2.3 1.2.3.4.5 256.1.1.1 01.2.3.4 0x7f.0.0.1 0177.0.0.1 2130706433 1.2.3.-4 1..2.3'.split(' '),
    ...'1.2.3.4/32 １.2.3.4 +1.2.3.4 1e1.0.0.1 127.1 : ::: 1:2:3:4:5:6:7 1:2:3:4:5:6:7:8:9 ::1::'.split(' '),
    ...'12345:: g:: 1:2:3:4:5:6:7:8:: fe80::1%eth0 [::1] ::1.2.3 ::1.2.3.4:5 1.2.3.4::'.split(' '),
    ...'::ffff:256.0.0.1 ::ffff:01.2.3.4 :1:2:3:4:5:6:7 1:2:3:4:5:6:7:'.split(' '),
    ...'0000:0000:0000:0000:0000:ffff:192.168.100.2280'.split(' '),
  ];
  for (const text of refused) {
    it(`is not "${text}"`, () => {
      expect(parseIp(text)).toBeUndefined();
    });
  }

  it('of any bits reads back from its text, which is no longer than any other and is taken by Node', () => {
    const random = new Random(2026);
    for (let i = 0; i < 3000; i += 1) {
      const groups = Array.from({ length: 8 }, () => (random.next() < 0.5 ? 0 : random.int(0, 65_535)));
      const long = groups.map((group) => group.toString(16)).join(':');
      const address = ip(long);
      const short = formatIp(address);
      expect(ip(short), long).toEqual(address);
      expect(short.length).toBeLessThanOrEqual(long.length);
      expect(isIP(short), short).toBe(6);
    }
  });

  it('takes only what Node takes, whatever is thrown at it', () => {
    const random = new Random(7);
    const parts = ['0', '1', '255', 'ffff', ':', '::', '.', 'g', '%', '/', ' ', '192.0.2.1', '-', '00'];
    for (let i = 0; i < 5000; i += 1) {
      const text = Array.from({ length: random.int(1, 12) }, () => random.pick(parts)).join('');
      if (parseIp(text) !== undefined) expect(isIP(text), text).toBeGreaterThan(0);
      else if (!text.includes('%')) expect(isIP(text), text).toBe(0);
    }
  });
});

describe('an IPv4 address inside IPv6', () => {
  it('is the IPv4 address once unmapped, and only under ::ffff:0:0/96', () => {
    expect(formatIp(unmap(ip('::ffff:192.0.2.1')))).toBe('192.0.2.1');
    expect(formatIp(unmap(ip('::ffff:ffff:ffff')))).toBe('255.255.255.255');
    for (const text of ['::192.0.2.1', '64:ff9b::192.0.2.1', '1::ffff:192.0.2.1', '192.0.2.1'])
      expect(unmap(ip(text)), text).toEqual(ip(text));
  });
});

describe('a range', () => {
  it('without a length is one address', () => {
    expect(range('192.0.2.1')).toEqual(range('192.0.2.1/32'));
    expect(range('2001:db8::1')).toEqual(range('2001:db8::1/128'));
  });

  for (const text of [
    '192.0.2.0/2 4',
    ...'192.0.2.1/24 192.0.2.0/33 192.0.2.0/ 192.0.2.0/-1 192.0.2.0/0x8 2001:db8::1/64'.split(' '),
    ...'2001:db8::/129 /8 192.0.2.0/24/24 example.com/8 192.0.2.0/1e1'.split(' '),
  ]) {
    it(`is not "${text}"`, () => {
      expect(parseRange(text)).toBeUndefined();
    });
  }

  it('holds its first and last address and neither neighbour', () => {
    const cases = [
      ['192.0.2.0/24', '192.0.2.0', '192.0.2.255', '192.0.1.255', '192.0.3.0'],
      ['128.0.0.0/1', '128.0.0.0', '255.255.255.255', '127.255.255.255', '0.0.0.0'],
      [
        '2001:db8::/32',
        '2001:db8::',
        '2001:db8:ffff:ffff:ffff:ffff:ffff:ffff',
        '2001:db7:ffff::',
        '2001:db9::',
      ],
      [
        '2001:db8:0:0:8000::/65',
        '2001:db8::8000:0:0:0',
        '2001:db8::ffff:0:0:1',
        '2001:db8::7fff:0:0:1',
        '::',
      ],
    ] as const;
    for (const [text, first, last, below, above] of cases) {
      expect(
        [first, last].map((each) => inRange(ip(each), range(text))),
        text,
      ).toEqual([true, true]);
      expect(
        [below, above].map((each) => inRange(ip(each), range(text))),
        text,
      ).toEqual([false, false]);
    }
  });

  it('of length 0 holds its whole family and nothing of the other', () => {
    expect(inRange(ip('203.0.113.9'), range('0.0.0.0/0'))).toBe(true);
    expect(inRange(ip('2001:db8::1'), range('::/0'))).toBe(true);
    expect(inRange(ip('2001:db8::1'), range('0.0.0.0/0'))).toBe(false);
    expect(inRange(ip('203.0.113.9'), range('::/0'))).toBe(false);
  });

  it('holds an address exactly when both have the same first bits', () => {
    const random = new Random(11);
    const bitsOf = (address: Ip): string =>
      address.words.map((word) => word.toString(2).padStart(32, '0')).join('');
    for (let i = 0; i < 2000; i += 1) {
      const words = [0, 0, 0, 0].map(() => random.int(0, 2 ** 32 - 1)) as [number, number, number, number];
      const base: Ip = { family: 6, words };
      const bits = random.int(0, 128);
      const flip = random.int(0, 127);
      const other = words.map((word, w) =>
        flip >> 5 === w ? (word ^ (1 << (31 - (flip & 31)))) >>> 0 : word,
      );
      const near: Ip = { family: 6, words: other as [number, number, number, number] };
      const same = bitsOf(near).slice(0, bits) === bitsOf(base).slice(0, bits);
      expect(
        inRange(near, { base: maskIp(base, bits), bits }),
        `${formatIp(base)}/${bits}, bit ${flip}`,
      ).toBe(same);
    }
  });
});

describe('an endpoint', () => {
  it('is an address and a port, IPv6 in brackets, in canonical text', () => {
    expect(parseEndpoint('127.0.0.1:0')).toEqual({ address: '127.0.0.1', port: 0 });
    expect(parseEndpoint('[2001:DB8:0::1]:65535')).toEqual({ address: '2001:db8::1', port: 65_535 });
    expect(formatEndpoint('2001:db8::1', 53)).toBe('[2001:db8::1]:53');
    expect(formatEndpoint('192.0.2.1', 53)).toBe('192.0.2.1:53');
  });

  for (const text of [
    ' 127.0.0.1:53',
    ...'127.0.0.1 127.0.0.1: :53 ::1:53 [::1] [::1]53 [127.0.0.1]:53 localhost:53'.split(' '),
    ...'127.0.0.1:65536 127.0.0.1:-1 127.0.0.1:5x 127.0.0.1:053530 [::1%lo]:53'.split(' '),
  ]) {
    it(`is not "${text}"`, () => {
      expect(parseEndpoint(text)).toBeUndefined();
    });
  }
});
