// `weir run`: the control thread. Owns start, supervision of the data thread, the log, the admin listener, and the stop. Never
// decides anything about traffic.
import { extname } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { Readings } from '../admin/metrics.ts';
import { createAdmin } from '../admin/routes.ts';
import { createAdminServer } from '../admin/server.ts';
import type { AdminServer } from '../admin/server.ts';
import type { DataThreadInput } from '../data-thread.ts';
import { formatEndpoint } from '../lib/ip.ts';
import { systemClock } from '../lib/clock.ts';
import { createTotals, TOTALS_BYTES } from '../state/totals.ts';
import type { SharedTotals } from '../state/totals.ts';
import { checkAll } from './check.ts';
import type { Checked } from './check.ts';
import { EXIT } from './exit.ts';
import type { ExitCode } from './exit.ts';
import { createLog } from './log.ts';
import type { Log } from './log.ts';
import type { Endpoint, FromData, ToData } from './record-feed.ts';
import { stateKey } from './state-key.ts';

/** How long open requests and tunnels may go on after SIGTERM. */
const GRACE_MS = 5000;
/** After that much more the data thread is ended by force. */
const FORCE_MS = 2000;

export interface RunOptions {
  readonly file: string | undefined;
  /** Resolves when weir is to stop. */
  readonly stop: Promise<unknown>;
  readonly complain: (text: string) => void;
  readonly terminal: boolean;
}

/** Runs until told to stop, or until something fails. */
export async function run(options: RunOptions): Promise<ExitCode> {
  const checked = checkAll(options.file);
  if (!checked.ok) {
    for (const problem of checked.problems) options.complain(problem);
    return EXIT.badConfig;
  }
  const key = stateKey(checked.config.data);
  if (!key.ok) {
    options.complain(key.detail);
    return EXIT.badConfig;
  }
  const log = createLog({ ...checked.config.log, pretty: options.terminal });
  const code = await supervise(checked, key.key, log, options);
  await log.flush();
  return code;
}

type Good = Extract<Checked, { ok: true }>;

async function supervise(checked: Good, key: Uint8Array, log: Log, options: RunOptions): Promise<ExitCode> {
  const { config } = checked;
  const buffer = new SharedArrayBuffer(TOTALS_BYTES);
  const totals = createTotals(buffer);
  let ready = false;
  const hosts = new Set(['localhost', '127.0.0.1', '::1', ...config.admin.listen.map((e) => e.address)]);
  const silentMs = (): number => Math.max(0, systemClock.wall() - totals.get('heartbeat_ms'));
  const readings = readingsOf(totals, checked, log);
  const admin = createAdminServer(
    createAdmin({ readings, silentMs, ready: () => ready, hosts }),
    config.admin.listen,
  );
  let adminAt: readonly Endpoint[];
  try {
    adminAt = (await admin.listening()).map((endpoint) => ({ name: 'admin', ...endpoint }));
  } catch (error) {
    options.complain(error instanceof Error ? error.message : String(error));
    return EXIT.notBound;
  }
  const data = startDataThread(
    { config: { ...config, admin: { listen: adminAt } }, stateKey: key, totals: buffer },
    log,
  );
  const first = await data.first;
  if (first.kind !== 'ready') {
    admin.close();
    log.error({}, first.message);
    options.complain(first.message);
    return first.kind === 'failed' ? EXIT.notBound : EXIT.internal;
  }
  ready = true;
  log.info(readyFields([...first.endpoints, ...adminAt], checked), 'ready');
  const ended = await Promise.race([data.died, options.stop.then(() => undefined)]);
  ready = false;
  if (ended === undefined) return drain(data, admin, log);
  admin.close();
  log.error({}, `the data thread died: ${ended}: weir stops, so that nothing passes unjudged`);
  return EXIT.internal;
}

/** What metrics show: the data thread's totals, and what the control thread knows itself. */
function readingsOf(totals: SharedTotals, { config, bytes }: Good, log: Log): Readings {
  const unused = (): number => config.identity.vmsMax - totals.get('vms');
  return {
    events: (type, refused) => totals.events(type, refused),
    get(name) {
      if (name === 'log_lines_lost') return log.lost;
      return name === 'state_bytes' ? bytes.total - unused() * bytes.perVm : totals.get(name);
    },
  };
}

function readyFields(endpoints: readonly Endpoint[], checked: Good): object {
  const at: Record<string, string[]> = {};
  for (const { name, address, port } of endpoints) (at[name] ??= []).push(formatEndpoint(address, port));
  const one = Object.fromEntries(
    Object.entries(at).map(([name, list]) => [name, list.length === 1 ? list[0] : list]),
  );
  return {
    kind: 'ready',
    ...one,
    policy: checked.policy.revision,
    state_bytes_max: checked.bytes.total,
    pid: process.pid,
  };
}

interface DataThread {
  readonly first: Promise<
    Extract<FromData, { kind: 'ready' | 'failed' }> | { kind: 'died'; message: string }
  >;
  readonly died: Promise<string>;
  readonly stopped: Promise<unknown>;
  post(message: ToData): void;
  terminate(): Promise<unknown>;
}

function startDataThread(input: DataThreadInput, log: Log): DataThread {
  const worker = new Worker(new URL(`../data-thread${extname(import.meta.filename)}`, import.meta.url), {
    workerData: input,
  });
  const post = (message: ToData): void => worker.postMessage(message);
  const heard = Promise.withResolvers<Extract<FromData, { kind: 'ready' | 'failed' }>>();
  const stopped = Promise.withResolvers<void>();
  worker.on('message', (message: FromData) => {
    switch (message.kind) {
      case 'records':
        for (const line of message.detections) log.detection(line);
        for (const line of message.traffic) log.traffic(line);
        // A log that nobody reads must hold up the lines, where they are bounded and counted, not pile them up here.
        void log.room().then(() => post({ kind: 'taken' }));
        break;
      case 'error':
        log.error({ kind: 'rail_error' }, `the rail failed closed: ${message.message}`);
        break;
      case 'stopped':
        stopped.resolve();
        break;
      case 'ready':
      case 'failed':
        heard.resolve(message);
        break;
    }
  });
  const died = new Promise<string>((resolve) => {
    worker.once('error', (error) =>
      resolve(error instanceof Error ? (error.stack ?? error.message) : String(error)),
    );
    worker.once('exit', (code) => resolve(`exit ${code}`));
  });
  const first = Promise.race([heard.promise, died.then((message) => ({ kind: 'died' as const, message }))]);
  return { first, died, stopped: stopped.promise, post, terminate: () => worker.terminate() };
}

async function drain(data: DataThread, admin: AdminServer, log: Log): Promise<ExitCode> {
  log.info({ kind: 'stopping' }, `stopping: open requests and tunnels have ${GRACE_MS / 1000} s`);
  data.post({ kind: 'stop', graceMs: GRACE_MS });
  const timer = Promise.withResolvers<void>();
  const late = setTimeout(() => timer.resolve(), GRACE_MS + FORCE_MS);
  // Stopped comes before died when all is well; a thread that dies on its way is an error like any other.
  const died = await Promise.race([data.stopped.then(() => undefined), timer.promise, data.died]);
  clearTimeout(late);
  admin.close();
  await data.terminate();
  if (died !== undefined) log.error({}, `the data thread died while stopping: ${died}`);
  else log.info({ kind: 'stopped' }, 'stopped');
  return died === undefined ? EXIT.stopped : EXIT.internal;
}
