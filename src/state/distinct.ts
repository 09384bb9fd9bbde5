// How many different values were admitted in the window. Owns fingerprints and their times; knows no keys.
import { partBytes } from './cells.ts';
import type { Block, Cells } from './cells.ts';

/** Exact but for fingerprints of 32 keyed bits. A value seen again starts its age anew and costs nothing. */
export class Distinct implements Cells {
  readonly #max: number;
  readonly #windowMs: number;
  readonly #prints: Uint32Array;
  /** 0: the place is empty. */
  readonly #times: Float64Array;

  constructor(block: Block, slots: number, max: number, windowMs: number) {
    this.#max = max;
    this.#windowMs = windowMs;
    this.#times = block.f64(slots * max);
    this.#prints = block.u32(slots * max);
  }

  static bytes(slots: number, max: number): number {
    return partBytes(slots * max, 8) + partBytes(slots * max, 4);
  }

  wait(slot: number, cost: number, now: number): number {
    if (cost > this.#max) return Number.POSITIVE_INFINITY;
    if (this.value(slot, now) + cost <= this.#max) return 0;
    let oldest = Number.POSITIVE_INFINITY;
    for (let i = slot * this.#max; i < (slot + 1) * this.#max; i += 1) {
      const time = this.#times[i] ?? 0;
      if (this.#live(time, now) && time < oldest) oldest = time;
    }
    return oldest + this.#windowMs - now;
  }

  charge(slot: number, _cost: number, value: number, now: number): void {
    const known = this.#find(slot, value, now);
    const at = known >= 0 ? known : this.#room(slot, now);
    this.#prints[at] = value;
    this.#times[at] = now;
  }

  value(slot: number, now: number): number {
    let live = 0;
    for (let i = slot * this.#max; i < (slot + 1) * this.#max; i += 1) {
      if (this.#live(this.#times[i] ?? 0, now)) live += 1;
    }
    return live;
  }

  freeFor(slot: number, value: number, now: number): number {
    const at = this.#find(slot, value, now);
    return at < 0 ? 0 : (this.#times[at] ?? 0) + this.#windowMs - now;
  }

  release(): void {}

  get busy(): boolean {
    return false;
  }

  #live(time: number, now: number): boolean {
    return time > 0 && now - time < this.#windowMs;
  }

  #find(slot: number, value: number, now: number): number {
    for (let i = slot * this.#max; i < (slot + 1) * this.#max; i += 1) {
      if (this.#prints[i] === value && this.#live(this.#times[i] ?? 0, now)) return i;
    }
    return -1;
  }

  #room(slot: number, now: number): number {
    for (let i = slot * this.#max; i < (slot + 1) * this.#max; i += 1) {
      if (!this.#live(this.#times[i] ?? 0, now)) return i;
    }
    throw new Error('a distinct set was charged without room');
  }
}
