// Rules made ready for one event type: which fields to hash, which tables to ask. Owns the order of work; decides nothing.
import type { SecurityEvent } from './event.ts';
import { EVENT_TYPES } from './fields.ts';
import type { EventType, FieldName } from './fields.ts';
import type { RecordedRule } from './record.ts';
import { limitMax, limitWindowMs } from './rule.ts';
import type { Policy, Rule } from './rule.ts';

/** One rule as the rail works through it. Numbers are places in the program's lists; -1 where there is none. */
export interface Judged {
  readonly rule: Rule;
  /** Place of the rule's table in an arena. */
  readonly table: number;
  /** The fields that make its key, `vm` left out where the table is the VM's own. */
  readonly keyTuple: number;
  readonly shared: boolean;
  /** The field whose distinct values it counts. */
  readonly valueTuple: number;
  /** The seen filter it asks, and the tuple hashed for that. */
  readonly seen: number;
  readonly seenTuple: number;
  /** Whether a refusal by it refuses the event. */
  readonly enforced: boolean;
  readonly recorded: RecordedRule;
}

/** What the rail does for one event type under one profile. */
export interface Program {
  readonly judged: readonly Judged[];
  readonly tuples: readonly (readonly FieldName[])[];
  /** Seen filters that this event type writes when it is admitted. */
  readonly writes: readonly { readonly seen: number; readonly tuple: number }[];
}

/** All programs of one profile, and what its arenas must hold. */
export interface ProfilePrograms {
  readonly rules: readonly Rule[];
  readonly seenFields: readonly FieldName[];
  readonly byType: ReadonlyMap<EventType, Program>;
}

/** Compiles every profile. Pure; the policy has been checked before. */
export function compilePolicy(policy: Policy): ReadonlyMap<string, ProfilePrograms> {
  return new Map([...policy.profiles].map(([name, rules]) => [name, compileProfile(rules)]));
}

/** The field that a count asks the seen filter for. */
export function freshField(rule: Rule): FieldName | undefined {
  if (rule.count.kind === 'new') return rule.count.field;
  return rule.count.kind === 'octets' ? rule.count.fresh : undefined;
}

function compileProfile(rules: readonly Rule[]): ProfilePrograms {
  const seenFields = [...new Set(rules.map(freshField).filter((f) => f !== undefined))];
  const byType = new Map(EVENT_TYPES.map((type) => [type, compileType(type, rules, seenFields)]));
  return { rules, seenFields, byType };
}

function compileType(type: EventType, rules: readonly Rule[], seenFields: readonly FieldName[]): Program {
  const tuples: FieldName[][] = [];
  const tuple = (fields: readonly FieldName[]): number => {
    const same = (t: readonly FieldName[]): boolean => t.join('\0') === fields.join('\0');
    const at = tuples.findIndex(same);
    return at >= 0 ? at : tuples.push([...fields]) - 1;
  };
  const judged = rules.flatMap((rule, table) => {
    if (!rule.events.includes(type)) return [];
    const fresh = freshField(rule);
    const shared = !rule.by.includes('vm');
    return [
      {
        rule,
        table,
        keyTuple: tuple(rule.by.filter((field) => field !== 'vm')),
        shared,
        valueTuple: rule.count.kind === 'distinct' ? tuple([rule.count.field]) : -1,
        seen: fresh === undefined ? -1 : seenFields.indexOf(fresh),
        seenTuple: fresh === undefined ? -1 : tuple([fresh]),
        enforced: rule.then === 'block' && rule.mode === 'enforce',
        recorded: recordedRule(rule),
      },
    ];
  });
  const writes = [...new Set(judged.filter((j) => j.seen >= 0).map((j) => j.seen))].map((seen) => ({
    seen,
    tuple: judged.find((j) => j.seen === seen)?.seenTuple ?? -1,
  }));
  return { judged, tuples, writes };
}

function recordedRule(rule: Rule): RecordedRule {
  const { limit } = rule;
  return {
    id: rule.id,
    title: rule.title,
    level: rule.level,
    mode: rule.mode,
    verdict: rule.then === 'block' ? 'block' : 'allow',
    max: limit === undefined ? 0 : limitMax(limit),
    windowMs: limit === undefined ? 0 : limitWindowMs(limit),
    quietMs: limit?.kind === 'sliding' ? limit.windowMs : QUIET_MS,
    ...(rule.answer?.dns === undefined ? {} : { answer: rule.answer.dns }),
  };
}

/** A key without a window (bucket, slots, plain rule) is released after a minute without a match. */
export const QUIET_MS = 60_000;

/** An event's field as text, for keys. */
export function fieldText(event: SecurityEvent, field: FieldName): string {
  const value = (event as unknown as Record<string, unknown>)[field];
  return typeof value === 'string' ? value : String(value);
}

/** The key for people: `field=value` pairs. */
export function keyText(event: SecurityEvent, rule: Rule): string {
  return rule.by.map((field) => `${field}=${fieldText(event, field)}`).join(' ');
}
