// Detections: one line per transition of a key, interval lines with exact counts between. Owns which keys are open;
// never decides, never writes to a log itself, never grows without bound.
import type { Clock } from '../lib/clock.ts';
import { makeId } from '../lib/id.ts';
import type { SecurityEvent } from './event.ts';
import type { EventType } from './fields.ts';
import type { Level, Mode } from './rule.ts';

/** `warned`: past the rule's warn share, or matched by a rule that only detects; `blocked`; `released`: quiet again. */
export type KeyState = 'warned' | 'blocked' | 'released';

export interface Detection {
  readonly rule: string;
  readonly ruleLevel: Level;
  readonly title: string;
  /** Id of the event that opened this state of the key: the same on all its lines. */
  readonly eventId: string;
  readonly eventType: EventType;
  readonly vm: string;
  readonly profile: string;
  /** `field=value` pairs, separated by spaces. */
  readonly key: string;
  readonly value: number;
  readonly max: number;
  readonly windowMs: number;
  readonly state: KeyState;
  readonly mode: Mode;
  readonly verdict: 'allow' | 'block';
  /** How many matching events this line accounts for: over all lines of a key, the exact number. */
  readonly count: number;
  /** True on the lines between a transition and the release. */
  readonly interval: boolean;
  /** Wall clock, milliseconds since 1970. */
  readonly time: number;
  readonly message: string;
  readonly retryAfterMs?: number;
  readonly answer?: string;
}

/** What a detection says of its rule; fixed for all its lines. */
export interface RecordedRule {
  readonly id: string;
  readonly title: string;
  readonly level: Level;
  readonly mode: Mode;
  readonly verdict: 'allow' | 'block';
  readonly max: number;
  readonly windowMs: number;
  /** How long a key must go without a match to be released. */
  readonly quietMs: number;
  readonly answer?: string;
}

export interface Hit {
  readonly rule: RecordedRule;
  readonly event: SecurityEvent;
  readonly key: string;
  readonly value: number;
  readonly message: string;
  /** Infinity where time alone doesn't help. */
  readonly retryAfterMs: number;
}

interface Open {
  readonly hit: Hit;
  readonly id: string;
  readonly state: 'warned' | 'blocked';
  last: Hit;
  pending: number;
  lineAtMs: number;
  quietAtMs: number;
}

/** Keys open at once, of one VM and in all; newcomers past this share one entry a rule and VM, so no count is lost. */
const OPEN_KEYS_PER_VM = 256;
const OPEN_KEYS_MAX = 8192;
const OVERFLOW_KEYS_MAX = 2 * OPEN_KEYS_MAX;
/** Marks entries that only hold the place of a warning. */
const WARNING = '?';

export interface TransitionsOptions {
  readonly clock: Clock;
  readonly intervalMs: number;
  /** Takes each line as it comes. Must not throw or block. */
  readonly sink: (line: Detection) => void;
}

export class Transitions {
  readonly #open = new Map<string, Open>();
  readonly #openOfVm = new Map<string, number>();
  readonly #options: TransitionsOptions;

  constructor(options: TransitionsOptions) {
    this.#options = options;
  }

  get openKeys(): number {
    return this.#open.size;
  }

  /** Counts one refusal (or one match of a rule that only detects or shadows). Returns the id of the event that opened the key. */
  refused(hit: Hit): string {
    return this.#hit(hit, hit.rule.verdict === 'block' ? 'blocked' : 'warned');
  }

  /** Records that a key passed its warn share. The caller latches it: once a window. */
  warned(hit: Hit): void {
    this.#hit(hit, 'warned', WARNING);
  }

  #hit(hit: Hit, state: 'warned' | 'blocked', kind = ''): string {
    const prefix = `${kind}${hit.rule.id}\0`;
    const name = `${prefix}${hit.event.vm}\0${hit.key}`;
    let open = this.#open.get(name);
    let overflow = name;
    if (open === undefined && this.#full(hit.event.vm)) {
      const vm = this.#open.size >= OVERFLOW_KEYS_MAX ? '*other*' : hit.event.vm;
      overflow = `${prefix}${vm}\0*other*`;
      open = this.#open.get(overflow);
    }
    const now = this.#options.clock.now();
    const hold = Number.isFinite(hit.retryAfterMs) ? hit.retryAfterMs : 0;
    const quietAtMs = now + Math.max(hit.rule.quietMs, hold);
    if (open !== undefined) {
      open.pending += 1;
      open.last = hit;
      open.quietAtMs = quietAtMs;
      return open.id;
    }
    const time = this.#options.clock.wall();
    const id = makeId(time);
    this.#openOfVm.set(hit.event.vm, (this.#openOfVm.get(hit.event.vm) ?? 0) + 1);
    const opened = overflow === name ? hit : { ...hit, key: '*other*' };
    this.#open.set(overflow, { hit: opened, id, state, last: opened, pending: 0, lineAtMs: now, quietAtMs });
    this.#options.sink(line(opened, id, state, 1, false, time));
    return id;
  }

  #full(vm: string): boolean {
    return this.#open.size >= OPEN_KEYS_MAX || (this.#openOfVm.get(vm) ?? 0) >= OPEN_KEYS_PER_VM;
  }

  #forget(name: string, open: Open): void {
    this.#open.delete(name);
    const { vm } = open.hit.event;
    const left = (this.#openOfVm.get(vm) ?? 1) - 1;
    if (left > 0) this.#openOfVm.set(vm, left);
    else this.#openOfVm.delete(vm);
  }

  /** Must be called about once a second: writes interval lines and releases keys that have been quiet long enough. */
  sweep(): void {
    const now = this.#options.clock.now();
    for (const [name, open] of this.#open) {
      if (now >= open.quietAtMs) {
        this.#forget(name, open);
        // A warning isn't released: it was a mark on the way, and the key may be blocked by now.
        if (!name.startsWith(WARNING)) this.#line(open, 'released', false);
        else if (open.pending > 0) this.#line(open, open.state, true);
      } else if (open.pending > 0 && now - open.lineAtMs >= this.#options.intervalMs) {
        open.lineAtMs = now;
        this.#line(open, open.state, true);
      }
    }
  }

  /** Writes what is still uncounted, for a stop. */
  flush(): void {
    for (const open of this.#open.values()) if (open.pending > 0) this.#line(open, open.state, true);
  }

  #line(open: Open, state: KeyState, interval: boolean): void {
    const count = open.pending;
    open.pending = 0;
    const hit = { ...open.last, event: open.hit.event, key: open.hit.key };
    this.#options.sink(line(hit, open.id, state, count, interval, this.#options.clock.wall()));
  }
}

function line(
  hit: Hit,
  eventId: string,
  state: KeyState,
  count: number,
  interval: boolean,
  time: number,
): Detection {
  const { rule, event } = hit;
  return {
    rule: rule.id,
    ruleLevel: rule.level,
    title: rule.title,
    eventId,
    eventType: event.type,
    vm: event.vm,
    profile: event.profile,
    key: hit.key,
    value: hit.value,
    max: rule.max,
    windowMs: rule.windowMs,
    state,
    mode: rule.mode,
    verdict: rule.verdict,
    count,
    interval,
    time,
    message: hit.message,
    ...(Number.isFinite(hit.retryAfterMs) && hit.retryAfterMs > 0 ? { retryAfterMs: hit.retryAfterMs } : {}),
    ...(rule.answer === undefined ? {} : { answer: rule.answer }),
  };
}
