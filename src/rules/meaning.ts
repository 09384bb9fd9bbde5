// What a written rule means: checks what its shape can't say, and makes the rule that the rail judges by.
import { fieldByName } from '../rail/fields.ts';
import type { EventType, FieldName } from '../rail/fields.ts';
import { DISTINCT_MAX, EXACT_LOG_MAX, LOG_MAX } from '../rail/rule.ts';
import type { Count, Hold, Limit, Rule } from '../rail/rule.ts';
import { compileCondition, ConditionError } from './condition.ts';
import type { Complain } from './load.ts';
import type { WrittenRule } from './schema.ts';

/** The rule, or undefined after at least one complaint. A disabled rule must not come here. */
export function ruleOf(written: WrittenRule, complain: Complain): Rule | undefined {
  let complaints = 0;
  const check: Complain = (path, message, below) => {
    complaints += 1;
    complain(path, message, below);
  };
  const events = typeof written.event === 'string' ? [written.event] : [...new Set(written.event)];
  const count = countOf(written, events, check);
  const by = written.by.map((name, i) => fieldOf(name, events, ['by', i], check));
  const limit = limitOf(written, count, check);
  const hold = holdOf(written, check);
  checkTogether(written, events, check);
  checkMessage(written, events, check);
  const when = whenOf(written, events, check);
  if (complaints > 0 || count === undefined) return undefined;
  return Object.freeze({
    id: written.id,
    title: written.title,
    level: written.level,
    tags: written.tags,
    events,
    count,
    by: by.filter((field) => field !== undefined),
    then: written.then,
    mode: written.mode,
    ...(when === undefined ? {} : { when }),
    ...(limit === undefined ? {} : { limit }),
    ...(written.warn === undefined ? {} : { warn: written.warn }),
    ...(hold === undefined ? {} : { hold }),
    ...(written.answer === undefined ? {} : { answer: definedOnly(written.answer) }),
    ...(written.message === undefined ? {} : { message: written.message }),
  });
}

function definedOnly(answer: NonNullable<WrittenRule['answer']>): NonNullable<Rule['answer']> {
  return Object.fromEntries(Object.entries(answer).filter(([, value]) => value !== undefined));
}

/** A field that every listed event always carries: only such a one can be a key or be counted (law 7). */
function fieldOf(
  name: string,
  events: readonly EventType[],
  path: readonly PropertyKey[],
  complain: Complain,
): FieldName | undefined {
  const field = fieldByName.get(name);
  if (field === undefined) {
    complain(path, `unknown field \`${name}\``);
    return undefined;
  }
  const lacking = events.find((type) => !field.on.includes(type));
  if (lacking !== undefined) complain(path, `\`${name}\` is not a field of ${lacking} events`);
  else if (!field.always) complain(path, `\`${name}\` is not on every ${events.join(' and ')} event`);
  else return name as FieldName;
  return undefined;
}

function countOf(written: WrittenRule, events: readonly EventType[], complain: Complain): Count | undefined {
  if (written.count === 'events') return { kind: 'events' };
  const match = /^(sum|distinct|new|octets)\(\s*([a-z0-9_.]+)\s*(?:,\s*new:\s*([a-z0-9_.]+)\s*)?\)$/.exec(
    written.count,
  );
  const [, kind, first, second] = match ?? [];
  if (kind === undefined || first === undefined || (kind === 'octets') !== (second !== undefined)) {
    complain(['count'], '`count` must be events, sum(f), distinct(f), new(f) or octets(f, new: g)');
    return undefined;
  }
  const field = fieldOf(first, events, ['count'], complain);
  const fresh = second === undefined ? undefined : fieldOf(second, events, ['count'], complain);
  if (field === undefined || (second !== undefined && fresh === undefined)) return undefined;
  const numeric = fieldByName.get(field)?.kind === 'number';
  if (kind === 'sum' && !numeric) complain(['count'], `\`${field}\` is not a number, so it has no sum`);
  if (kind === 'octets' && numeric) complain(['count'], `\`${field}\` is not text, so it has no octets`);
  if (kind === 'sum') return { kind, field };
  if (kind === 'octets') return { kind, field, fresh: fresh ?? field };
  return { kind: kind === 'new' ? 'new' : 'distinct', field };
}

