// From a refusal to DNS: the one table of DESIGN.md section 6 for this protocol. Pure; a new reason doesn't compile until it has
// a row here.
import type { Decision, DnsAnswer, RefusalReason, Refused } from '../rail/index.ts';
import { encodeReply, RCODE, zoneOffset } from './wire.ts';
import type { ExtendedError, ParsedQuery, Query } from './wire.ts';

interface Row {
  readonly answer: DnsAnswer | 'servfail';
  /** Extended DNS Error: 15 blocked, 18 prohibited, 0 other. */
  readonly ede: number;
}

const TABLE = {
  blocked: { answer: 'nxdomain', ede: 15 },
  rate_limited: { answer: 'nxdomain', ede: 15 },
  budget_exhausted: { answer: 'nxdomain', ede: 15 },
  too_many: { answer: 'servfail', ede: 0 },
  state_full: { answer: 'servfail', ede: 0 },
  unknown_vm: { answer: 'refused', ede: 18 },
  rail_error: { answer: 'servfail', ede: 0 },
} as const satisfies Record<RefusalReason, Row>;

/** How long a refusal may be remembered: long enough to stop a loop, short enough to heal soon after it ends. */
const REFUSAL_TTL_S = 10;

const RCODES = {
  nxdomain: RCODE.nxDomain,
  nodata: RCODE.noError,
  refused: RCODE.refused,
  servfail: RCODE.servFail,
} as const;

/** The rule may choose how a refusal of its own is told, never what a failure of ours is. */
function answerOf(refused: Refused): DnsAnswer | 'servfail' {
  const row = TABLE[refused.reason];
  return row.answer === 'servfail' ? 'servfail' : (refused.answer?.dns ?? row.answer);
}

const errorOf = (refused: Refused): ExtendedError => ({
  code: refused.answer?.ede ?? TABLE[refused.reason].ede,
  text: `rule=${refused.rule} id=${refused.id}: ${refused.message}`,
});

/** The answer to a refused query; undefined where the rule says silence. `suffix` is the event's dns.suffix. */
export function refusalReply(query: Query, suffix: string, refused: Refused): Buffer | undefined {
  const answer = answerOf(refused);
  if (answer === 'drop') return undefined;
  const negative = answer === 'nxdomain' || answer === 'nodata';
  return encodeReply(query, {
    rcode: RCODES[answer],
    error: errorOf(refused),
    ...(negative ? { negative: { ttlS: REFUSAL_TTL_S, zoneAt: zoneOffset(query.question, suffix) } } : {}),
  });
}

/**
 * The answer to what was not understood. It is an error already, so a refusal changes it only to silence where a rule says so,
 * to REFUSED for strangers, or to SERVFAIL where the rail itself failed.
 */
export function malformedReply(
  parsed: Extract<ParsedQuery, { ok: false }>,
  decision: Decision,
): Buffer | undefined {
  const { rcode, faulty } = parsed;
  if (rcode === 'drop') return undefined;
  if (decision.verdict === 'allow') return encodeReply(faulty, { rcode });
  const answer = answerOf(decision);
  if (answer === 'drop') return undefined;
  const told = answer === 'nxdomain' || answer === 'nodata' ? rcode : RCODES[answer];
  return encodeReply(faulty, { rcode: told, error: errorOf(decision) });
}

/** What the log calls the answer. */
export const answerName = (refused: Refused): string => answerOf(refused).toUpperCase();
