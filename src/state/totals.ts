// Running totals of the whole process, in shared memory: written by the data thread, read by the control thread for metrics.
import type { Totals } from '../rail/ports.ts';
import { EVENT_TYPES } from '../rail/fields.ts';
import type { EventType } from '../rail/fields.ts';
import type { TableCounts } from './table.ts';

/** Totals beside those of events. `vms` and `open_keys` are gauges, the rest only grow. */
export const TOTAL_NAMES = [
  'detections_warned',
  'detections_blocked',
  'detections_released',
  'evictions',
  'state_full',
  'traffic_lines_dropped',
  'record_lines_dropped',
  'rail_errors',
  'vms',
  'open_keys',
  'heartbeat_ms',
] as const;
export type TotalName = (typeof TOTAL_NAMES)[number];

export interface SharedTotals extends Totals, TableCounts {
  add(name: TotalName, amount: number): void;
  set(name: TotalName, value: number): void;
  get(name: TotalName): number;
  events(type: EventType, refused: boolean): number;
}

/** Octets of the buffer that both threads map. */
export const TOTALS_BYTES: number = (EVENT_TYPES.length * 2 + TOTAL_NAMES.length) * 8;

/** Aligned doubles are read and written whole, so a reader sees a value that was true at some moment. */
export function createTotals(buffer: SharedArrayBuffer): SharedTotals {
  const cells = new Float64Array(buffer);
  const typeAt = new Map(EVENT_TYPES.map((type, i) => [type, i * 2]));
  const nameAt = new Map(TOTAL_NAMES.map((name, i) => [name, EVENT_TYPES.length * 2 + i]));
  const at = (name: TotalName): number => nameAt.get(name) ?? -1;
  const bump = (i: number, amount: number): void => {
    cells[i] = (cells[i] ?? 0) + amount;
  };
  return {
    count: (type, refused) => bump((typeAt.get(type) ?? 0) + (refused ? 1 : 0), 1),
    events: (type, refused) => cells[(typeAt.get(type) ?? 0) + (refused ? 1 : 0)] ?? 0,
    add: (name, amount) => bump(at(name), amount),
    set: (name, value) => {
      cells[at(name)] = value;
    },
    get: (name) => cells[at(name)] ?? 0,
    evicted: () => bump(at('evictions'), 1),
    full: () => bump(at('state_full'), 1),
  };
}
