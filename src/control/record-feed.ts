// The way from the data thread to the control thread for everything that is recorded. Owns batching and the bounds: a slow
// log never slows a decision, traffic lines may be dropped (and are counted), a detection's count is never lost.
import { BoundedQueue } from '../lib/queue.ts';
import type { Clock } from '../lib/clock.ts';
import type { Detection } from '../rail/record.ts';
import type { Traffic, TrafficLine } from '../rail/ports.ts';

/** What the data thread posts. `failed` comes before `ready` or not at all. */
export type FromData =
  | { readonly kind: 'ready'; readonly endpoints: readonly Endpoint[] }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'error'; readonly message: string }
  | {
      readonly kind: 'records';
      readonly detections: readonly Detection[];
      readonly traffic: readonly TrafficLine[];
    }
  | { readonly kind: 'stopped' };

/** What the control thread posts: `taken` acknowledges one batch of records. */
export type ToData = { readonly kind: 'taken' } | { readonly kind: 'stop'; readonly graceMs: number };

export interface Endpoint {
  readonly name: string;
  readonly address: string;
  readonly port: number;
}

export interface FeedOptions {
  readonly clock: Clock;
  readonly post: (batch: Extract<FromData, { kind: 'records' }>) => void;
  readonly dns: 'all' | 'sampled' | 'off';
  readonly http: 'all' | 'off';
  readonly dropped: (kind: 'traffic_lines_dropped' | 'record_lines_dropped', count: number) => void;
}

const DETECTIONS_MAX = 16_384;
const TRAFFIC_MAX = 8192;
/** Batches on their way at once; more wait here, where they are bounded. */
const UNTAKEN_MAX = 4;
/** Query lines a second when sampled. */
const SAMPLED_PER_SECOND = 20;

export class RecordFeed implements Traffic {
  readonly #options: FeedOptions;
  readonly #detections = new BoundedQueue<Detection>(DETECTIONS_MAX);
  readonly #traffic = new BoundedQueue<TrafficLine>(TRAFFIC_MAX);
  /** Detections that found the queue full: one a rule and state, their counts added up. */
  readonly #merged = new Map<string, Detection>();
  #untaken = 0;
  #second = 0;
  #sampled = 0;

  constructor(options: FeedOptions) {
    this.#options = options;
  }

  detection(line: Detection): void {
    if (this.#detections.push(line)) return;
    this.#options.dropped('record_lines_dropped', 1);
    const name = `${line.rule} ${line.state} ${line.mode}`;
    const count = (this.#merged.get(name)?.count ?? 0) + line.count;
    this.#merged.set(name, { ...line, key: '*other*', vm: '*other*', interval: true, count });
  }

  note(line: TrafficLine): void {
    if (!this.#wanted(line)) return;
    if (!this.#traffic.push(line)) this.#options.dropped('traffic_lines_dropped', 1);
  }

  /** Sends what there is, unless the control thread still owes too many answers. Call it often. */
  flush(): void {
    if (this.#untaken >= UNTAKEN_MAX) return;
    if (this.#detections.size + this.#traffic.size + this.#merged.size === 0) return;
    this.#untaken += 1;
    const detections = [...this.#detections.drain(), ...this.#merged.values()];
    this.#merged.clear();
    this.#options.post({ kind: 'records', detections, traffic: this.#traffic.drain() });
  }

  taken(): void {
    this.#untaken = Math.max(0, this.#untaken - 1);
  }

  /** Sends everything, whatever is still on its way; for a stop. */
  finish(): void {
    this.#untaken = 0;
    this.flush();
  }

  #wanted(line: TrafficLine): boolean {
    if (line.kind === 'request' || line.kind === 'tunnel') return this.#options.http === 'all';
    if (line.kind === 'malformed' || this.#options.dns === 'sampled') return this.#sample();
    return this.#options.dns === 'all';
  }

  #sample(): boolean {
    const second = Math.floor(this.#options.clock.now() / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#sampled = 0;
    }
    this.#sampled += 1;
    return this.#sampled <= SAMPLED_PER_SECOND;
  }
}
