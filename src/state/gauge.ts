// Concurrent slots: how many are taken now. Owns the counts; time never changes them.
import { partBytes } from './cells.ts';
import type { Block, Cells } from './cells.ts';

export class Gauge implements Cells {
  readonly #max: number;
  readonly #taken: Uint32Array;

  constructor(block: Block, slots: number, max: number) {
    this.#max = max;
    this.#taken = block.u32(slots);
  }

  static bytes(slots: number): number {
    return partBytes(slots, 4);
  }

  wait(slot: number, cost: number): number {
    return (this.#taken[slot] ?? 0) + cost <= this.#max ? 0 : Number.POSITIVE_INFINITY;
  }

  charge(slot: number, cost: number): void {
    this.#taken[slot] = (this.#taken[slot] ?? 0) + cost;
  }

  value(slot: number): number {
    return this.#taken[slot] ?? 0;
  }

  freeFor(): number {
    return 0;
  }

  get busy(): boolean {
    return this.#taken.some((n) => n > 0);
  }

  release(slot: number): void {
    this.#taken[slot] = Math.max(0, (this.#taken[slot] ?? 0) - 1);
  }
}
