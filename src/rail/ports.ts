// What the rail needs from outside (state) and what protocol code is given (Rail, Traffic). Types only.
import type { Decision, Ticket } from './decision.ts';
import type { SecurityEvent } from './event.ts';
import type { EventType } from './fields.ts';

/** All that protocol code may know of the rail. */
export interface Rail {
  /**
   * Judges one event and charges it, in one step. Must be called exactly once per event. Synchronous and total: never
   * throws, never awaits. A refusal has been recorded when it returns.
   */
  decide(event: SecurityEvent): Decision;
  /** Closes a ticket: frees its slots. Calling it again does nothing. Never throws. */
  finish(ticket: Ticket): void;
}

/** One line of ordinary traffic, for the log. Strings must already be bounded and free of secrets and query strings. */
export interface TrafficLine {
  readonly kind: 'request' | 'tunnel' | 'query' | 'malformed';
  readonly vm: string;
  readonly source: string;
  readonly [field: string]: string | number | boolean | undefined;
}

/** Where protocol code tells of traffic. Never blocks, never throws; drops and counts when the log can't keep up. */
export interface Traffic {
  note(line: TrafficLine): void;
}

/** Where an event type was judged how often: [type][allow, refuse]. Read by metrics. */
export interface Totals {
  count(type: EventType, refused: boolean): void;
}

/** An entry's place in a table; see Table.locate. */
export type Slot = number;
/** What Table.locate answers when every entry that the key could take is held. */
export const NO_SLOT = -1;

/**
 * The counters of one rule: those of one VM, or, for a rule without `vm` in `by`, those that all VMs share.
 * Reading (locate, contains, wait, value) changes nothing; `now` is Clock.now().
 */
export interface Table {
  /**
   * The entry of a key (hash `lo`, `hi`), or the one that the key would take over: `fresh` tells which. NO_SLOT when
   * all that it could take are held. An entry that is taken over keeps its charge: the newcomer inherits it.
   */
  locate(lo: number, hi: number, now: number): Slot;
  /** Whether the last locate found no entry of the key itself. */
  readonly fresh: boolean;
  /** Makes the entry the key's own. `owner` is the VM that brought the key. */
  claim(slot: Slot, lo: number, hi: number, owner: number, now: number): void;
  /** Adds a part of the key's text for people; call right after claim. */
  describe(slot: Slot, part: string): void;
  /** Milliseconds until `cost` fits: 0 now, Infinity never by time alone. Holds included, unless the cost is 0. */
  wait(slot: Slot, cost: number, now: number): number;
  /** Whether a distinct count already holds the value (hash `lo`); false for other limits. */
  contains(slot: Slot, lo: number, now: number): boolean;
  /** Milliseconds that the key stays held: 0 when it isn't. */
  held(slot: Slot, now: number): number;
  /** Milliseconds that a value of a distinct count goes on costing nothing. */
  freeFor(slot: Slot, lo: number, now: number): number;
  /** Charges `cost`; for a distinct count, of the value with hash `lo`. Only after wait answered 0. */
  charge(slot: Slot, cost: number, lo: number, now: number): void;
  /** Tells of a refusal, which may be a trip and start a hold. */
  refused(slot: Slot, now: number): void;
  /** Gives back one concurrent slot. */
  release(slot: Slot): void;
  /** The present count, for people. */
  value(slot: Slot, now: number): number;
  /** True once a window: latches the warning of this entry. */
  latchWarning(slot: Slot, now: number): boolean;
  /** Whether a concurrent slot is taken. */
  readonly busy: boolean;
  /** Whether this owner may bring another key; always true for a table of one VM. */
  mayOwn(owner: number): boolean;
}

/** What is new to a VM: keyed fingerprints of one field's values. */
export interface Seen {
  has(lo: number, hi: number): boolean;
  /** Remembers the value; only in the charge step. */
  add(lo: number, hi: number): void;
}

/** The state of one VM under one profile, in the order of the profile's rules and of its seen fields. */
export interface Arena {
  readonly owner: number;
  readonly tables: readonly (Table | undefined)[];
  readonly seen: readonly Seen[];
}

export interface State {
  /** The VM's arena, made at its first event; undefined when no more VMs fit. */
  arena(vm: string, profile: string, now: number): Arena | undefined;
}
