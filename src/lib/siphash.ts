// Keyed hashing of short strings: HalfSipHash-1-3 with 64 bits of output (Aumasson, Bernstein). Owns no secret: the key is
// handed in, so that nobody who can't read it can make two names collide.

/** Hashes lists of strings, one at a time, without allocating: begin, add…, end, then read `lo` and `hi`. */
export class KeyedHash {
  /** Lower and upper 32 bits of the last hash, unsigned. Never both 0. */
  lo = 0;
  hi = 0;
  readonly #key0: number;
  readonly #key1: number;
  #v0 = 0;
  #v1 = 0;
  #v2 = 0;
  #v3 = 0;
  #words = 0;

  /** `key`: at least 8 random octets; the first 8 are used. */
  constructor(key: Uint8Array) {
    const view = new DataView(key.buffer, key.byteOffset, 8);
    this.#key0 = view.getInt32(0, true);
    this.#key1 = view.getInt32(4, true);
  }

  begin(): void {
    this.#v0 = this.#key0;
    this.#v1 = this.#key1 ^ 0xee;
    this.#v2 = 0x6c796765 ^ this.#key0;
    this.#v3 = 0x74656462 ^ this.#key1;
    this.#words = 0;
  }

  /** Adds one string. Injective: the length and the width of its characters go in first. */
  add(text: string): void {
    const length = text.length;
    let wide = 0;
    for (let i = 0; i < length; i += 1) wide |= text.charCodeAt(i);
    const perWord = wide < 256 ? 4 : 2;
    this.#word((length << 1) | (perWord === 4 ? 0 : 1));
    let i = 0;
    if (perWord === 4) {
      let v0 = this.#v0;
      let v1 = this.#v1;
      let v2 = this.#v2;
      let v3 = this.#v3;
      for (; i < length; i += 4) {
        // Past the end charCodeAt is NaN, which the shifts turn into 0; the length word keeps that unambiguous.
        const m =
          text.charCodeAt(i) |
          (text.charCodeAt(i + 1) << 8) |
          (text.charCodeAt(i + 2) << 16) |
          (text.charCodeAt(i + 3) << 24);
        v3 ^= m;
        v0 = (v0 + v1) | 0;
        v1 = (v1 << 5) | (v1 >>> 27);
        v1 ^= v0;
        v0 = (v0 << 16) | (v0 >>> 16);
        v2 = (v2 + v3) | 0;
        v3 = (v3 << 8) | (v3 >>> 24);
        v3 ^= v2;
        v0 = (v0 + v3) | 0;
        v3 = (v3 << 7) | (v3 >>> 25);
        v3 ^= v0;
        v2 = (v2 + v1) | 0;
        v1 = (v1 << 13) | (v1 >>> 19);
        v1 ^= v2;
        v2 = (v2 << 16) | (v2 >>> 16);
        v0 ^= m;
      }
      this.#v0 = v0;
      this.#v1 = v1;
      this.#v2 = v2;
      this.#v3 = v3;
      this.#words += (length + 3) >> 2;
      return;
    }
    for (; i < length; i += 2) this.#word(text.charCodeAt(i) | (text.charCodeAt(i + 1) << 16));
  }

  /** Adds one 32-bit word as it is. */
  addWord(word: number): void {
    this.#word(word);
  }

  end(): void {
    this.#word(this.#words << 26);
    this.#v2 ^= 0xee;
    this.#round();
    this.#round();
    this.#round();
    const lo = (this.#v1 ^ this.#v3) >>> 0;
    this.#v1 ^= 0xdd;
    this.#round();
    this.#round();
    this.#round();
    this.hi = (this.#v1 ^ this.#v3) >>> 0;
    this.lo = lo === 0 && this.hi === 0 ? 1 : lo;
  }

  #word(m: number): void {
    this.#v3 ^= m;
    this.#round();
    this.#v0 ^= m;
    this.#words += 1;
  }

  #round(): void {
    this.#v0 = (this.#v0 + this.#v1) | 0;
    this.#v1 = (this.#v1 << 5) | (this.#v1 >>> 27);
    this.#v1 ^= this.#v0;
    this.#v0 = (this.#v0 << 16) | (this.#v0 >>> 16);
    this.#v2 = (this.#v2 + this.#v3) | 0;
    this.#v3 = (this.#v3 << 8) | (this.#v3 >>> 24);
    this.#v3 ^= this.#v2;
    this.#v0 = (this.#v0 + this.#v3) | 0;
    this.#v3 = (this.#v3 << 7) | (this.#v3 >>> 25);
    this.#v3 ^= this.#v0;
    this.#v2 = (this.#v2 + this.#v1) | 0;
    this.#v1 = (this.#v1 << 13) | (this.#v1 >>> 19);
    this.#v1 ^= this.#v2;
    this.#v2 = (this.#v2 << 16) | (this.#v2 >>> 16);
  }
}
