// One rule's counters: a set-associative table of keys, each with its limit's cells and its hold. Owns look-up, eviction and
// holds; knows no rule and no event. The only writer is the data thread; readers on other threads use the version words.
import { NO_SLOT } from '../rail/ports.ts';
import type { Slot, Table } from '../rail/ports.ts';
import type { Hold, Limit } from '../rail/rule.ts';
import { limitMax, limitWindowMs } from '../rail/rule.ts';
import { Block, partBytes } from './cells.ts';
import type { Cells } from './cells.ts';
import { cellsBytes, makeCells } from './cells-of.ts';
import type { CellsOf } from './cells-of.ts';

export const WAYS = 8;
/** Octets of key text kept for people; longer keys are cut. */
export const TEXT_OCTETS = 96;
/** Keys that one VM may create in a table that VMs share. */
export const SHARED_KEYS_PER_VM = 64;

export interface TableOptions extends CellsOf {
  readonly limit: Limit;
  readonly hold?: Hold;
  /** Entries; a multiple of 8. */
  readonly slots: number;
  /** Set for a table that VMs share: how many owners there may be. */
  readonly owners?: number;
  readonly counts: TableCounts;
}

/** What a table did that a person should know of; shared by all tables. */
export interface TableCounts {
  /** An entry that still counted was taken over by another key. */
  evicted(): void;
  /** A key found no entry: all that it could take are held. */
  full(): void;
}

const HEAD_BYTES = (slots: number): number =>
  3 * partBytes(slots, 4) + partBytes(slots, 1) + partBytes(slots * TEXT_OCTETS, 1) + partBytes(slots, 8);
const HOLD_BYTES = (slots: number): number => 2 * partBytes(slots, 8) + 2 * partBytes(slots, 2);

/** Octets of shared memory that a table takes, all of it from the start. */
export function tableBytes(options: Omit<TableOptions, 'counts'>): number {
  const { slots } = options;
  return (
    HEAD_BYTES(slots) +
    (options.hold === undefined ? 0 : HOLD_BYTES(slots)) +
    (options.owners === undefined ? 0 : partBytes(slots, 4)) +
    cellsBytes(options, options.limit, slots)
  );
}

export class KeyTable implements Table {
  fresh = false;
  readonly buffer: SharedArrayBuffer;
  readonly #cells: Cells;
  readonly #max: number;
  readonly #windowMs: number;
  readonly #sets: number;
  readonly #counts: TableCounts;
  readonly #version: Int32Array;
  readonly #lo: Uint32Array;
  readonly #hi: Uint32Array;
  readonly #textLength: Uint8Array;
  readonly #text: Uint8Array;
  readonly #warnedAtMs: Float64Array;
  readonly #holds: Holds | undefined;
  readonly #owner: Uint32Array | undefined;
  readonly #owned: Uint32Array | undefined;

  constructor(options: TableOptions) {
    const { slots, limit, hold } = options;
    const block = new Block(tableBytes(options));
    this.buffer = block.buffer;
    this.#counts = options.counts;
    this.#sets = slots / WAYS;
    this.#max = limitMax(limit);
    this.#windowMs = Math.max(limitWindowMs(limit), hold?.forMs ?? 0);
    this.#version = new Int32Array(block.u32(slots).buffer, 0, slots);
    this.#lo = block.u32(slots);
    this.#hi = block.u32(slots);
    this.#textLength = block.u8(slots);
    this.#text = block.u8(slots * TEXT_OCTETS);
    this.#warnedAtMs = block.f64(slots);
    this.#holds = hold === undefined ? undefined : new Holds(block, slots, hold);
    this.#owner = options.owners === undefined ? undefined : block.u32(slots);
    this.#owned = options.owners === undefined ? undefined : new Uint32Array(options.owners);
    this.#cells = makeCells(options, block, limit, slots);
  }

