// A clock that moves only when told.
import type { Clock } from '../../src/lib/clock.ts';

export class FakeClock implements Clock {
  #ms: number;

  constructor(startMs = 1_000_000) {
    this.#ms = startMs;
  }

  now(): number {
    return this.#ms;
  }

  wall(): number {
    return 1_800_000_000_000 + this.#ms;
  }

  advance(ms: number): void {
    this.#ms += ms;
  }

  set(ms: number): void {
    this.#ms = ms;
  }
}
