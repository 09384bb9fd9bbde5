// One query end to end: parse, judge, refuse or ask upstream, answer. Knows no sockets. Must ask the rail exactly once for each
// message, understood or not.
import type { Clock } from '../lib/clock.ts';
import { formatEndpoint } from '../lib/ip.ts';
import type { Answered, Exchange } from '../egress/exchange.ts';
import type { Identity, Rail, Subject, Traffic } from '../rail/index.ts';
import { answerName, malformedReply, refusalReply } from './enforce.ts';
import { malformedEvent, queryEvent } from './event.ts';
import type { Transport } from './event.ts';
import { encodeReply, parseQuery, RCODE, relayAnswer } from './wire.ts';
import type { ExtendedError, ParsedQuery, Query } from './wire.ts';

export interface DnsHandlerOptions {
  readonly rail: Rail;
  readonly identity: Identity;
  readonly exchange: Exchange;
  readonly traffic: Traffic;
  readonly clock: Clock;
}

export interface DnsHandler {
  /** One message to its answer; undefined: no answer. Never rejects; bounded in time and number by the exchange. */
  handle(
    message: Buffer,
    from: { readonly source: string; readonly transport: Transport },
  ): Promise<Buffer | undefined>;
  /** Whose a source address is: what connections are counted by. */
  ownerOf(source: string): string;
}

const RCODE_NAMES = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN', 'NOTIMP', 'REFUSED'] as const;

/** Transfers are many messages, and the others stand for no records: no rule can make a forwarder serve them. */
const NEVER_FORWARDED: ReadonlySet<string> = new Set(['AXFR', 'IXFR', 'OPT', 'TSIG', 'TKEY']);

export function createDnsHandler(options: DnsHandlerOptions): DnsHandler {
  return {
    ownerOf: (source) => options.identity.of(source).vm,
    async handle(message, { source, transport }) {
      const subject = options.identity.of(source);
      const parsed = parseQuery(message);
      return parsed.ok
        ? answerQuery(options, subject, parsed.query, transport)
        : answerMalformed(options, subject, parsed);
    },
  };
}

async function answerQuery(
  options: DnsHandlerOptions,
  subject: Subject,
  query: Query,
  transport: Transport,
): Promise<Buffer | undefined> {
  const { rail, traffic, clock } = options;
  const fromMs = clock.now();
  const event = queryEvent(subject, query, transport);
  const decision = rail.decide(event);
  const { vm, source } = subject;
  const qname = shortened(event['dns.qname']);
  const line = { kind: 'query' as const, vm, source, qname, qtype: query.qtype, transport };
  if (decision.verdict !== 'allow') {
    const { verdict, rule } = decision;
    traffic.note({ ...line, rcode: answerName(decision), verdict, rule, ms: clock.now() - fromMs });
    return refusalReply(query, event['dns.suffix'], decision);
  }
  const { reply, error } = await forward(options, vm, query, transport);
  if (decision.ticket !== undefined) rail.finish(decision.ticket);
  const rcode = RCODE_NAMES[reply.readUInt16BE(2) & 15] ?? 'OTHER';
  const failed = error === undefined ? {} : { error };
  traffic.note({ ...line, rcode, verdict: 'allow', ...failed, ms: clock.now() - fromMs });
  return reply;
}

function answerMalformed(
  options: DnsHandlerOptions,
  subject: Subject,
  parsed: Extract<ParsedQuery, { ok: false }>,
): Buffer | undefined {
  const { detail } = parsed;
  const decision = options.rail.decide(malformedEvent(subject, detail));
  if (decision.verdict === 'allow' && decision.ticket !== undefined) options.rail.finish(decision.ticket);
  const { vm, source } = subject;
  options.traffic.note({ kind: 'malformed', vm, source, protocol: 'dns', detail });
  return malformedReply(parsed, decision);
}

interface Forwarded {
  readonly reply: Buffer;
  /** What failed, as a word for the log. */
  readonly error?: string;
}

async function forward(
  options: DnsHandlerOptions,
  vm: string,
  query: Query,
  transport: Transport,
): Promise<Forwarded> {
  const { question } = query;
  if (NEVER_FORWARDED.has(query.qtype)) {
    const error = { code: 21, text: `${query.qtype} is not served here` };
    return { reply: encodeReply(query, { rcode: RCODE.refused, error }) };
  }
  const answered = await options.exchange.ask({
    vm,
    name: question.name,
    text: question.text,
    type: question.type,
    dnssecOk: query.edns?.dnssecOk ?? false,
    checkingDisabled: query.checkingDisabled,
  });
  if (!answered.ok) return servFail(query, answered.error, upstreamError(answered));
  const reply = relayAnswer(query, answered.message, transport);
  if (reply !== undefined) return { reply };
  return servFail(query, 'invalid', { code: 24, text: 'the upstream sent an answer that cannot be read' });
}

const servFail = (query: Query, word: string, error: ExtendedError): Forwarded => ({
  reply: encodeReply(query, { rcode: RCODE.servFail, error }),
  error: word,
});

/** RFC 8914: 14 not ready, 22 no reachable authority, 23 network error, 24 invalid data. */
const UPSTREAM_EDE = { timeout: 22, unreachable: 23, invalid: 24, busy: 14 } as const;

function upstreamError(failed: Extract<Answered, { ok: false }>): ExtendedError {
  const { error, upstream } = failed;
  const code = UPSTREAM_EDE[error];
  if (error === 'busy') return { code, text: 'too many queries are being answered' };
  if (upstream === undefined) return { code, text: 'no upstream is configured' };
  const { address, port, transport } = upstream;
  return { code, text: `upstream ${formatEndpoint(address, port)} ${transport}: ${error}` };
}

const QNAME_LOGGED_MAX = 255;
const shortened = (name: string): string =>
  name.length > QNAME_LOGGED_MAX ? `${name.slice(0, QNAME_LOGGED_MAX)}…` : name;
