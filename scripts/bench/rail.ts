// Bench `rail`: one decision through the whole shipped pack and through one rule, in ns, and what the heap grows by.
// Run: node --expose-gc scripts/bench/rail.ts
import { policyOf, query, railOf, request } from '../../test/support/rail-bench.ts';
import type { SecurityEvent } from '../../src/rail/event.ts';
import { raisedPack } from './raised.ts';
import { median, report } from './shape.ts';
import type { Row } from './shape.ts';

const ROUNDS = 7;
const EVENTS = 200_000;
const HEAP_EVENTS = 1_000_000;

const gc = (globalThis as { gc?: () => void }).gc ?? ((): void => {});

function measure(name: string, pack: string, events: readonly SecurityEvent[]): Row {
  const { rail, errors } = railOf(policyOf(pack));
  const run = (count: number): number => {
    const from = process.hrtime.bigint();
    for (let i = 0; i < count; i += 1) rail.decide(events[i % events.length] as SecurityEvent);
    return Number(process.hrtime.bigint() - from) / count;
  };
  run(EVENTS);
  const rounds = Array.from({ length: ROUNDS }, () => run(EVENTS));
  gc();
  const before = process.memoryUsage().heapUsed;
  run(HEAP_EVENTS);
  gc();
  const grown = (process.memoryUsage().heapUsed - before) / HEAP_EVENTS;
  if (errors.length > 0) throw errors[0];
  return {
    decision: name,
    'ns, median': Math.round(median(rounds)),
    'ns, best': Math.round(Math.min(...rounds)),
    'heap octets a decision': grown.toFixed(3),
  };
}

const ONE_RULE = `
- { id: r, title: t, event: http.request, by: [vm, dest.host], limit: { max: 4000000000, window: 60s } }`;
const repeat = <T>(count: number, make: (i: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(i));

report('rail', [
  measure(
    'DNS pack, known names, 100 domains',
    raisedPack(),
    repeat(1000, (i) => query('vm-a', `h${i}.s${i % 100}.com`)),
  ),
  measure(
    'DNS pack, all names new, 100 domains',
    raisedPack(),
    repeat(300_000, (i) => query('vm-a', `n${i}.s${i % 100}.com`)),
  ),
  measure(
    'DNS pack, all domains new',
    raisedPack(),
    repeat(300_000, (i) => query('vm-a', `www.n${i}.com`)),
  ),
  measure(
    'DNS pack, 16 VMs in turn',
    raisedPack(),
    repeat(32_000, (i) => query(`vm-${i % 16}`, `h${i}.s${i % 100}.com`)),
  ),
  measure(
    'HTTP pack, 100 hosts',
    raisedPack(),
    repeat(1000, (i) => request('vm-a', `h${i % 100}.example.com`)),
  ),
  measure(
    'one rule, 100 keys',
    ONE_RULE,
    repeat(1000, (i) => request('vm-a', `h${i % 100}.example.com`)),
  ),
]);
