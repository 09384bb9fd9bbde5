// The rail: judges one event and charges it, as one step. Owns the order check all, then charge all, then record. Never
// awaits, never throws, never touches disk or network; allocates nothing for an event that it allows without a ticket.
import type { Clock } from '../lib/clock.ts';
import type { KeyedHash } from '../lib/siphash.ts';
import { explain, refusal, rejected } from './combine.ts';
import type { Refusal } from './combine.ts';
import { ALLOW } from './decision.ts';
import type { Decision, RefusalReason, Ticket } from './decision.ts';
import type { SecurityEvent } from './event.ts';
import type { FieldName } from './fields.ts';
import { NO_SLOT } from './ports.ts';
import type { Arena, Rail, Slot, State, Table, Totals } from './ports.ts';
import { fieldText, keyText } from './program.ts';
import type { Judged, ProfilePrograms, Program } from './program.ts';
import type { Transitions } from './record.ts';

export interface RailOptions {
  readonly profiles: ReadonlyMap<string, ProfilePrograms>;
  readonly state: State;
  readonly hash: KeyedHash;
  readonly clock: Clock;
  readonly transitions: Transitions;
  readonly totals: Totals;
  /** Told of a bug that made the rail fail closed. Must not throw. */
  readonly onError: (error: unknown) => void;
}

/** Least cost of a new name, however short: its position and moment carry information too. */
const LEAST_NEW_OCTETS = 4;

/** What the check of one rule found. */
const NO_MATCH = 0;
const ROOM = 1;
const OVER = 2;
const FULL = 3;
const ERROR = 4;
/** A rule without a limit that matched. */
const PLAIN = 5;

class SlotTicket implements Ticket {
  readonly vm: string;
  readonly taken: { table: Table; slot: Slot }[] = [];

  constructor(vm: string) {
    this.vm = vm;
  }
}

export function createRail(options: RailOptions): Rail {
  return new Judge(options);
}

/** Grows with the policy, never with traffic: what one decision needs to remember between check and charge. */
class Scratch {
  found: Uint8Array;
  slot: Int32Array;
  fresh: Uint8Array;
  cost: Float64Array;
  wait: Float64Array;
  lo: Float64Array;
  hi: Float64Array;

  constructor(rules: number, tuples: number) {
    this.found = new Uint8Array(rules);
    this.slot = new Int32Array(rules);
    this.fresh = new Uint8Array(rules);
    this.cost = new Float64Array(rules);
    this.wait = new Float64Array(rules);
    this.lo = new Float64Array(tuples);
    this.hi = new Float64Array(tuples);
  }
}

class Judge implements Rail {
  readonly #options: RailOptions;
  readonly #scratch: Scratch;

