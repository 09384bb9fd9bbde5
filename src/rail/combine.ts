// From the rules that refused to one decision: the strictest verdict wins, and the latest retry. Pure but for ids; owns the
// order in which rules are named.
import type { Refused, RefusalReason } from './decision.ts';
import type { SecurityEvent } from './event.ts';
import type { FieldName } from './fields.ts';
import { fieldText, keyText, QUIET_MS } from './program.ts';
import type { Judged } from './program.ts';
import type { RecordedRule, Transitions } from './record.ts';

/** One rule's refusal of an event. `waitMs` is Infinity where time alone doesn't help. */
export interface Refusal {
  readonly judged: Judged;
  readonly waitMs: number;
  readonly id: string;
  readonly message: string;
  readonly reason: RefusalReason;
}

/** The one decision for at least one refusal, to be tried again after `retryMs` (Infinity: never by time alone): the rule named waits longest, then has the first id (law 4). */
export function refusal(refusals: readonly Refusal[], retryMs: number): Refused {
  const sorted = refusals.toSorted(
    (a, b) => order(b.waitMs, a.waitMs) || (a.judged.rule.id < b.judged.rule.id ? -1 : 1),
  );
  const first = sorted[0];
  if (first === undefined) throw new Error('a refusal needs a rule that refused');
  const { rule } = first.judged;
  const { limit, answer } = rule;
  const windowMs = first.judged.recorded.windowMs;
  return {
    verdict: 'block',
    reason: first.reason,
    determinedBy: sorted.map((r) => r.judged.rule.id),
    rule: rule.id,
    id: first.id,
    message: first.message,
    ...(Number.isFinite(retryMs) ? { retryAfterMs: retryMs } : {}),
    ...(answer === undefined ? {} : { answer }),
    ...(limit === undefined ? {} : { limit: { max: first.judged.recorded.max, windowMs } }),
  };
}

const order = (a: number, b: number): number => (a === b ? 0 : a < b ? -1 : 1);

/** A refusal that no rule gave: recorded under a name of its own, so that none goes unseen. */
export function rejected(event: SecurityEvent, reason: RefusalReason, transitions: Transitions): Refused {
  const message = REJECTIONS[reason] ?? 'refused';
  const rule: RecordedRule = {
    id: reason,
    title: message,
    level: reason === 'rail_error' ? 'critical' : 'medium',
    mode: 'enforce',
    verdict: 'block',
    max: 0,
    windowMs: 0,
    quietMs: QUIET_MS,
  };
  const key = `vm=${event.vm} source=${event.source}`;
  const id = transitions.refused({
    rule,
    event,
    key,
    value: 0,
    message,
    retryAfterMs: Number.POSITIVE_INFINITY,
  });
  return { verdict: 'block', reason, determinedBy: [], rule: reason, id, message };
}

const REJECTIONS: Partial<Record<RefusalReason, string>> = {
  unknown_vm: 'this source belongs to no VM and identity.unknown is refuse: add it to vms',
  state_full: 'there is no room for the counters of another VM: raise identity.vms_max',
  rail_error: 'the rail failed and refuses to be safe: see the log',
};

/** The sentence for whoever is refused: the rule's own message with its fields filled in, or what the limit says. */
export function explain(judged: Judged, event: SecurityEvent, value: number): string {
  const { rule, recorded } = judged;
  if (rule.message !== undefined) {
    return rule.message.replaceAll(/\{([a-z_.]+)\}/g, (_all, name: string) =>
      fieldText(event, name as FieldName),
    );
  }
  if (rule.limit === undefined) return rule.title;
  const counted = `${Math.round(value)} of ${recorded.max}`;
  return `${rule.title} (${counted} for ${keyText(event, rule)})`;
}
