import { describe, expect, it } from 'vitest';
import { nameOctets, readName, readRecords, typeName } from '../../../src/lib/dns-message.ts';

const HEAD = Buffer.alloc(12);
/** A message with these octets behind its header. */
const message = (...octets: number[]): Buffer => Buffer.concat([HEAD, Buffer.from(octets)]);
const text = (name: Buffer | undefined): string | undefined => name?.toString('latin1');

describe('a name in a message', () => {
  it('is read through pointers, in lower case', () => {
    const m = message(1, 65, 1, 98, 0, 1, 67, 0xc0, 14);
    expect(text(readName(m, 12))).toBe('\u0001a\u0001b\0');
    expect(text(readName(m, 17))).toBe('\u0001c\u0001b\0');
  });

  it('that points to itself, forward, into the header, in a circle, or past the end is no name', () => {
    expect(readName(message(0xc0, 12), 12)).toBeUndefined();
    expect(readName(message(0xc0, 14, 0), 12)).toBeUndefined();
    expect(readName(message(0, 0xc0, 4), 13)).toBeUndefined();
    expect(readName(message(1, 97, 0xc0, 12), 12)).toBeUndefined();
    expect(readName(message(1, 97, 0xc0, 16, 0xc0, 12), 16)).toBeUndefined();
    expect(readName(message(0, 0xc0), 13)).toBeUndefined();
    expect(readName(message(3, 97), 12)).toBeUndefined();
    expect(readName(message(), 12)).toBeUndefined();
  });

  it('may be 255 octets long, not 256, also through pointers', () => {
    const labels = (count: number): number[] => Array.from({ length: count }, () => [1, 97]).flat();
    expect(readName(message(...labels(127), 0), 12)?.length).toBe(255);
    expect(readName(message(...labels(128), 0), 12)).toBeUndefined();
    const tail = labels(127);
    expect(readName(message(...tail, 0, 1, 98, 0xc0, 14), 12 + tail.length + 1)?.length).toBe(255);
    expect(readName(message(...tail, 0, 1, 98, 0xc0, 12), 12 + tail.length + 1)).toBeUndefined();
  });

  it('has no label with the reserved length bits', () => {
    expect(readName(message(0x41, 97, 0), 12)).toBeUndefined();
    expect(readName(message(0x80, 97, 0), 12)).toBeUndefined();
  });
});

describe('a host name', () => {
  it('becomes the octets of a DNS name', () => {
    expect(text(nameOctets('ab.c'))).toBe('\u0002ab\u0001c\0');
    expect(text(nameOctets('.'))).toBe('\0');
  });

  it('with empty or long labels, escapes, blanks or other than ASCII becomes none', () => {
    for (const host of [
      '',
      'a..b',
      'a.',
      'l'.repeat(64),
      'a\\046b',
      'a b',
      'é',
      Array(130).fill('a').join('.'),
    ])
      expect(nameOctets(host), host).toBeUndefined();
  });
});

describe('records', () => {
  const record = [0, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 192, 0, 2, 1];

  it('must fill the message exactly', () => {
    const m = message(...record, ...record);
    expect(readRecords(m, 12, 2)?.map(({ start, data, end }) => [start, data, end])).toEqual([
      [12, 23, 27],
      [27, 38, 42],
    ]);
    expect(readRecords(m, 12, 1)).toBeUndefined();
    expect(readRecords(m, 12, 3)).toBeUndefined();
    for (let cut = 1; cut < record.length; cut += 1)
      expect(readRecords(m.subarray(0, m.length - cut), 12, 2), `less ${cut}`).toBeUndefined();
  });
});

it('a type has its name, or the one of RFC 3597', () => {
  expect([typeName(1), typeName(65), typeName(666)]).toEqual(['A', 'HTTPS', 'TYPE666']);
});