  constructor(options: RailOptions) {
    this.#options = options;
    const programs = [...options.profiles.values()].flatMap((p) => [...p.byType.values()]);
    const most = (of: (p: Program) => number): number => Math.max(1, ...programs.map(of));
    this.#scratch = new Scratch(
      most((p) => p.judged.length),
      most((p) => p.tuples.length),
    );
  }

  decide(event: SecurityEvent): Decision {
    let decision: Decision;
    try {
      decision = this.#judge(event);
    } catch (error) {
      this.#options.onError(error);
      decision = this.#reject(event, 'rail_error');
    }
    this.#options.totals.count(event.type, decision.verdict !== 'allow');
    return decision;
  }

  finish(ticket: Ticket): void {
    if (!(ticket instanceof SlotTicket)) return;
    for (const { table, slot } of ticket.taken.splice(0)) table.release(slot);
  }

  #judge(event: SecurityEvent): Decision {
    if (event.stranger === true) return this.#reject(event, 'unknown_vm');
    const program = this.#options.profiles.get(event.profile)?.byType.get(event.type);
    if (program === undefined) return this.#reject(event, 'rail_error');
    const now = this.#options.clock.now();
    const arena = this.#options.state.arena(event.vm, event.profile, now);
    if (arena === undefined) return this.#reject(event, 'state_full');
    if (program.judged.length === 0) return ALLOW;
    this.#hashTuples(event, program);
    let refused = false;
    for (let i = 0; i < program.judged.length; i += 1) {
      const judged = program.judged[i];
      if (judged === undefined) break;
      this.#check(i, judged, event, arena, now);
      if (judged.enforced && (this.#scratch.found[i] ?? 0) >= OVER) refused = true;
    }
    return refused ? this.#refuse(event, program, arena, now) : this.#charge(event, program, arena, now);
  }

  #hashTuples(event: SecurityEvent, program: Program): void {
    const { hash } = this.#options;
    for (let t = 0; t < program.tuples.length; t += 1) {
      const fields = program.tuples[t] as readonly FieldName[];
      hash.begin();
      for (let f = 0; f < fields.length; f += 1) hash.add(fieldText(event, fields[f] as FieldName));
      hash.end();
      this.#scratch.lo[t] = hash.lo;
      this.#scratch.hi[t] = hash.hi;
    }
  }

  /** Finds what one rule says of the event, and changes nothing. */
  #check(i: number, judged: Judged, event: SecurityEvent, arena: Arena, now: number): void {
    const s = this.#scratch;
    const { rule } = judged;
    s.found[i] = NO_MATCH;
    if (rule.when !== undefined && !rule.when(event)) return;
    s.wait[i] = Number.POSITIVE_INFINITY;
    s.slot[i] = NO_SLOT;
    s.cost[i] = 1;
    const table = arena.tables[judged.table];
    if (table === undefined) {
      s.found[i] = rule.then === 'allow' ? NO_MATCH : PLAIN;
      return;
    }
    const { lo, hi } = this.#key(judged, table, arena, now);
    const slot = table.locate(lo, hi, now);
    s.slot[i] = slot;
    s.fresh[i] = table.fresh ? 1 : 0;
    const cost = this.#cost(judged, event, arena, table, slot, now);
    s.cost[i] = cost;
    if (!(cost >= 0)) {
      s.found[i] = ERROR;
    } else if (slot === NO_SLOT) {
      s.found[i] = cost === 0 ? ROOM : FULL;
    } else {
      const wait = table.wait(slot, cost, now);
      s.wait[i] = wait;
      s.found[i] = wait === 0 ? ROOM : OVER;
    }
  }

  #keyHash = { lo: 0, hi: 0 };

  /** The key of an event; past its share of a shared table a VM's newcomers all have the key `*other*`. */
  #key(judged: Judged, table: Table, arena: Arena, now: number): { lo: number; hi: number } {
    const key = this.#keyHash;
    key.lo = this.#scratch.lo[judged.keyTuple] ?? 0;
    key.hi = this.#scratch.hi[judged.keyTuple] ?? 0;
    if (!judged.shared || table.mayOwn(arena.owner)) return key;
    table.locate(key.lo, key.hi, now);
    if (!table.fresh) return key;
    const { hash } = this.#options;
    hash.begin();
    hash.addWord(arena.owner);
    hash.end();
    key.lo = hash.lo;
    key.hi = hash.hi;
    return key;
  }

  #cost(judged: Judged, event: SecurityEvent, arena: Arena, table: Table, slot: Slot, now: number): number {
    const { count } = judged.rule;
    const s = this.#scratch;
    switch (count.kind) {
      case 'events':
        return 1;
      case 'sum':
        return Number((event as unknown as Record<string, unknown>)[count.field]);
      case 'distinct':
        return slot !== NO_SLOT && table.contains(slot, s.lo[judged.valueTuple] ?? 0, now) ? 0 : 1;
      case 'new':
        return this.#isNew(judged, arena) ? 1 : 0;
      case 'octets':
        return this.#isNew(judged, arena)
          ? Math.max(LEAST_NEW_OCTETS, fieldText(event, count.field).length)
          : 0;
    }
  }

  #isNew(judged: Judged, arena: Arena): boolean {
    const s = this.#scratch;
    const seen = arena.seen[judged.seen];
    return seen === undefined || !seen.has(s.lo[judged.seenTuple] ?? 0, s.hi[judged.seenTuple] ?? 0);
  }

  /** Admits the event: every rule with room is charged; those that only record say so. */
  #charge(event: SecurityEvent, program: Program, arena: Arena, now: number): Decision {
    const s = this.#scratch;
    let ticket: SlotTicket | undefined;
    for (let i = 0; i < program.judged.length; i += 1) {
      const judged = program.judged[i];
      const found = s.found[i] ?? NO_MATCH;
      if (judged === undefined || found === NO_MATCH) continue;
      const table = arena.tables[judged.table];
      const slot = s.slot[i] ?? NO_SLOT;
      if (found !== ROOM) {
        this.#hit(i, judged, event, arena, now);
      } else if (table !== undefined && slot !== NO_SLOT && this.#costs(i, judged)) {
        if (s.fresh[i] === 1) this.#claim(judged, event, arena, table, slot, now);
        table.charge(slot, s.cost[i] ?? 0, s.lo[judged.valueTuple] ?? 0, now);
        if (judged.rule.warn !== undefined) this.#warn(judged, event, table, slot, now);
        if (judged.rule.limit?.kind === 'concurrent') {
          ticket ??= new SlotTicket(event.vm);
          ticket.taken.push({ table, slot });
        }
      }
    }
    for (let w = 0; w < program.writes.length; w += 1) {
      const write = program.writes[w];
      if (write !== undefined) arena.seen[write.seen]?.add(s.lo[write.tuple] ?? 0, s.hi[write.tuple] ?? 0);
    }
    return ticket === undefined ? ALLOW : { verdict: 'allow', reason: 'allowed', ticket };
  }

  /** A distinct value seen again costs nothing but starts its age anew, so it is charged all the same. */
  #costs(i: number, judged: Judged): boolean {
    return (this.#scratch.cost[i] ?? 0) > 0 || judged.valueTuple >= 0;
  }

  #claim(judged: Judged, event: SecurityEvent, arena: Arena, table: Table, slot: Slot, now: number): void {
    const key = this.#key(judged, table, arena, now);
    const own = key.lo === this.#scratch.lo[judged.keyTuple] && key.hi === this.#scratch.hi[judged.keyTuple];
    table.claim(slot, key.lo, key.hi, arena.owner, now);
    if (!own) {
      table.describe(slot, `*other* ${event.vm}`);
      return;
    }
    const { by } = judged.rule;
    for (let f = 0; f < by.length; f += 1) {
      if (by[f] !== 'vm') table.describe(slot, fieldText(event, by[f] as FieldName));
    }
  }

  #warn(judged: Judged, event: SecurityEvent, table: Table, slot: Slot, now: number): void {
    const value = table.value(slot, now);
    const { recorded, rule } = judged;
    if (value < (rule.warn ?? 1) * recorded.max || !table.latchWarning(slot, now)) return;
    const hit = { rule: recorded, event, key: keyText(event, rule), value, retryAfterMs: 0 };
    this.#options.transitions.warned({ ...hit, message: explain(judged, event, value) });
  }

  /** Refuses the event: nothing is charged; each rule that refused may start its hold, and is recorded. */
  #refuse(event: SecurityEvent, program: Program, arena: Arena, now: number): Decision {
    const refusals: Refusal[] = [];
    for (let i = 0; i < program.judged.length; i += 1) {
      const judged = program.judged[i];
      if (judged === undefined || (this.#scratch.found[i] ?? 0) < OVER) continue;
      const hit = this.#hit(i, judged, event, arena, now);
      if (judged.enforced) refusals.push(hit);
    }
    const longest = Math.max(...refusals.map((r) => r.waitMs));
    return refusal(refusals, this.#outlast(longest, program, arena, now));
  }

  /**
   * A value that costs a distinct rule nothing now may have lapsed after `waitMs`, and meet a hold of that rule: then the
   * event is admitted only when the hold ends.
   */
  #outlast(waitMs: number, program: Program, arena: Arena, now: number): number {
    const s = this.#scratch;
    let longest = waitMs;
    for (let i = 0; i < program.judged.length; i += 1) {
      const judged = program.judged[i];
      const table = judged === undefined ? undefined : arena.tables[judged.table];
      const free = judged !== undefined && judged.enforced && judged.valueTuple >= 0 && s.found[i] === ROOM;
      if (!free || table === undefined || s.cost[i] !== 0) continue;
      const slot = s.slot[i] ?? NO_SLOT;
      const heldMs = table.held(slot, now);
      if (heldMs <= longest || table.freeFor(slot, s.lo[judged.valueTuple] ?? 0, now) > longest) continue;
      longest = heldMs;
      i = -1;
    }
    return longest;
  }

  /** One rule's refusal, or what would have been one in shadow: its hold, its record. */
  #hit(i: number, judged: Judged, event: SecurityEvent, arena: Arena, now: number): Refusal {
    const s = this.#scratch;
    const table = arena.tables[judged.table];
    const slot = s.slot[i] ?? NO_SLOT;
    const found = s.found[i] ?? NO_MATCH;
    const cost = s.cost[i] ?? 0;
    let waitMs = s.wait[i] ?? 0;
    let value = 0;
    if (table !== undefined && slot !== NO_SLOT && found === OVER) {
      value = table.value(slot, now);
      if (s.fresh[i] === 0) {
        table.refused(slot, now);
        waitMs = table.wait(slot, cost, now);
      }
    }
    const message = explain(judged, event, value);
    const key = keyText(event, judged.rule);
    const hit = { rule: judged.recorded, event, key, value, message, retryAfterMs: waitMs };
    const id = this.#options.transitions.refused(hit);
    return { judged, waitMs, id, message, reason: reasonOf(found, judged, waitMs) };
  }

  #reject(event: SecurityEvent, reason: RefusalReason): Decision {
    return rejected(event, reason, this.#options.transitions);
  }
}

function reasonOf(found: number, judged: Judged, waitMs: number): RefusalReason {
  if (found === PLAIN) return 'blocked';
  if (found === FULL) return 'state_full';
  if (found === ERROR) return 'rail_error';
  if (judged.rule.limit?.kind === 'concurrent') return 'too_many';
  return Number.isFinite(waitMs) ? 'rate_limited' : 'budget_exhausted';
}
