// DNS messages as octets: reading queries strictly, writing answers. Pure. A query is never passed on as it came: what goes
// upstream is rebuilt from what was read here.
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
  const nothing: Faulty = { id: 0, opcode: 0, asked: undefined, edns: undefined };
  if (message.length < HEADER_OCTETS) return fault('short header', 'drop', nothing);
  const flags = message.readUInt16BE(2);
  const head = { ...nothing, id: message.readUInt16BE(0), opcode: (flags & FLAG.opcode) >>> 11 };
  if ((flags & FLAG.qr) !== 0) return fault('a response', 'drop', head);
  if (head.opcode !== 0) return fault(`opcode ${head.opcode}`, RCODE.notImp, head);
  const questions = message.readUInt16BE(4);
  if (questions !== 1) return fault(`${questions} questions`, RCODE.formErr, head);
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
  if (question.class !== CLASS_IN) return fault(`class ${question.class}`, RCODE.refused, head);
  if ((flags & FLAG.rd) === 0) return fault('recursion not desired', RCODE.refused, head);
  return {
    ok: true,
    query: {
      id: head.id,
      question,
      asked,
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

/** Extended DNS Error (RFC 8914). `text` should be short; it is cut at 200 octets of UTF-8. */
export interface ExtendedError {
  readonly code: number;
  readonly text: string;
}

const EDE_OPTION = 15;
const EDE_TEXT_OCTETS = 200;

function edeData(error: ExtendedError): Buffer {
  let text = error.text;
  while (Buffer.byteLength(text) > EDE_TEXT_OCTETS) text = text.slice(0, -1);
  const code = Buffer.alloc(2);
  code.writeUInt16BE(error.code);
  return Buffer.concat([code, Buffer.from(text)]);
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
    options: errors.map((data) => ({ code: EDE_OPTION, data })) as never,
  };
}

export interface ReplyOptions {
  readonly rcode: number;
  readonly error?: ExtendedError;
  /** Lifetime of a negative answer in seconds: adds the SOA that carries it (RFC 2308). */
  readonly negativeTtlS?: number;
  readonly recursionDesired?: boolean;
}

/** An answer of our own, without records but the SOA. Question and letter case are the client's; OPT only if it sent one. */
export function encodeReply(
  to: Pick<Query, 'id' | 'asked' | 'edns'> | Faulty,
  options: ReplyOptions,
): Buffer {
  const { edns, asked } = to;
  const errors = options.error === undefined ? [] : [edeData(options.error)];
  const soa: SoaAnswer = {
    type: 'SOA',
    name: '.',
    ttl: options.negativeTtlS ?? 0,
    data: {
      mname: '.',
      rname: '.',
      serial: 1,
      refresh: 3600,
      retry: 600,
      expire: 86_400,
      minimum: options.negativeTtlS ?? 0,
    },
  };
  const message: Packet = {
    type: 'response',
    id: to.id,
    flags: FLAG.rd | FLAG.ra | (options.rcode & 15),
    authorities: options.negativeTtlS === undefined ? [] : [soa],
    additionals: edns === undefined ? [] : [optOf(edns, options.rcode >>> 4, errors)],
  };
  const encoded = packet.encode(message);
  const opcode = 'opcode' in to ? to.opcode : 0;
  encoded.writeUInt16BE((encoded.readUInt16BE(2) & ~FLAG.opcode) | (opcode << 11), 2);
  if (asked === undefined) return encoded;
  encoded.writeUInt16BE(1, 4);
  // The question goes in as octets: the library's text names would lose odd octets. Nothing behind it is compressed.
  return Buffer.concat([encoded.subarray(0, HEADER_OCTETS), asked, encoded.subarray(HEADER_OCTETS)]);
}

/**
 * The upstream's answer as the client may see it: records to the octet, our own header and OPT, the client's question.
 * Undefined when it can't be trusted: it doesn't decode, or its records don't fit. Over UDP what is too large becomes an
 * empty answer with TC (RFC 2181, section 9).
 */
export function relayAnswer(query: Query, upstream: Buffer, transport: 'udp' | 'tcp'): Buffer | undefined {
  const question = readQuestion(upstream);
  if (question === undefined || !decodes(upstream)) return undefined;
  const [answers, authorities, additionals] = [6, 8, 10].map((at) => upstream.readUInt16BE(at)) as [
    number,
    number,
    number,
  ];
  const records = readRecords(upstream, question.end, answers + authorities + additionals);
  if (records === undefined) return undefined;
  const opt = records.findIndex((record) => record.type === TYPE_OPT);
  const kept = opt < 0 ? records.length : opt;
  // Records behind an OPT would move, and names may point at them: additional data may be left out.
  if (opt >= 0 && opt < answers + authorities) return undefined;
  const end = records[kept - 1]?.end ?? question.end;
  const place = opt < 0 ? undefined : records[opt];
  const tail = query.edns === undefined ? undefined : relayedOpt(query.edns, upstream, place);
  const body = Buffer.concat([
    upstream.subarray(0, HEADER_OCTETS),
    query.asked,
    upstream.subarray(question.end, end),
    tail ?? Buffer.alloc(0),
  ]);
  writeHeader(body, query, upstream.readUInt16BE(2));
  body.writeUInt16BE(Math.max(0, kept - answers - authorities) + (tail === undefined ? 0 : 1), 10);
  const limit = Math.min(UDP_OCTETS, query.edns?.udpOctets ?? PLAIN_UDP_OCTETS);
  return transport === 'tcp' || body.length <= limit ? body : truncated(body, query, tail);
}

function decodes(message: Buffer): boolean {
  try {
    packet.decode(message);
    return packet.decode.bytes === message.length;
  } catch {
    return false;
  }
}

function relayedOpt(edns: ClientEdns, upstream: Buffer, place: RecordPlace | undefined): Buffer {
  const errors: Buffer[] = [];
  if (place !== undefined && optionsFit(upstream, place)) {
    for (let at = place.data; at < place.end; at += 4 + upstream.readUInt16BE(at + 2)) {
      const octets = upstream.subarray(at + 4, at + 4 + upstream.readUInt16BE(at + 2));
      if (upstream.readUInt16BE(at) === EDE_OPTION && octets.length >= 2)
        errors.push(octets.subarray(0, 2 + EDE_TEXT_OCTETS));
    }
  }
  const extended = place === undefined ? 0 : place.ttl >>> 24;
  return packet.encode({ additionals: [optOf(edns, extended, errors.slice(0, 4))] }).subarray(HEADER_OCTETS);
}

function writeHeader(body: Buffer, query: Query, upstreamFlags: number): void {
  const wantsAd = query.authenticData || query.edns?.dnssecOk === true;
  const ad = wantsAd ? upstreamFlags & FLAG.ad : 0;
  const cd = query.checkingDisabled ? FLAG.cd : 0;
  body.writeUInt16BE(query.id, 0);
  body.writeUInt16BE(FLAG.qr | FLAG.rd | FLAG.ra | ad | cd | (upstreamFlags & 15), 2);
}

function truncated(body: Buffer, query: Query, tail: Buffer | undefined): Buffer {
  const cut = Buffer.concat([body.subarray(0, HEADER_OCTETS), query.asked, tail ?? Buffer.alloc(0)]);
  cut.writeUInt16BE(cut.readUInt16BE(2) | FLAG.tc, 2);
  cut.fill(0, 6, HEADER_OCTETS);
  cut.writeUInt16BE(tail === undefined ? 0 : 1, 10);
  return cut;
}
