// Durations as people write them.
import { describe, expect, it } from 'vitest';
import { formatDuration, parseDuration } from '../../../src/lib/duration.ts';
import { Random } from '../../support/random.ts';

describe('a duration', () => {
  const cases: readonly (readonly [string, number])[] = [
    ['250ms', 250],
    ['60s', 60_000],
    ['1.5s', 1500],
    ['10m', 600_000],
    ['1h', 3_600_000],
    ['1d', 86_400_000],
    ['second', 1000],
    ['minute', 60_000],
    ['hour', 3_600_000],
    ['day', 86_400_000],
  ];
  for (const [text, ms] of cases) {
    it(`${text} is ${ms} ms`, () => {
      expect(parseDuration(text)).toBe(ms);
    });
  }

  for (const text of [
    '',
    '0s',
    '10',
    's',
    '-1s',
    '1 s',
    '1S',
    '1w',
    '1.5ms',
    '1e3s',
    'month',
    '9999999999s',
    '1s1m',
  ]) {
    it(`is not "${text}"`, () => {
      expect(parseDuration(text)).toBeUndefined();
    });
  }

  it('is written in the largest unit that is whole, and read again', () => {
    expect([1, 1000, 90_000, 120_000, 21_600_000, 86_400_000].map(formatDuration)).toEqual([
      '1ms',
      '1s',
      '90s',
      '2m',
      '6h',
      '1d',
    ]);
    expect(formatDuration(0)).toBe('0ms');
    const random = new Random(3);
    for (let i = 0; i < 1000; i += 1) {
      const ms = random.int(1, 900_000_000);
      expect(parseDuration(formatDuration(ms))).toBe(ms);
    }
  });
});
