// The part of a DNS message that must be read strictly: header, the one question, and where records lie. Owns names: lossless
// text for people and rules, exact octets for the wire. Never follows more than it must, never throws on bad octets.

export const HEADER_OCTETS = 12;
export const CLASS_IN = 1;
export const TYPE_OPT = 41;
const NAME_OCTETS_MAX = 255;
const LABEL_OCTETS_MAX = 63;

/** Types by number (IANA); the rest are TYPE<n> (RFC 3597). */
const TYPE_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries({
    A: 1,
    NS: 2,
    CNAME: 5,
    SOA: 6,
    NULL: 10,
    PTR: 12,
    HINFO: 13,
    MX: 15,
    TXT: 16,
    RP: 17,
    AFSDB: 18,
    SIG: 24,
    KEY: 25,
    AAAA: 28,
    LOC: 29,
    SRV: 33,
    NAPTR: 35,
    CERT: 37,
    DNAME: 39,
    OPT: 41,
    DS: 43,
    SSHFP: 44,
    RRSIG: 46,
    NSEC: 47,
    DNSKEY: 48,
    NSEC3: 50,
    NSEC3PARAM: 51,
    TLSA: 52,
    SMIMEA: 53,
    CDS: 59,
    CDNSKEY: 60,
    OPENPGPKEY: 61,
    CSYNC: 62,
    SVCB: 64,
    HTTPS: 65,
    SPF: 99,
    TKEY: 249,
    TSIG: 250,
    IXFR: 251,
    AXFR: 252,
    ANY: 255,
    URI: 256,
    CAA: 257,
  }).map(([name, number]) => [number, name]),
);

export const typeName = (type: number): string => TYPE_NAMES.get(type) ?? `TYPE${type}`;

export interface Question {
  /** The name as text: lower case, without trailing dot, "." for the root; odd octets as \DDD, so two names never look alike. */
  readonly text: string;
  /** The name's octets, lower case. */
  readonly name: Buffer;
  readonly type: number;
  readonly class: number;
  /** Offset behind the question. */
  readonly end: number;
}

/** Reads the question at offset 12. Compression has no place there: a pointer, like any other fault, gives undefined. */
export function readQuestion(message: Buffer): Question | undefined {
  const end = plainNameEnd(message, HEADER_OCTETS);
  if (end === undefined || end + 4 > message.length) return undefined;
  const name = lowered(message, HEADER_OCTETS, end);
  return {
    text: nameText(name),
    name,
    type: message.readUInt16BE(end),
    class: message.readUInt16BE(end + 2),
    end: end + 4,
  };
}

function plainNameEnd(message: Buffer, start: number): number | undefined {
  let at = start;
  for (;;) {
    const length = message[at];
    if (length === undefined || length > LABEL_OCTETS_MAX) return undefined;
    at += 1 + length;
    if (at - start > NAME_OCTETS_MAX) return undefined;
    if (length === 0) return at <= message.length ? at : undefined;
  }
}

function lowered(message: Buffer, start: number, end: number): Buffer {
  const name = Buffer.from(message.subarray(start, end));
  for (let i = 0; i < name.length; i += 1) {
    const octet = name[i] ?? 0;
    // A length octet is at most 63, so it is never taken for a letter.
    if (octet >= 65 && octet <= 90) name[i] = octet + 32;
  }
  return name;
}

/** Text of a name's octets, as said at Question.text. */
function nameText(name: Buffer): string {
  if (name.length <= 1) return '.';
  let text = '';
  let at = 0;
  while (at < name.length - 1) {
    const length = name[at] ?? 0;
    if (at > 0) text += '.';
    for (let i = at + 1; i <= at + length; i += 1) text += octetText(name[i] ?? 0);
    at += 1 + length;
  }
  return text;
}

function octetText(octet: number): string {
  const plain = octet > 32 && octet < 127 && octet !== 46 && octet !== 92;
  return plain ? String.fromCharCode(octet) : `\\${String(octet).padStart(3, '0')}`;
}

/** The octets of a plain host name without escapes; undefined when a label or the name is too long, or empty. */
export function nameOctets(host: string): Buffer | undefined {
  const labels = host === '.' ? [] : host.split('.');
  const parts: Buffer[] = [];
  for (const label of labels) {
    const octets = Buffer.from(label, 'latin1');
    if (octets.length === 0 || octets.length > LABEL_OCTETS_MAX || /[^\x21-\x7e]|\\/.test(label))
      return undefined;
    parts.push(Buffer.from([octets.length]), octets);
  }
  const name = Buffer.concat([...parts, Buffer.from([0])]);
  return name.length <= NAME_OCTETS_MAX ? name : undefined;
}

/**
 * The octets, lower case, of the name at `start`, which may be compressed: every pointer must point backwards (RFC 1035, 4.1.4).
 * Undefined when the name is faulty or longer than 255 octets.
 */
export function readName(message: Buffer, start: number): Buffer | undefined {
  const parts: Buffer[] = [];
  let at = start;
  let before = start;
  let octets = 1;
  for (;;) {
    const length = message[at];
    if (length === undefined) return undefined;
    if (length >= 192) {
      const target = ((length & 63) << 8) | (message[at + 1] ?? 0);
      if (at + 1 >= message.length || target >= before || target < HEADER_OCTETS) return undefined;
      at = target;
      before = target;
      continue;
    }
    if (length > LABEL_OCTETS_MAX || at + 1 + length > message.length) return undefined;
    if (length === 0) break;
    octets += 1 + length;
    if (octets > NAME_OCTETS_MAX) return undefined;
    parts.push(message.subarray(at, at + 1 + length));
    at += 1 + length;
  }
  const name = Buffer.concat([...parts, Buffer.from([0])]);
  return lowered(name, 0, name.length);
}

export interface RecordPlace {
  readonly start: number;
  readonly end: number;
  readonly type: number;
  readonly class: number;
  readonly ttl: number;
  /** Offset of the data. */
  readonly data: number;
  /** Whether the owner is the root, written plainly. */
  readonly root: boolean;
}

/** Where the records behind the question lie, without reading their data; undefined when they don't fit the message exactly. */
export function readRecords(message: Buffer, from: number, count: number): RecordPlace[] | undefined {
  const places: RecordPlace[] = [];
  let at = from;
  for (let i = 0; i < count; i += 1) {
    const data = recordData(message, at);
    if (data === undefined) return undefined;
    const end = data + message.readUInt16BE(data - 2);
    if (end > message.length) return undefined;
    places.push({
      start: at,
      end,
      data,
      type: message.readUInt16BE(data - 10),
      class: message.readUInt16BE(data - 8),
      ttl: message.readUInt32BE(data - 6),
      root: message[at] === 0,
    });
    at = end;
  }
  return at === message.length ? places : undefined;
}

/** Offset of a record's data; its owner may end in a pointer, which must point backwards (RFC 1035, 4.1.4). */
function recordData(message: Buffer, start: number): number | undefined {
  let at = start;
  for (;;) {
    const length = message[at];
    if (length === undefined || at - start > NAME_OCTETS_MAX) return undefined;
    if (length >= 192) {
      const target = ((length & 63) << 8) | (message[at + 1] ?? 0);
      if (target >= start || target < HEADER_OCTETS) return undefined;
      at += 2;
      break;
    }
    if (length > LABEL_OCTETS_MAX) return undefined;
    at += 1 + length;
    if (length === 0) break;
  }
  return at + 10 <= message.length ? at + 10 : undefined;
}
