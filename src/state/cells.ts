// What one kind of limit keeps in each entry of a table: the port between table.ts and log, ring, bucket, distinct, gauge.

/** All times are Clock.now() milliseconds; `slot` is an entry's index. Reading never writes. */
export interface Cells {
  /** Milliseconds until `cost` fits (0: now; Infinity: time alone doesn't help), without regard to holds. */
  wait(slot: number, cost: number, now: number): number;
  charge(slot: number, cost: number, value: number, now: number): void;
  /** The present count, sum or level. */
  value(slot: number, now: number): number;
  /** Milliseconds that a distinct set still holds the value: 0 when it doesn't, and for every other kind. */
  freeFor(slot: number, value: number, now: number): number;
  /** Gives one concurrent slot back. */
  release(slot: number): void;
  /** Whether any concurrent slot is taken. */
  readonly busy: boolean;
}

/** Cuts typed arrays out of one shared block of memory. Owns alignment; never grows. */
export class Block {
  readonly buffer: SharedArrayBuffer;
  #at = 0;

  constructor(bytes: number) {
    this.buffer = new SharedArrayBuffer(bytes);
  }

  f64(length: number): Float64Array<SharedArrayBuffer> {
    return new Float64Array(this.buffer, this.#take(length * 8), length);
  }

  u32(length: number): Uint32Array<SharedArrayBuffer> {
    return new Uint32Array(this.buffer, this.#take(length * 4), length);
  }

  u16(length: number): Uint16Array<SharedArrayBuffer> {
    return new Uint16Array(this.buffer, this.#take(length * 2), length);
  }

  u8(length: number): Uint8Array<SharedArrayBuffer> {
    return new Uint8Array(this.buffer, this.#take(length), length);
  }

  #take(bytes: number): number {
    const at = this.#at;
    this.#at = at + Math.ceil(bytes / 8) * 8;
    return at;
  }
}

/** Octets that a part of `length` elements of `size` octets takes in a Block. */
export const partBytes = (length: number, size: number): number => Math.ceil((length * size) / 8) * 8;