  locate(lo: number, hi: number, now: number): Slot {
    const first = (lo % this.#sets) * WAYS;
    const end = first + WAYS;
    for (let slot = first; slot < end; slot += 1) {
      if (this.#lo[slot] === lo && this.#hi[slot] === hi) {
        this.fresh = false;
        return slot;
      }
    }
    this.fresh = true;
    return this.#victim(first, end, now);
  }

  /** An entry equal to an empty one; else the least charged one without a hold; else none. */
  #victim(first: number, end: number, now: number): Slot {
    let victim = NO_SLOT;
    let least = Number.POSITIVE_INFINITY;
    for (let slot = first; slot < end; slot += 1) {
      if (this.#lo[slot] === 0 && this.#hi[slot] === 0) return slot;
      if (this.held(slot, now) > 0) continue;
      const charge = this.#cells.value(slot, now) + this.#strikes(slot, now) * this.#max;
      if (charge < least) {
        least = charge;
        victim = slot;
      }
    }
    if (victim === NO_SLOT) this.#counts.full();
    return victim;
  }

  claim(slot: Slot, lo: number, hi: number, owner: number, now: number): void {
    if (this.#cells.value(slot, now) > 0 || this.#strikes(slot, now) > 0) this.#counts.evicted();
    this.#begin(slot);
    if (this.#owner !== undefined && this.#owned !== undefined) {
      if (this.#lo[slot] !== 0 || this.#hi[slot] !== 0) {
        const before = this.#owner[slot] ?? 0;
        this.#owned[before] = (this.#owned[before] ?? 1) - 1;
      }
      this.#owner[slot] = owner;
      this.#owned[owner] = (this.#owned[owner] ?? 0) + 1;
    }
    this.#lo[slot] = lo;
    this.#hi[slot] = hi;
    this.#textLength[slot] = 0;
    this.#warnedAtMs[slot] = 0;
    this.#end(slot);
  }

  describe(slot: Slot, part: string): void {
    this.#begin(slot);
    let length = this.#textLength[slot] ?? 0;
    const base = slot * TEXT_OCTETS;
    if (length > 0 && length < TEXT_OCTETS) {
      this.#text[base + length] = 32;
      length += 1;
    }
    for (let i = 0; i < part.length && length < TEXT_OCTETS; i += 1, length += 1) {
      const code = part.charCodeAt(i);
      this.#text[base + length] = code > 32 && code < 127 ? code : 63;
    }
    this.#textLength[slot] = length;
    this.#end(slot);
  }

  wait(slot: Slot, cost: number, now: number): number {
    if (this.#max === 0) return Number.POSITIVE_INFINITY;
    if (cost === 0) return 0;
    const room = this.#cells.wait(slot, cost, now);
    return this.fresh ? room : Math.max(room, this.held(slot, now));
  }

  contains(slot: Slot, lo: number, now: number): boolean {
    return this.#cells.freeFor(slot, lo, now) > 0;
  }

  held(slot: Slot, now: number): number {
    return this.#holds === undefined ? 0 : this.#holds.left(slot, now);
  }

  freeFor(slot: Slot, lo: number, now: number): number {
    return this.#cells.freeFor(slot, lo, now);
  }

  charge(slot: Slot, cost: number, lo: number, now: number): void {
    this.#begin(slot);
    this.#cells.charge(slot, cost, lo, now);
    this.#holds?.charged(slot, cost);
    this.#end(slot);
  }

  refused(slot: Slot, now: number): void {
    if (this.#holds === undefined) return;
    this.#begin(slot);
    this.#holds.refused(slot, now);
    this.#end(slot);
  }

  release(slot: Slot): void {
    this.#begin(slot);
    this.#cells.release(slot);
    this.#end(slot);
  }

  value(slot: Slot, now: number): number {
    return this.#cells.value(slot, now);
  }

  latchWarning(slot: Slot, now: number): boolean {
    const before = this.#warnedAtMs[slot] ?? 0;
    if (before > 0 && now - before < this.#windowMs) return false;
    this.#warnedAtMs[slot] = now;
    return true;
  }

  get busy(): boolean {
    return this.#cells.busy;
  }

  mayOwn(owner: number): boolean {
    return this.#owned === undefined || (this.#owned[owner] ?? 0) < SHARED_KEYS_PER_VM;
  }

  #strikes(slot: Slot, now: number): number {
    return this.#holds === undefined ? 0 : this.#holds.strikes(slot, now);
  }

  /** Odd while an entry is written: a reader that sees an odd or a changed word reads again. */
  #begin(slot: Slot): void {
    Atomics.add(this.#version, slot, 1);
  }

  #end(slot: Slot): void {
    Atomics.add(this.#version, slot, 1);
  }
}

/** Holds and strikes of a table's entries (law 5). Owns when a key trips; only a trip starts a hold. */
class Holds {
  readonly #hold: Hold;
  readonly #untilMs: Float64Array;
  readonly #tripMs: Float64Array;
  readonly #strikes: Uint16Array;
  /** Whether anything was charged since the last hold began. */
  readonly #charged: Uint16Array;

  constructor(block: Block, slots: number, hold: Hold) {
    this.#hold = hold;
    this.#untilMs = block.f64(slots);
    this.#tripMs = block.f64(slots);
    this.#strikes = block.u16(slots);
    this.#charged = block.u16(slots);
  }

  /** Milliseconds that the entry stays held; 0 when it isn't. */
  left(slot: Slot, now: number): number {
    return Math.max(0, (this.#untilMs[slot] ?? 0) - now);
  }

  /** Strikes not yet forgotten: one is for every `max` without a trip. */
  strikes(slot: Slot, now: number): number {
    const strikes = this.#strikes[slot] ?? 0;
    if (strikes === 0) return 0;
    return Math.max(0, strikes - Math.floor((now - (this.#tripMs[slot] ?? 0)) / this.#hold.maxMs));
  }

  charged(slot: Slot, cost: number): void {
    if (cost > 0) this.#charged[slot] = 1;
  }

  refused(slot: Slot, now: number): void {
    if (this.#charged[slot] === 0) return;
    const strikes = Math.min(this.strikes(slot, now) + 1, 64);
    const { forMs, factor, maxMs } = this.#hold;
    this.#strikes[slot] = strikes;
    this.#tripMs[slot] = now;
    this.#untilMs[slot] = now + Math.min(maxMs, Math.round(forMs * factor ** (strikes - 1)));
    this.#charged[slot] = 0;
  }
}
