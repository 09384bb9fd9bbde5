// A sliding window as a log of times: exact, one entry for each unit charged. Owns the times; knows no keys.
import { partBytes } from './cells.ts';
import type { Block, Cells } from './cells.ts';

/** Longest window whose times fit 32 bits with room for an entry's age to double. */
export const LOG_WINDOW_MS_MAX = 2 ** 31;

/** Counts unit costs. An entry whose age equals the window has left; so [t, t + window) never holds more than `max`. */
export class Log implements Cells {
  readonly #max: number;
  readonly #windowMs: number;
  readonly #head: Uint32Array;
  readonly #count: Uint32Array;
  /** When the newest entry was charged: times are kept modulo 2^32, so a long silence must be told apart. */
  readonly #newestMs: Float64Array;
  readonly #times: Uint32Array;

  constructor(block: Block, slots: number, max: number, windowMs: number) {
    this.#max = max;
    this.#windowMs = windowMs;
    this.#newestMs = block.f64(slots);
    this.#head = block.u32(slots);
    this.#count = block.u32(slots);
    this.#times = block.u32(slots * max);
  }

  static bytes(slots: number, max: number): number {
    return partBytes(slots, 8) + 2 * partBytes(slots, 4) + partBytes(slots * max, 4);
  }

  wait(slot: number, cost: number, now: number): number {
    if (cost > this.#max) return Number.POSITIVE_INFINITY;
    const live = this.value(slot, now);
    const over = live + cost - this.#max;
    if (over <= 0) return 0;
    return this.#windowMs - this.#age(slot, live - over, now);
  }

  charge(slot: number, cost: number, _value: number, now: number): void {
    const live = this.value(slot, now);
    const base = slot * this.#max;
    let head = this.#head[slot] ?? 0;
    for (let i = 0; i < cost; i += 1) {
      this.#times[base + head] = now % 2 ** 32;
      head = head + 1 === this.#max ? 0 : head + 1;
    }
    this.#head[slot] = head;
    this.#count[slot] = Math.min(this.#max, live + cost);
    this.#newestMs[slot] = now;
  }

  value(slot: number, now: number): number {
    if (now - (this.#newestMs[slot] ?? 0) >= this.#windowMs) return 0;
    let live = this.#count[slot] ?? 0;
    while (live > 0 && this.#age(slot, live - 1, now) >= this.#windowMs) live -= 1;
    return live;
  }

  freeFor(): number {
    return 0;
  }

  release(): void {}

  get busy(): boolean {
    return false;
  }

  /** Age of the entry with `newer` entries after it. */
  #age(slot: number, newer: number, now: number): number {
    const at = (this.#head[slot] ?? 0) - 1 - newer;
    const time = this.#times[slot * this.#max + (at < 0 ? at + this.#max : at)] ?? 0;
    return ((now % 2 ** 32) - time) >>> 0;
  }
}
