// The way of records to the log: bounded, batched, and without a lost count.
import { describe, expect, it } from 'vitest';
import { RecordFeed } from '../../../src/control/record-feed.ts';
import type { FeedOptions, FromData } from '../../../src/control/record-feed.ts';
import type { TrafficLine } from '../../../src/rail/ports.ts';
import type { Detection } from '../../../src/rail/record.ts';
import { FakeClock } from '../../support/fake-clock.ts';

type Batch = Extract<FromData, { kind: 'records' }>;

function bench(options: Partial<FeedOptions> = {}): {
  feed: RecordFeed;
  clock: FakeClock;
  batches: Batch[];
  dropped: Map<string, number>;
} {
  const clock = new FakeClock();
  const batches: Batch[] = [];
  const dropped = new Map<string, number>();
  const feed = new RecordFeed({
    clock,
    post: (batch) => batches.push(batch),
    dns: 'all',
    http: 'all',
    dropped: (kind, count) => dropped.set(kind, (dropped.get(kind) ?? 0) + count),
    ...options,
  });
  return { feed, clock, batches, dropped };
}

const line = (kind: TrafficLine['kind'], n = 0): TrafficLine => ({
  kind,
  vm: 'vm-a',
  source: '192.0.2.1',
  n,
});
const detection = (n: number, rule = 'r'): Detection => ({
  rule,
  ruleLevel: 'high',
  title: 't',
  eventId: `id-${n}`,
  eventType: 'dns.query',
  vm: `vm-${n}`,
  profile: 'balanced',
  key: `vm=vm-${n}`,
  value: 1,
  max: 1,
  windowMs: 1000,
  state: 'blocked',
  mode: 'enforce',
  verdict: 'block',
  count: n % 5,
  interval: false,
  time: 0,
  message: 'm',
});
const countOf = (batches: readonly Batch[]): number =>
  batches.flatMap((batch) => batch.detections).reduce((sum, { count }) => sum + count, 0);

describe('the feed', () => {
  it('sends what there is as one batch, in order, and nothing when there is nothing', () => {
    const { feed, batches } = bench();
    feed.flush();
    feed.note(line('query', 1));
    feed.detection(detection(1));
    feed.note(line('request', 2));
    feed.flush();
    feed.flush();
    expect(batches).toHaveLength(1);
    expect(batches[0]?.traffic.map((each) => each['n'])).toEqual([1, 2]);
    expect(batches[0]?.detections.map(({ eventId }) => eventId)).toEqual(['id-1']);
  });

  it('has at most four batches on their way: more waits until one is taken', () => {
    const { feed, batches } = bench();
    const round = (): void => {
      feed.note(line('query'));
      feed.flush();
    };
    for (let i = 0; i < 10; i += 1) round();
    expect(batches).toHaveLength(4);
    feed.taken();
    round();
    expect(batches).toHaveLength(5);
    expect(batches[4]?.traffic).toHaveLength(7);
  });

  it('drops and counts traffic lines past its bound while the log stands still', () => {
    const { feed, batches, dropped } = bench();
    for (let i = 0; i < 20_000; i += 1) feed.note(line('request', i));
    feed.flush();
    const kept = batches[0]?.traffic.length ?? 0;
    expect(kept).toBe(8192);
    expect(dropped.get('traffic_lines_dropped')).toBe(20_000 - kept);
  });

  it('merges detections past its bound, and loses no count', () => {
    const { feed, batches, dropped } = bench();
    let sum = 0;
    for (let n = 0; n < 50_000; n += 1) {
      const each = detection(n, n % 2 === 0 ? 'even' : 'odd');
      sum += each.count;
      feed.detection(each);
    }
    feed.finish();
    expect(countOf(batches)).toBe(sum);
    expect(batches[0]?.detections).toHaveLength(16_384 + 2);
    expect(batches[0]?.detections.slice(-2)).toMatchObject([
      { rule: 'even', key: '*other*', vm: '*other*', interval: true },
      { rule: 'odd', key: '*other*', vm: '*other*', interval: true },
    ]);
    expect(dropped.get('record_lines_dropped')).toBe(50_000 - 16_384);
  });

  it('sends everything at a stop, whatever is still on its way', () => {
    const { feed, batches } = bench();
    for (let n = 1; n <= 9; n += 1) {
      feed.detection(detection(n));
      feed.flush();
    }
    feed.finish();
    expect(batches.flatMap((batch) => batch.detections)).toHaveLength(9);
  });
});

describe('traffic lines', () => {
  const kept = (options: Partial<FeedOptions>, lines: readonly TrafficLine[]): number => {
    const { feed, batches } = bench(options);
    for (const each of lines) feed.note(each);
    feed.finish();
    return batches.flatMap((batch) => batch.traffic).length;
  };
  const many = (kind: TrafficLine['kind']): TrafficLine[] => Array.from({ length: 100 }, () => line(kind));

  it('of requests and tunnels are all or none', () => {
    for (const kind of ['request', 'tunnel'] as const) {
      expect(kept({ http: 'all', dns: 'off' }, many(kind))).toBe(100);
      expect(kept({ http: 'off', dns: 'all' }, many(kind))).toBe(0);
    }
  });

  it('of queries are all, none, or the first 20 of each second', () => {
    expect(kept({ dns: 'all' }, many('query'))).toBe(100);
    expect(kept({ dns: 'off' }, many('query'))).toBe(0);
    expect(kept({ dns: 'sampled' }, many('query'))).toBe(20);
    const { feed, clock, batches } = bench({ dns: 'sampled' });
    for (let ms = 0; ms < 3000; ms += 10) {
      feed.note(line('query'));
      clock.advance(10);
    }
    feed.finish();
    expect(batches[0]?.traffic).toHaveLength(60);
  });

  it('of malformed input are sampled whatever the settings: whoever sends rubbish must not fill the disk', () => {
    for (const dns of ['all', 'sampled', 'off'] as const)
      expect(kept({ dns, http: 'off' }, many('malformed')), dns).toBe(20);
  });
});
