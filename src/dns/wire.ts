// DNS messages as octets: reading queries strictly, writing answers. Pure. A query is never passed on as it came: what goes
// upstream is rebuilt from what was read here.
import { isUtf8 } from 'node:buffer';
import packet from 'dns-packet';
import type { OptAnswer, Packet, SoaAnswer } from 'dns-packet';
import {
  CLASS_IN,
  HEADER_OCTETS,
  readQuestion,
  readRecords,
  TYPE_OPT,
  typeName,
} from '../lib/dns-message.ts';
import type { Question, RecordPlace } from '../lib/dns-message.ts';

/** The largest UDP answer that is sent, and the size that our OPT offers (DNS flag day 2020). */
export const UDP_OCTETS = 1232;
const PLAIN_UDP_OCTETS = 512;
const TCP_OCTETS = 65_535;

export const RCODE = {
  noError: 0,
  formErr: 1,
  servFail: 2,
  nxDomain: 3,
  notImp: 4,
  refused: 5,
  badVers: 16,
} as const;
export type Rcode = (typeof RCODE)[keyof typeof RCODE];

/** What the client's OPT said (RFC 6891). */
export interface ClientEdns {
  readonly udpOctets: number;
  readonly dnssecOk: boolean;
}

export interface Query {
  readonly id: number;
  readonly question: Question;
  /** The question exactly as the client wrote it, letter case included. */
  readonly asked: Buffer;
  /** RD and CD as the client set them, for the answer (RFC 1035, 4.1.1; RFC 4035, 3.2.2). */
  readonly copied: number;
  readonly qtype: string;
  readonly authenticData: boolean;
  readonly checkingDisabled: boolean;
  readonly edns: ClientEdns | undefined;
}

/** What can be said back to a query that was not understood: `asked` where the question could be read. */
export interface Faulty {
  readonly id: number;
  readonly opcode: number;
  readonly asked: Buffer | undefined;
  readonly copied: number;
  readonly edns: ClientEdns | undefined;
}

export type ParsedQuery =
  | { readonly ok: true; readonly query: Query }
  | { readonly ok: false; readonly detail: string; readonly rcode: Rcode | 'drop'; readonly faulty: Faulty };

const FLAG = {
  qr: 0x8000,
  opcode: 0x7800,
  aa: 0x0400,
  tc: 0x0200,
  rd: 0x0100,
  ra: 0x0080,
  ad: 0x0020,
  cd: 0x0010,
} as const;
const TYPE_SIG = 24;
const TYPE_TSIG = 250;

/** Reads a query. Total: every octet string gives a query, or a fault with the answer that it deserves. */
export function parseQuery(message: Buffer): ParsedQuery {
  const nothing: Faulty = { id: 0, opcode: 0, asked: undefined, copied: 0, edns: undefined };
  if (message.length < HEADER_OCTETS) return fault('bad length', 'drop', nothing);
  const flags = message.readUInt16BE(2);
  const head = {
    ...nothing,
    id: message.readUInt16BE(0),
    opcode: (flags & FLAG.opcode) >>> 11,
    copied: flags & (FLAG.rd | FLAG.cd),
  };
  if ((flags & FLAG.qr) !== 0) return fault('a response', 'drop', head);
  if (head.opcode !== 0) return fault(`opcode ${head.opcode}`, RCODE.notImp, head);
  const questions = message.readUInt16BE(4);
  if (questions !== 1)
    return fault(questions === 0 ? 'no question' : 'several questions', RCODE.formErr, head);
  const question = readQuestion(message);
  if (question === undefined) return fault('bad question', RCODE.formErr, head);
  const asked = message.subarray(HEADER_OCTETS, question.end);
  if (message.readUInt32BE(6) !== 0) return fault('records in a query', RCODE.formErr, { ...head, asked });
  const extra = readRecords(message, question.end, message.readUInt16BE(10));
  if (extra === undefined) return fault('bad additional section', RCODE.formErr, { ...head, asked });
  return withExtra(message, { head: { ...head, asked }, flags, question, asked }, extra);
}

interface Read {
  readonly head: Faulty;
  readonly flags: number;
  readonly question: Question;
  readonly asked: Buffer;
}

function withExtra(message: Buffer, read: Read, extra: readonly RecordPlace[]): ParsedQuery {
  const { flags, question, asked } = read;
  const opts = extra.filter((record) => record.type === TYPE_OPT);
  const opt = opts[0];
  if (opts.length > 1) return fault('two OPT records', RCODE.formErr, read.head);
  if (opt !== undefined && !opt.root) return fault('OPT with a name', RCODE.formErr, read.head);
  if (opt !== undefined && !optionsFit(message, opt))
    return fault('bad EDNS options', RCODE.formErr, read.head);
  const edns =
    opt === undefined
      ? undefined
      : { udpOctets: Math.max(PLAIN_UDP_OCTETS, opt.class), dnssecOk: (opt.ttl & 0x8000) !== 0 };
  const head = { ...read.head, edns };
  if (opt !== undefined && ((opt.ttl >>> 16) & 255) !== 0) return fault('EDNS version', RCODE.badVers, head);
  if (extra.some(({ type }) => type === TYPE_TSIG || type === TYPE_SIG))
    return fault('a signed query', RCODE.refused, head);
  if (question.class !== CLASS_IN) return fault('class not IN', RCODE.refused, head);
  if ((flags & FLAG.rd) === 0) return fault('recursion not desired', RCODE.refused, head);
  return {
    ok: true,
    query: {
      id: head.id,
      question,
      asked,
      copied: head.copied,
      qtype: typeName(question.type),
      authenticData: (flags & FLAG.ad) !== 0,
      checkingDisabled: (flags & FLAG.cd) !== 0,
      edns,
    },
  };
}

