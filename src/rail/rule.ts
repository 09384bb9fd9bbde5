// A rule, checked and frozen: what the loader hands to the rail. Types only; parsing lives in rules/.
import type { Answer } from './decision.ts';
import type { SecurityEvent } from './event.ts';
import type { EventType, FieldName } from './fields.ts';

export type Level = 'informational' | 'low' | 'medium' | 'high' | 'critical';
export type Mode = 'enforce' | 'shadow';

/** What an event costs a rule. `new` and `octets` ask whether a field's value is new to the VM. */
export type Count =
  | { readonly kind: 'events' }
  | { readonly kind: 'sum'; readonly field: FieldName }
  | { readonly kind: 'distinct'; readonly field: FieldName }
  | { readonly kind: 'new'; readonly field: FieldName }
  | { readonly kind: 'octets'; readonly field: FieldName; readonly fresh: FieldName };

/** How much is allowed. Times in milliseconds; `refill` units come back every `perMs`. */
export type Limit =
  | { readonly kind: 'sliding'; readonly max: number; readonly windowMs: number; readonly exact: boolean }
  | { readonly kind: 'bucket'; readonly bucket: number; readonly refill: number; readonly perMs: number }
  | { readonly kind: 'concurrent'; readonly max: number };

/** After a trip the rule refuses for `forMs`; each further trip multiplies that by `factor`, up to `maxMs`. */
export interface Hold {
  readonly forMs: number;
  readonly factor: number;
  readonly maxMs: number;
}

/** A condition, compiled. True on its own errors for rules that refuse, false for rules that allow; never throws. */
export type Condition = (event: SecurityEvent) => boolean;

export interface Rule {
  readonly id: string;
  readonly title: string;
  readonly level: Level;
  readonly tags: readonly string[];
  readonly events: readonly EventType[];
  readonly when?: Condition;
  readonly count: Count;
  readonly by: readonly FieldName[];
  readonly limit?: Limit;
  /** Share of the limit, above 0 and below 1, from which on a detection is recorded. */
  readonly warn?: number;
  readonly then: 'allow' | 'detect' | 'block';
  readonly hold?: Hold;
  readonly answer?: Answer;
  readonly mode: Mode;
  /** Advice to whoever is refused; {field} stands for the field's value. */
  readonly message?: string;
}

/** A frozen set of rules with its identity. An event is judged by exactly one revision. */
export interface Policy {
  readonly revision: string;
  /** The rules that apply to each profile, the locked layer first. */
  readonly profiles: ReadonlyMap<string, readonly Rule[]>;
}

/** The largest amount that the limit ever lets through at once. */
export const limitMax = (limit: Limit): number => (limit.kind === 'bucket' ? limit.bucket : limit.max);

/** The time in which the limit heals: its window, or what a full bucket takes to drain. 0 where it has none. */
export function limitWindowMs(limit: Limit): number {
  if (limit.kind === 'sliding') return limit.windowMs;
  return limit.kind === 'bucket' ? Math.ceil((limit.bucket * limit.perMs) / limit.refill) : 0;
}

/** Up to so many units a sliding window is an exact log; above, a ring (law 3). */
export const LOG_MAX = 128;
/** Largest log that `exact: true` buys. */
export const EXACT_LOG_MAX = 16_384;
/** Largest distinct set. */
export const DISTINCT_MAX = 1024;
