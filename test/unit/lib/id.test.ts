// Event ids: unique, sortable by time, safe in a log, a DNS answer and a URL.
import { describe, expect, it } from 'vitest';
import { makeId } from '../../../src/lib/id.ts';

describe('an id', () => {
  it('is 26 characters of Crockford base 32', () => {
    expect(makeId(1_800_000_000_000)).toMatch(/^[0-9a-hjkmnp-tv-z]{26}$/);
  });

  it('begins with its time, so that ids sort by it', () => {
    expect(makeId(0).slice(0, 10)).toBe('0000000000');
    expect(makeId(1).slice(0, 10)).toBe('0000000001');
    expect(makeId(32 ** 9).slice(0, 10)).toBe('1000000000');
    const times = [5, 31, 32, 1023, 1024, 1_800_000_000_000, 1_800_000_000_001, 2 ** 47];
    const ids = times.map(makeId);
    expect([...ids].sort()).toEqual(ids);
  });

  it('is never given twice, over many fills of its pool', () => {
    const ids = new Set(Array.from({ length: 20_000 }, () => makeId(7)));
    expect(ids.size).toBe(20_000);
  });

  it('has chance in each of its last 16 characters, evenly', () => {
    const counts = Array.from({ length: 16 }, () => new Map<string, number>());
    for (let i = 0; i < 16_000; i += 1) {
      const tail = makeId(7).slice(10);
      counts.forEach((seen, at) => seen.set(tail[at] ?? '', (seen.get(tail[at] ?? '') ?? 0) + 1));
    }
    for (const seen of counts) {
      expect(seen.size).toBe(32);
      // 500 each on average; ten standard deviations are 220.
      for (const count of seen.values()) expect(Math.abs(count - 500)).toBeLessThan(220);
    }
  });
});
