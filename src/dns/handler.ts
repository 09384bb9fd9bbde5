// One query end to end: parse, judge, refuse or ask upstream, answer. Knows no sockets. Must ask the rail exactly once for each
// message, understood or not.
import type { Clock } from '../lib/clock.ts';
import type { Exchange } from '../egress/exchange.ts';
import type { Identity, Rail, Subject, Traffic } from '../rail/index.ts';
import { answerName, refusalReply } from './enforce.ts';
import { malformedEvent, queryEvent } from './event.ts';
import type { Transport } from './event.ts';
import { encodeReply, parseQuery, RCODE, relayAnswer } from './wire.ts';
import type { ParsedQuery, Query } from './wire.ts';

export interface DnsHandlerOptions {
  readonly rail: Rail;
  readonly identity: Identity;
  readonly exchange: Exchange;
  readonly traffic: Traffic;
  readonly clock: Clock;
}

/** Undefined: no answer. Never rejects. */
export type DnsHandler = (
  message: Buffer,
  source: string,
  transport: Transport,
) => Promise<Buffer | undefined>;

const RCODE_NAMES = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN', 'NOTIMP', 'REFUSED'] as const;
const ZONE_TRANSFERS: ReadonlySet<string> = new Set(['AXFR', 'IXFR']);

/** Extended DNS Errors for an upstream that fails (RFC 8914): 22 no reachable authority, 23 network error. */
const UPSTREAM_EDE = { timeout: 22, unreachable: 23, busy: 23 } as const;

export function createDnsHandler(options: DnsHandlerOptions): DnsHandler {
  return async (message, source, transport) => {
    const subject = options.identity.of(source);
    const parsed = parseQuery(message);
    if (!parsed.ok) return malformed(options, subject, parsed);
    const { query } = parsed;
    const fromMs = options.clock.now();
    const decision = options.rail.decide(queryEvent(subject, query, transport));
    const note = (rcode: string, more: Record<string, string>): void => {
      const line = { qname: shortened(query.question.text), qtype: query.qtype, transport, rcode };
      const { vm, source: from } = subject;
      options.traffic.note({
        kind: 'query',
        vm,
        source: from,
        ...line,
        ...more,
        ms: options.clock.now() - fromMs,
      });
    };
    if (decision.verdict !== 'allow') {
      note(answerName(decision), { verdict: decision.verdict, rule: decision.rule });
      return refusalReply(query, decision);
    }
    if (decision.ticket !== undefined) options.rail.finish(decision.ticket);
    const { reply, error } = await forward(options, query, transport);
    note(RCODE_NAMES[reply.readUInt16BE(2) & 15] ?? 'OTHER', {
      verdict: 'allow',
      ...(error === undefined ? {} : { error }),
    });
    return reply;
  };
}

function malformed(
  options: DnsHandlerOptions,
  subject: Subject,
  parsed: Extract<ParsedQuery, { ok: false }>,
): Buffer | undefined {
  const { detail, rcode, faulty } = parsed;
  const decision = options.rail.decide(malformedEvent(subject, detail));
  const { vm, source } = subject;
  options.traffic.note({ kind: 'malformed', vm, source, protocol: 'dns', detail });
  if (rcode === 'drop' || (decision.verdict !== 'allow' && decision.reason !== 'unknown_vm'))
    return undefined;
  return encodeReply(faulty, { rcode: decision.verdict === 'allow' ? rcode : RCODE.refused });
}

interface Forwarded {
  readonly reply: Buffer;
  readonly error?: string;
}

async function forward(options: DnsHandlerOptions, query: Query, transport: Transport): Promise<Forwarded> {
  // A zone transfer is many messages; no rule can make a forwarder serve one.
  if (ZONE_TRANSFERS.has(query.qtype)) return { reply: encodeReply(query, { rcode: RCODE.refused }) };
  const answered = await options.exchange.ask({
    name: query.question.name,
    text: query.question.text,
    type: query.question.type,
    dnssecOk: query.edns?.dnssecOk ?? false,
    checkingDisabled: query.checkingDisabled,
  });
  if (!answered.ok) {
    const error = {
      code: UPSTREAM_EDE[answered.error],
      text: `upstream ${answered.upstream}: ${answered.error}`,
    };
    return { reply: encodeReply(query, { rcode: RCODE.servFail, error }), error: answered.error };
  }
  const reply = relayAnswer(query, answered.message, transport);
  if (reply !== undefined) return { reply };
  const error = { code: 24, text: 'the upstream’s answer could not be read' };
  return { reply: encodeReply(query, { rcode: RCODE.servFail, error }), error: 'invalid' };
}

const shortened = (name: string): string => (name.length > 255 ? `${name.slice(0, 255)}…` : name);
