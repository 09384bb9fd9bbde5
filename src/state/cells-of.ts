// Which cells a limit gets. Owns the choice between log and ring, and every limit's share of the memory bound.
import { LOG_MAX } from '../rail/rule.ts';
import type { Count, Limit } from '../rail/rule.ts';
import { Bucket } from './bucket.ts';
import type { Block, Cells } from './cells.ts';
import { Distinct } from './distinct.ts';
import { Gauge } from './gauge.ts';
import { Log, LOG_WINDOW_MS_MAX } from './log.ts';
import { Ring } from './ring.ts';
import type { RingWidth } from './ring.ts';

export interface CellsOf {
  readonly count: Count;
}

type Kind = { readonly kind: 'log' } | { readonly kind: 'ring'; readonly width: RingWidth };

function slidingKind(count: Count, limit: Extract<Limit, { kind: 'sliding' }>): Kind {
  const units = count.kind === 'events' || count.kind === 'new';
  if (!units) return { kind: 'ring', width: 'f64' };
  if (limit.windowMs <= LOG_WINDOW_MS_MAX && (limit.max <= LOG_MAX || limit.exact)) return { kind: 'log' };
  return { kind: 'ring', width: limit.max < 65_536 ? 'u16' : 'u32' };
}

export function makeCells(of: CellsOf, block: Block, limit: Limit, slots: number): Cells {
  if (limit.kind === 'bucket') return new Bucket(block, slots, limit.bucket, limit.refill, limit.perMs);
  if (limit.kind === 'concurrent') return new Gauge(block, slots, limit.max);
  if (of.count.kind === 'distinct') return new Distinct(block, slots, limit.max, limit.windowMs);
  const kind = slidingKind(of.count, limit);
  return kind.kind === 'log'
    ? new Log(block, slots, limit.max, limit.windowMs)
    : new Ring(block, slots, limit.max, limit.windowMs, kind.width);
}

export function cellsBytes(of: CellsOf, limit: Limit, slots: number): number {
  if (limit.kind === 'bucket') return Bucket.bytes(slots);
  if (limit.kind === 'concurrent') return Gauge.bytes(slots);
  if (of.count.kind === 'distinct') return Distinct.bytes(slots, limit.max);
  const kind = slidingKind(of.count, limit);
  return kind.kind === 'log' ? Log.bytes(slots, limit.max) : Ring.bytes(slots, kind.width);
}
