// From a refusal to DNS: the one table of DESIGN.md section 6 for this protocol. Pure; a new reason doesn't compile until it has
// a row here.
import type { DnsAnswer, RefusalReason, Refused } from '../rail/index.ts';
import { encodeReply, RCODE } from './wire.ts';
import type { Query } from './wire.ts';

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

/** The answer to a refused query; undefined where the rule says silence. */
export function refusalReply(query: Query, refused: Refused): Buffer | undefined {
  const row = TABLE[refused.reason];
  const answer = row.answer === 'servfail' ? 'servfail' : (refused.answer?.dns ?? row.answer);
  if (answer === 'drop') return undefined;
  const negative = answer === 'nxdomain' || answer === 'nodata';
  return encodeReply(query, {
    rcode: RCODES[answer],
    error: {
      code: refused.answer?.ede ?? row.ede,
      text: `rule=${refused.rule} id=${refused.id}: ${refused.message}`,
    },
    ...(negative ? { negativeTtlS: REFUSAL_TTL_S } : {}),
  });
}

/** What the log calls the answer. */
export const answerName = (refused: Refused): string => {
  const row = TABLE[refused.reason];
  return (row.answer === 'servfail' ? 'servfail' : (refused.answer?.dns ?? row.answer)).toUpperCase();
};