const fault = (detail: string, rcode: Rcode | 'drop', faulty: Faulty): ParsedQuery => ({
  ok: false,
  detail,
  rcode,
  faulty,
});

function optionsFit(message: Buffer, opt: RecordPlace): boolean {
  let at = opt.data;
  while (at + 4 <= opt.end) at += 4 + message.readUInt16BE(at + 2);
  return at === opt.end;
}

/** Extended DNS Error (RFC 8914). `text` should be short: it is cut to 200 octets of UTF-8, less where the answer has no room. */
export interface ExtendedError {
  readonly code: number;
  readonly text: string;
}

const EDE_OPTION = 15;
const EDE_TEXT_OCTETS = 200;

function edeData(error: ExtendedError, room: number): Buffer {
  const code = Buffer.alloc(2);
  code.writeUInt16BE(error.code);
  const text = Buffer.from(error.text.slice(0, EDE_TEXT_OCTETS));
  return Buffer.concat([code, cutUtf8(text, Math.min(room, EDE_TEXT_OCTETS))]);
}

/** At most `most` octets, never a part of a character. */
function cutUtf8(text: Buffer, most: number): Buffer {
  if (text.length <= most) return text;
  let end = Math.max(0, most);
  while (end > 0 && ((text[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return text.subarray(0, end);
}

function optOf(edns: ClientEdns, extendedRcode: number, errors: readonly Buffer[]): OptAnswer {
  return {
    type: 'OPT',
    name: '.',
    udpPayloadSize: UDP_OCTETS,
    extendedRcode,
    ednsVersion: 0,
    flags: edns.dnssecOk ? 0x8000 : 0,
    flag_do: edns.dnssecOk,
    // The type wants the names of options; EDE goes only by number.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    options: errors.map((data) => ({ code: EDE_OPTION, data })) as never,
  };
}

export interface ReplyOptions {
  readonly rcode: number;
  readonly error?: ExtendedError;
  /** Adds the SOA that says how long a negative answer may be remembered (RFC 2308). `zoneAt`: see zoneOffset. */
  readonly negative?: { readonly ttlS: number; readonly zoneAt: number };
}

/** Where in a message the zone's name stands, as the tail of the question's. `zone` is a suffix of its text. */
export function zoneOffset(question: Question, zone: string): number {
  const count = (text: string): number => (text === '.' ? 0 : text.split('.').length);
  let at = 0;
  for (let left = count(question.text) - count(zone); left > 0; left -= 1) {
    at += 1 + (question.name[at] ?? 0);
  }
  return HEADER_OCTETS + at;
}

const SOA_OCTETS = 34;
const EMPTY_EDE_OPT_OCTETS = 17;

/**
 * An answer of our own, without records but the SOA; at most 512 octets. Question and letter case are the client's; OPT only
 * if it sent one.
 */
export function encodeReply(
  to: Pick<Query, 'id' | 'asked' | 'copied' | 'edns'> | Faulty,
  options: ReplyOptions,
): Buffer {
  const { edns } = to;
  const asked = to.asked ?? Buffer.alloc(0);
  const { error, negative } = options;
  const room = PLAIN_UDP_OCTETS - HEADER_OCTETS - asked.length - SOA_OCTETS - EMPTY_EDE_OPT_OCTETS;
  const errors = error === undefined ? [] : [edeData(error, room)];
  const message: Packet = {
    type: 'response',
    id: to.id,
    flags: to.copied | FLAG.ra | (options.rcode & 15),
    authorities: negative === undefined ? [] : [soaOf(negative.ttlS)],
    additionals: edns === undefined ? [] : [optOf(edns, options.rcode >>> 4, errors)],
  };
  const encoded = packet.encode(message);
  const opcode = 'opcode' in to ? to.opcode : 0;
  encoded.writeUInt16BE((encoded.readUInt16BE(2) & ~FLAG.opcode) | (opcode << 11), 2);
  if (to.asked !== undefined) encoded.writeUInt16BE(1, 4);
  // Names go in as the client's octets, since the library's text names would lose odd ones: the question before the records,
  // and a pointer into it in place of the SOA's root owner. The library itself compresses nothing that would move.
  const owner = Buffer.alloc(negative === undefined ? 0 : 2);
  if (negative !== undefined) owner.writeUInt16BE(0xc000 | negative.zoneAt);
  const records = encoded.subarray(HEADER_OCTETS + (negative === undefined ? 0 : 1));
  return Buffer.concat([encoded.subarray(0, HEADER_OCTETS), asked, owner, records]);
}

const soaOf = (ttlS: number): SoaAnswer => ({
  type: 'SOA',
  name: '.',
  ttl: ttlS,
  data: {
    mname: '.',
    rname: '.',
    serial: 1,
    refresh: 3600,
    retry: 600,
    expire: 86_400,
    minimum: ttlS,
  },
});

/**
 * The upstream's answer as the client may see it: records to the octet, our own header and OPT, the client's question.
 * Undefined when it can't be trusted: another question, or records that don't fit or decode. What is too large for the
 * client becomes an empty answer with TC (RFC 2181, section 9).
 */
export function relayAnswer(query: Query, upstream: Buffer, transport: 'udp' | 'tcp'): Buffer | undefined {
  const question = readQuestion(upstream);
  // The client's question takes the place of the upstream's: pointers stay true only because both are equally long.
  if (question === undefined || !question.name.equals(query.question.name)) return undefined;
  const withoutExtra = upstream.readUInt16BE(6) + upstream.readUInt16BE(8);
  const records = readRecords(upstream, question.end, withoutExtra + upstream.readUInt16BE(10));
  if (records === undefined || !decodes(upstream, records.length)) return undefined;
  const found = records.findIndex((record) => record.type === TYPE_OPT);
  // Records behind an OPT would move, and names may point at them: additional data may be left out, answers may not.
  if (found >= 0 && found < withoutExtra) return undefined;
  const place = records[found];
  const kept = found < 0 ? records.length : found;
  const extendedRcode = place === undefined ? 0 : place.ttl >>> 24;
  const rcode =
    extendedRcode > 0 && query.edns === undefined ? RCODE.servFail : upstream.readUInt16BE(2) & 15;
  const flags = relayedFlags(query, upstream.readUInt16BE(2)) | rcode;
  const extra = kept - withoutExtra;
  const head = { query, flags, extendedRcode };
  const body = assemble(
    head,
    upstream.subarray(4, HEADER_OCTETS),
    extra,
    upstream.subarray(question.end, records[kept - 1]?.end ?? question.end),
    place === undefined ? [] : relayedErrors(upstream, place),
  );
  const udpLimit = Math.min(UDP_OCTETS, query.edns?.udpOctets ?? PLAIN_UDP_OCTETS);
  if (body.length <= (transport === 'udp' ? udpLimit : TCP_OCTETS)) return body;
  return assemble({ ...head, flags: flags | FLAG.tc }, NO_RECORDS, 0, Buffer.alloc(0), []);
}

/** The four counts of a message that holds nothing but its question. */
const NO_RECORDS = Buffer.from([0, 1, 0, 0, 0, 0, 0, 0]);

function assemble(
  head: { readonly query: Query; readonly flags: number; readonly extendedRcode: number },
  counts: Buffer,
  extra: number,
  records: Buffer,
  errors: readonly Buffer[],
): Buffer {
  const { query, flags, extendedRcode } = head;
  const opt =
    query.edns === undefined
      ? Buffer.alloc(0)
      : packet.encode({ additionals: [optOf(query.edns, extendedRcode, errors)] }).subarray(HEADER_OCTETS);
  const message = Buffer.concat([Buffer.alloc(4), counts, query.asked, records, opt]);
  message.writeUInt16BE(query.id, 0);
  message.writeUInt16BE(flags, 2);
  message.writeUInt16BE(extra + (opt.length > 0 ? 1 : 0), 10);
  return message;
}

/**
 * More records than this are only measured, not decoded: a hostile answer of 64 KB, each record pointing at one name of 126
 * labels, keeps the library busy for 50 to 100 ms, and this thread serves everybody.
 */
const DECODED_RECORDS_MAX = 64;

function decodes(message: Buffer, records: number): boolean {
  if (records > DECODED_RECORDS_MAX) return true;
  try {
    packet.decode(message);
    return packet.decode.bytes === message.length;
  } catch {
    return false;
  }
}

/** The upstream's own Extended DNS Errors: at most four, their text cut like ours. */
function relayedErrors(upstream: Buffer, place: RecordPlace): Buffer[] {
  const errors: Buffer[] = [];
  if (!optionsFit(upstream, place)) return errors;
  for (let at = place.data; at < place.end; at += 4 + upstream.readUInt16BE(at + 2)) {
    const octets = upstream.subarray(at + 4, at + 4 + upstream.readUInt16BE(at + 2));
    if (upstream.readUInt16BE(at) !== EDE_OPTION || octets.length < 2) continue;
    const text = cutUtf8(octets.subarray(2), EDE_TEXT_OCTETS);
    errors.push(isUtf8(text) ? octets.subarray(0, 2 + text.length) : octets.subarray(0, 2));
  }
  return errors.slice(0, 4);
}

/** AD only to a client that understands it (RFC 6840, 5.8). */
function relayedFlags(query: Query, upstreamFlags: number): number {
  const wantsAd = query.authenticData || query.edns?.dnssecOk === true;
  return FLAG.qr | FLAG.ra | query.copied | (wantsAd ? upstreamFlags & FLAG.ad : 0);
}
