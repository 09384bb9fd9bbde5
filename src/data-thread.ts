// The entry of the data thread: hears the control thread, builds the app, keeps its clock ticking. Everything that decides
// lives on this thread; if it dies, the process ends.
import { parentPort, workerData } from 'node:worker_threads';
import { createApp } from './app.ts';
import type { Config } from './config/load.ts';
import { RecordFeed } from './control/record-feed.ts';
import type { FromData, ToData } from './control/record-feed.ts';
import { systemClock } from './lib/clock.ts';
import { loadRules } from './rules/load.ts';
import { createTotals } from './state/totals.ts';

export interface DataThreadInput {
  readonly config: Config;
  readonly stateKey: Uint8Array;
  readonly totals: SharedArrayBuffer;
}

const FLUSH_MS = 50;
const TICK_MS = 1000;

// Errors of sockets are expected and carry a code: capturing a stack for each would let a client that resets cost us more than it.
Error.stackTraceLimit = 4;

async function run(port: NonNullable<typeof parentPort>): Promise<void> {
  const { config, stateKey, totals: buffer } = workerData as DataThreadInput;
  const post = (message: FromData): void => port.postMessage(message);
  const totals = createTotals(buffer);
  const loaded = loadRules(config.rules);
  if (!loaded.ok) throw new Error(loaded.problems.join('\n'));
  const feed = new RecordFeed({
    clock: systemClock,
    post,
    dns: config.log.traffic.dns,
    http: config.log.traffic.http,
    dropped: (name, count) => totals.add(name, count),
  });
  const onError = (error: unknown): void => {
    post({ kind: 'error', message: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  };
  const app = createApp({
    config,
    policy: loaded.policy,
    stateKey,
    clock: systemClock,
    totals,
    feed,
    onError,
  });
  const flushing = setInterval(() => feed.flush(), FLUSH_MS);
  const ticking = setInterval(() => app.tick(), TICK_MS);
  port.on('message', (message: ToData) => {
    if (message.kind === 'taken') {
      feed.taken();
      return;
    }
    void app.stop(message.graceMs).then(() => {
      clearInterval(flushing);
      clearInterval(ticking);
      feed.finish();
      post({ kind: 'stopped' });
      port.close();
    });
  });
  try {
    const endpoints = await app.start();
    app.tick();
    post({ kind: 'ready', endpoints });
  } catch (error) {
    clearInterval(flushing);
    clearInterval(ticking);
    post({ kind: 'failed', message: error instanceof Error ? error.message : String(error) });
    port.close();
  }
}

if (parentPort !== null) await run(parentPort);
