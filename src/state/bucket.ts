// A leaky bucket: a level that drains at a fixed rate. Owns levels and when they were true; knows no keys.
import { partBytes } from './cells.ts';
import type { Block, Cells } from './cells.ts';

/**
 * Lets through at most `bucket + refill·t / perMs` in any time t. The level is kept in units of 1/perMs, so that each
 * millisecond drains exactly `refill` of them and no rate is ever rounded.
 */
export class Bucket implements Cells {
  readonly #scale: number;
  readonly #refill: number;
  readonly #capacity: number;
  readonly #level: Float64Array;
  readonly #atMs: Float64Array;

  constructor(block: Block, slots: number, bucket: number, refill: number, perMs: number) {
    const common = Number.isInteger(refill) ? gcd(refill, perMs) : 1;
    this.#scale = perMs / common;
    this.#refill = refill / common;
    this.#capacity = bucket * this.#scale;
    this.#level = block.f64(slots);
    this.#atMs = block.f64(slots);
  }

  static bytes(slots: number): number {
    return 2 * partBytes(slots, 8);
  }

  wait(slot: number, cost: number, now: number): number {
    const scaled = cost * this.#scale;
    if (scaled > this.#capacity) return Number.POSITIVE_INFINITY;
    const over = this.#now(slot, now) + scaled - this.#capacity;
    return over <= 0 ? 0 : Math.ceil(over / this.#refill);
  }

  charge(slot: number, cost: number, _value: number, now: number): void {
    this.#level[slot] = this.#now(slot, now) + cost * this.#scale;
    this.#atMs[slot] = now;
  }

  value(slot: number, now: number): number {
    return this.#now(slot, now) / this.#scale;
  }

  freeFor(): number {
    return 0;
  }

  release(): void {}

  get busy(): boolean {
    return false;
  }

  #now(slot: number, now: number): number {
    return Math.max(0, (this.#level[slot] ?? 0) - (now - (this.#atMs[slot] ?? 0)) * this.#refill);
  }
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}
