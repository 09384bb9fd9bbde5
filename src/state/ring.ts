// A sliding window as a ring of sub-windows, for large counts and for sums. Owns the sub-window sums; knows no keys.
import { partBytes } from './cells.ts';
import type { Block, Cells } from './cells.ts';

const SUB_WINDOWS = 120;
/** The one that fills now, and all that may still hold something younger than the window. */
const CELLS = SUB_WINDOWS + 1;

/** What a cell must hold: whole counts, or doubles for sums. */
export type RingWidth = 'u16' | 'u32' | 'f64';
const WIDTH_BYTES: Record<RingWidth, number> = { u16: 2, u32: 4, f64: 8 };

/**
 * Never under-counts: a sub-window leaves whole, once its youngest moment is a window old. So at most `max` is admitted
 * in any half-open window, and at least max·120/121 a window is sustained.
 */
export class Ring implements Cells {
  readonly #max: number;
  readonly #windowMs: number;
  readonly #whole: boolean;
  /** Absolute index of the newest sub-window written, since the clock's origin. */
  readonly #newest: Float64Array;
  readonly #total: Float64Array;
  readonly #cells: Uint16Array | Uint32Array | Float64Array;

  constructor(block: Block, slots: number, max: number, windowMs: number, width: RingWidth) {
    this.#max = max;
    this.#windowMs = windowMs;
    this.#whole = width !== 'f64';
    this.#newest = block.f64(slots);
    this.#total = block.f64(slots);
    this.#cells = block[width](slots * CELLS);
  }

  static bytes(slots: number, width: RingWidth): number {
    return 2 * partBytes(slots, 8) + partBytes(slots * CELLS, WIDTH_BYTES[width]);
  }

  wait(slot: number, cost: number, now: number): number {
    if (cost > this.#max) return Number.POSITIVE_INFINITY;
    let over = this.value(slot, now) + cost - this.#max;
    if (over <= 0) return 0;
    const newest = this.#newest[slot] ?? 0;
    for (let i = Math.max(this.#index(now), newest) - SUB_WINDOWS; i <= newest; i += 1) {
      over -= this.#cell(slot, i);
      if (over <= 0) return Math.max(1, this.#leavesAt(i) - now);
    }
    return this.#leavesAt(newest) - now;
  }

  charge(slot: number, cost: number, _value: number, now: number): void {
    const newest = this.#newest[slot] ?? 0;
    const index = Math.max(this.#index(now), newest);
    if (index > newest) this.#total[slot] = this.#advance(slot, newest, index);
    const at = slot * CELLS + (index % CELLS);
    this.#cells[at] = (this.#cells[at] ?? 0) + cost;
    this.#newest[slot] = index;
    this.#total[slot] = (this.#total[slot] ?? 0) + cost;
  }

  /** Empties the sub-windows between `newest` and `index`; gives what is left, added up anew so that sums never drift. */
  #advance(slot: number, newest: number, index: number): number {
    const first = slot * CELLS;
    if (index - newest >= CELLS) this.#cells.fill(0, first, first + CELLS);
    else for (let i = newest + 1; i <= index; i += 1) this.#cells[first + (i % CELLS)] = 0;
    let total = 0;
    for (let i = first; i < first + CELLS; i += 1) total += this.#cells[i] ?? 0;
    return total;
  }

  value(slot: number, now: number): number {
    const newest = this.#newest[slot] ?? 0;
    const gone = this.#index(now) - newest;
    if (gone <= 0) return this.#total[slot] ?? 0;
    if (gone >= CELLS) return 0;
    let left = this.#total[slot] ?? 0;
    for (let i = newest - SUB_WINDOWS; i < newest - SUB_WINDOWS + gone; i += 1) left -= this.#cell(slot, i);
    return this.#whole ? left : Math.max(0, left);
  }

  freeFor(): number {
    return 0;
  }

  release(): void {}

  get busy(): boolean {
    return false;
  }

  #cell(slot: number, index: number): number {
    return index < 0 ? 0 : (this.#cells[slot * CELLS + (index % CELLS)] ?? 0);
  }

  /** Exact for times below 2^53/120: the quotient of two whole numbers is never rounded across a whole number. */
  #index(now: number): number {
    return Math.floor((now * SUB_WINDOWS) / this.#windowMs);
  }

  /** First millisecond at which sub-window `index` no longer counts. */
  #leavesAt(index: number): number {
    return Math.ceil(((index + CELLS) * this.#windowMs) / SUB_WINDOWS);
  }
}
