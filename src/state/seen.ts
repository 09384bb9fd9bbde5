// What is new to a VM: a filter of keyed fingerprints. Owns 16,384 of them; forgets the longest unused of a set first.

const WAYS = 4;
const SETS = 4096;
export const SEEN_BYTES: number = WAYS * SETS * 4;

/** A forgotten value passes for new again (and is charged again); a new one passes for old with p ≤ 4/2^32. */
export class SeenFilter {
  readonly buffer: SharedArrayBuffer = new SharedArrayBuffer(SEEN_BYTES);
  readonly #prints: Uint32Array = new Uint32Array(this.buffer);

  has(lo: number, hi: number): boolean {
    const base = (hi % SETS) * WAYS;
    const print = lo === 0 ? 1 : lo;
    const p = this.#prints;
    return p[base] === print || p[base + 1] === print || p[base + 2] === print || p[base + 3] === print;
  }

  /** Puts the value in front of its set; the last one drops out if it was not there. */
  add(lo: number, hi: number): void {
    const base = (hi % SETS) * WAYS;
    const print = lo === 0 ? 1 : lo;
    const p = this.#prints;
    let at = 0;
    while (at < WAYS - 1 && p[base + at] !== print) at += 1;
    for (; at > 0; at -= 1) p[base + at] = p[base + at - 1] ?? 0;
    p[base] = print;
  }
}
