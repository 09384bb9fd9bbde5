// What the rail says of an event: verdict, reason, and the rules that determined it. Never knows a wire format.

/** From mild to strict; the strictest wins. */
export const VERDICTS = ['allow', 'throttle', 'ask', 'block'] as const;
export type Verdict = (typeof VERDICTS)[number];

/**
 * Why, as a machine word:
 * `allowed`; `blocked` by a rule without a limit; `rate_limited`: over a limit that refills; `budget_exhausted`: over one
 * that time alone doesn't refill; `too_many`: all concurrent slots taken; `state_full`: no room to count, so refused;
 * `unknown_vm`: identity refused the source; `rail_error`: a bug, failed closed.
 */
export const REASONS = [
  'allowed',
  'blocked',
  'rate_limited',
  'budget_exhausted',
  'too_many',
  'state_full',
  'unknown_vm',
  'rail_error',
] as const;
export type Reason = (typeof REASONS)[number];
export type RefusalReason = Exclude<Reason, 'allowed'>;

/** How a DNS refusal is answered when a rule overrides the enforcement table. */
export type DnsAnswer = 'nxdomain' | 'nodata' | 'refused' | 'drop';

export interface Answer {
  readonly dns?: DnsAnswer;
  /** Extended DNS Error code (RFC 8914) instead of the table's. */
  readonly ede?: number;
  /** HTTP status instead of the table's: 403 or 429. */
  readonly http?: 403 | 429;
}

/** Something that stays open after an event was allowed: here, concurrent slots. Give it to finish, once. */
export interface Ticket {
  readonly vm: string;
}

export interface Allowed {
  readonly verdict: 'allow';
  readonly reason: 'allowed';
  readonly ticket?: Ticket;
}

export interface Refused {
  readonly verdict: Exclude<Verdict, 'allow'>;
  readonly reason: RefusalReason;
  /** Ids of the rules that refused: the one that is named to people first. Empty for reasons that no rule gave. */
  readonly determinedBy: readonly string[];
  /** The named rule, or a word for a reason that no rule gave. */
  readonly rule: string;
  /** Id of the recorded event that opened the present refusal of this key; find it in the log. */
  readonly id: string;
  /** One sentence for people. */
  readonly message: string;
  /** Milliseconds until the same event is admitted, if nothing else is charged to its keys; absent where time alone doesn't help. */
  readonly retryAfterMs?: number;
  readonly answer?: Answer;
  /** The limit of the named rule, for RateLimit fields. */
  readonly limit?: { readonly max: number; readonly windowMs: number };
}

export type Decision = Allowed | Refused;

/** The one allow without a ticket: shared, so that allowing allocates nothing. */
export const ALLOW: Allowed = Object.freeze({ verdict: 'allow', reason: 'allowed' });
