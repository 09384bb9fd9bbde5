// The table of malformed DNS messages, each with its documented answer. Used over UDP and TCP, and as a seed for fuzzing.
import { encodeQuery } from './dns-client.ts';

export type Documented = 'drop' | 'FORMERR' | 'NOTIMP' | 'REFUSED' | 'BADVERS';

export interface MalformedMessage {
  readonly what: string;
  readonly message: Buffer;
  readonly answer: Documented;
}

export const GOOD: Buffer = encodeQuery('www.good.example');
const HEADER = 12;

function changed(message: Buffer, change: (copy: Buffer) => void): Buffer {
  const copy = Buffer.from(message);
  change(copy);
  return copy;
}
const withName = (...octets: number[]): Buffer =>
  Buffer.concat([
    changed(encodeQuery('x.example', 'A', false), () => {}).subarray(0, HEADER),
    Buffer.from(octets),
    Buffer.from([0, 1, 0, 1]),
  ]);
const label = (length: number): number[] => [length, ...Array.from({ length }, () => 97)];
const OPT = Buffer.from([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
const count = (at: number, n: number) => (m: Buffer) => m.writeUInt16BE(n, at);

/** Every truncation of a good query: header cut → silence, the rest FORMERR. */
export const TRUNCATED: readonly MalformedMessage[] = Array.from({ length: GOOD.length }, (_, length) => ({
  what: `a query cut after ${length} octets`,
  message: GOOD.subarray(0, length),
  answer: length < HEADER ? ('drop' as const) : ('FORMERR' as const),
}));

export const MALFORMED: readonly MalformedMessage[] = [
  { what: 'a response', message: changed(GOOD, (m) => m.writeUInt16BE(0x8180, 2)), answer: 'drop' },
  { what: 'no question', message: changed(GOOD, count(4, 0)), answer: 'FORMERR' },
  { what: 'two questions', message: changed(GOOD, count(4, 2)), answer: 'FORMERR' },
  { what: '65,535 questions', message: changed(GOOD, count(4, 65_535)), answer: 'FORMERR' },
  { what: 'an answer record announced', message: changed(GOOD, count(6, 1)), answer: 'FORMERR' },
  { what: 'an authority record announced', message: changed(GOOD, count(8, 1)), answer: 'FORMERR' },
  { what: 'more additional records than there are', message: changed(GOOD, count(10, 9)), answer: 'FORMERR' },
  {
    what: 'an additional record that is not announced',
    message: changed(GOOD, count(10, 0)),
    answer: 'FORMERR',
  },
  {
    what: 'octets behind the message',
    message: Buffer.concat([GOOD, Buffer.from('more')]),
    answer: 'FORMERR',
  },
  { what: 'a name that points to itself', message: withName(0xc0, 12), answer: 'FORMERR' },
  { what: 'a name that points forward', message: withName(0xc0, 40), answer: 'FORMERR' },
  { what: 'a name that points into the header', message: withName(0xc0, 0), answer: 'FORMERR' },
  { what: 'a label and then a pointer to it', message: withName(1, 97, 0xc0, 12), answer: 'FORMERR' },
  { what: 'a label of 64 octets', message: withName(...label(64), 0), answer: 'FORMERR' },
  { what: 'a label with reserved bits', message: withName(0x80 | 3, 97, 97, 97, 0), answer: 'FORMERR' },
  {
    what: 'a name of 256 octets',
    message: withName(...label(63), ...label(63), ...label(63), ...label(63), 0),
    answer: 'FORMERR',
  },
  { what: 'a label longer than the message', message: withName(60, 97), answer: 'FORMERR' },
  { what: 'two OPT records', message: changed(Buffer.concat([GOOD, OPT]), count(10, 2)), answer: 'FORMERR' },
  {
    what: 'an OPT with a name',
    message: changed(Buffer.concat([GOOD.subarray(0, -11), Buffer.from([1, 97]), OPT]), () => {}),
    answer: 'FORMERR',
  },
  {
    what: 'an EDNS option longer than its record',
    message: changed(Buffer.concat([GOOD.subarray(0, -2), Buffer.from([0, 4, 0, 3, 0, 9])]), () => {}),
    answer: 'FORMERR',
  },
  { what: 'EDNS version 1', message: changed(GOOD, (m) => m.writeUInt8(1, m.length - 5)), answer: 'BADVERS' },
  { what: 'opcode 2 (STATUS)', message: changed(GOOD, (m) => m.writeUInt16BE(0x1100, 2)), answer: 'NOTIMP' },
  { what: 'opcode 5 (UPDATE)', message: changed(GOOD, (m) => m.writeUInt16BE(0x2900, 2)), answer: 'NOTIMP' },
  {
    what: 'class CHAOS',
    message: changed(GOOD, (m) => m.writeUInt16BE(3, m.length - 13)),
    answer: 'REFUSED',
  },
  { what: 'recursion not desired', message: changed(GOOD, (m) => m.writeUInt16BE(0, 2)), answer: 'REFUSED' },
  {
    what: 'a signed query',
    message: Buffer.concat([changed(GOOD, count(10, 2)), Buffer.from([0, 0, 250, 0, 255, 0, 0, 0, 0, 0, 0])]),
    answer: 'REFUSED',
  },
];
