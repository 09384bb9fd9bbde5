// Metrics for Prometheus. Owns their names; reads totals at scrape time, and carries no host, name or VM in a label.
import { Counter, Gauge, Registry } from 'prom-client';
import { EVENT_TYPES } from '../rail/fields.ts';
import type { EventType } from '../rail/fields.ts';

/** Where the numbers come from; plain reads of shared memory. */
export interface Readings {
  events(type: EventType, refused: boolean): number;
  get(name: MetricSource): number;
}

export type MetricSource =
  | 'detections_warned'
  | 'detections_blocked'
  | 'detections_released'
  | 'evictions'
  | 'state_full'
  | 'traffic_lines_dropped'
  | 'record_lines_dropped'
  | 'log_lines_lost'
  | 'rail_errors'
  | 'vms'
  | 'state_bytes'
  | 'open_keys';

interface Metric {
  readonly name: string;
  readonly kind: 'counter' | 'gauge';
  readonly help: string;
  /** One value a label, or one without. */
  readonly values: readonly {
    readonly labels: Readonly<Record<string, string>>;
    readonly from: (r: Readings) => number;
  }[];
}

const single = (name: string, kind: Metric['kind'], help: string, source: MetricSource): Metric => ({
  name,
  kind,
  help,
  values: [{ labels: {}, from: (r) => r.get(source) }],
});

/** Every metric that weir serves; docs/architecture.md lists the same. */
export const METRICS: readonly Metric[] = [
  {
    name: 'weir_events_total',
    kind: 'counter',
    help: 'events judged, by type and verdict',
    values: EVENT_TYPES.flatMap((type) => [
      { labels: { type, verdict: 'allow' }, from: (r: Readings) => r.events(type, false) },
      { labels: { type, verdict: 'block' }, from: (r: Readings) => r.events(type, true) },
    ]),
  },
  {
    name: 'weir_detections_total',
    kind: 'counter',
    help: 'detection lines, by the state that the key came to',
    values: (['warned', 'blocked', 'released'] as const).map((state) => ({
      labels: { state },
      from: (r: Readings) => r.get(`detections_${state}`),
    })),
  },
  single(
    'weir_state_evictions_total',
    'counter',
    'entries that still counted and were taken over by another key',
    'evictions',
  ),
  single(
    'weir_state_full_total',
    'counter',
    'keys that found all entries held and were refused',
    'state_full',
  ),
  single('weir_rail_errors_total', 'counter', 'bugs that made the rail refuse', 'rail_errors'),
  single(
    'weir_log_traffic_lines_dropped_total',
    'counter',
    'traffic lines that the log could not take',
    'traffic_lines_dropped',
  ),
  single(
    'weir_log_detection_lines_merged_total',
    'counter',
    'detection lines merged into one a rule, counts kept',
    'record_lines_dropped',
  ),
  single(
    'weir_log_lines_lost_total',
    'counter',
    'lines that stdout or the log file could not take',
    'log_lines_lost',
  ),
  single('weir_state_bytes', 'gauge', 'octets of the counters of all VMs that have state', 'state_bytes'),
  single('weir_vms', 'gauge', 'VMs that have state', 'vms'),
  single('weir_open_keys', 'gauge', 'keys that are blocked or warned now', 'open_keys'),
];

/** The text of one scrape, and its content type. */
export function createMetrics(readings: Readings): { text(): Promise<string>; contentType: string } {
  const registry = new Registry();
  for (const metric of METRICS) {
    const labelNames = Object.keys(metric.values[0]?.labels ?? {});
    const common = { name: metric.name, help: metric.help, labelNames, registers: [registry] };
    if (metric.kind === 'gauge') {
      const gauge = new Gauge({
        ...common,
        collect: () => metric.values.forEach((v) => gauge.set(v.labels, v.from(readings))),
      });
    } else {
      const counter = new Counter({
        ...common,
        collect: () => {
          counter.reset();
          for (const value of metric.values) counter.inc(value.labels, value.from(readings));
        },
      });
    }
  }
  return { text: () => registry.metrics(), contentType: registry.contentType };
}