function limitOf(written: WrittenRule, count: Count | undefined, complain: Complain): Limit | undefined {
  const { limit } = written;
  if (limit === undefined) return undefined;
  if ('bucket' in limit) {
    if (limit.bucket * limit.per > Number.MAX_SAFE_INTEGER)
      complain(['limit'], 'bucket × per is too large to count exactly');
    if (count?.kind === 'distinct') complain(['count'], 'distinct needs a window: `limit: { max, window }`');
    return { kind: 'bucket', bucket: limit.bucket, refill: limit.refill, perMs: limit.per };
  }
  const whole = (most: number, why: string): void => {
    if (!Number.isInteger(limit.max)) complain(['limit', 'max'], '`limit.max` must be a whole number here');
    if (limit.max > most) complain(['limit', 'max'], `\`limit.max\` must be at most ${most} ${why}`);
  };
  if ('concurrent' in limit) {
    whole(1_000_000, 'for slots');
    if (count?.kind !== 'events') complain(['count'], 'a concurrent limit counts events');
    return { kind: 'concurrent', max: limit.max };
  }
  if (count?.kind === 'distinct') whole(DISTINCT_MAX, 'for distinct');
  else if (count?.kind !== 'sum' && count?.kind !== 'octets') whole(2 ** 32 - 1, 'for a count');
  if (limit.exact && limit.max > EXACT_LOG_MAX)
    complain(['limit', 'max'], `an exact log holds at most ${EXACT_LOG_MAX}`);
  if (limit.exact && (count?.kind === 'sum' || count?.kind === 'octets')) {
    complain(['limit', 'exact'], 'only events and new can be counted in an exact log');
  }
  return {
    kind: 'sliding',
    max: limit.max,
    windowMs: limit.window,
    exact: limit.exact || limit.max <= LOG_MAX,
  };
}

function holdOf(written: WrittenRule, complain: Complain): Hold | undefined {
  const { hold } = written;
  if (hold === undefined) return undefined;
  const maxMs = hold.max ?? hold.for;
  if (maxMs < hold.for) complain(['hold', 'max'], '`hold.max` must not be shorter than `hold.for`');
  if (hold.factor > 1 && hold.max === undefined) complain(['hold'], '`hold.factor` needs `hold.max`');
  return { forMs: hold.for, factor: hold.factor, maxMs };
}

const SLOTTED: readonly EventType[] = ['tunnel.open', 'http.request'];

/** Keys that only make sense beside others. */
function checkTogether(written: WrittenRule, events: readonly EventType[], complain: Complain): void {
  const limited = written.limit !== undefined;
  for (const key of ['warn', 'hold'] as const) {
    if (written[key] !== undefined && !limited) complain([key], `\`${key}\` needs a \`limit\``);
  }
  if (!limited && written.count !== 'events') complain(['count'], '`count` needs a `limit`');
  if (written.then === 'allow' && limited)
    complain(['then'], '`then: allow` takes no limit: an allow never overrides a refusal');
  if (written.then !== 'block' && (written.hold ?? written.answer) !== undefined) {
    complain(['then'], '`hold` and `answer` belong to a rule that blocks');
  }
  if (written.answer?.dns !== undefined && !events.includes('dns.query')) {
    complain(['answer', 'dns'], '`answer.dns` needs the event dns.query');
  }
  const slotless = events.find((type) => !SLOTTED.includes(type));
  if (limited && written.limit !== undefined && 'concurrent' in written.limit && slotless !== undefined) {
    complain(
      ['event'],
      `a concurrent limit needs events that stay open: ${SLOTTED.join(', ')}; not ${slotless}`,
    );
  }
}

function checkMessage(written: WrittenRule, events: readonly EventType[], complain: Complain): void {
  for (const match of written.message?.matchAll(/\{([^}]*)\}/g) ?? []) {
    fieldOf(match[1] ?? '', events, ['message'], complain);
  }
}

function whenOf(
  written: WrittenRule,
  events: readonly EventType[],
  complain: Complain,
): Rule['when'] | undefined {
  if (written.when === undefined) return undefined;
  try {
    return compileCondition(written.when, events, written.then !== 'allow');
  } catch (error) {
    if (!(error instanceof ConditionError)) throw error;
    const { offset, message } = error;
    const line = written.when.split('\n').find(() => true) ?? '';
    const caret = offset <= line.length ? `\n    ${line}\n    ${' '.repeat(offset)}^` : '';
    complain(['when'], `\`when\`: ${message}${caret}`, { line: 0, column: offset + 1 });
    return undefined;
  }
}
