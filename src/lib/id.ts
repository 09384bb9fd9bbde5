// Event ids. Owns their form: 10 characters of time and 16 of chance, Crockford base 32, so that they sort by time (ULID).
import { randomFillSync } from 'node:crypto';

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const pool = new Uint8Array(4096);
let used = pool.length;

/** A new id for a thing recorded at `wallMs` (milliseconds since 1970): 26 characters, unique, sorts by time. */
export function makeId(wallMs: number): string {
  if (used + 16 > pool.length) {
    randomFillSync(pool);
    used = 0;
  }
  let text = '';
  let time = wallMs;
  for (let i = 0; i < 10; i += 1) {
    text = (ALPHABET[time % 32] ?? '') + text;
    time = Math.floor(time / 32);
  }
  for (let i = 0; i < 16; i += 1) text += ALPHABET[(pool[used + i] ?? 0) & 31] ?? '';
  used += 16;
  return text;
}
