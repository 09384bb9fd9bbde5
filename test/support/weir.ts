// The real program for wire tests: started through scripts/weir on ports that the system chose, its log lines kept, ended with
// SIGTERM. VMs are told apart by loopback source addresses: 127.0.0.2 is vm-a, 127.0.0.3 is vm-b.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export const VM_A = '127.0.0.2';
export const VM_B = '127.0.0.3';
const WEIR = join(import.meta.dirname, '..', '..', 'scripts', 'weir');

export type Line = Record<string, unknown>;

export interface RunningWeir {
  readonly dns: number;
  readonly http: number;
  readonly admin: number;
  readonly ready: Line;
  readonly lines: readonly Line[];
  readonly child: ChildProcess;
  /** Resident memory in octets. */
  readonly folder: string;
  /** SIGTERM; resolves with the exit code once all lines are read. */
  stop(): Promise<number | null>;
  metrics(): Promise<Map<string, number>>;
}

export interface StartOptions {
  /** Laid over the test's defaults, section by section. */
  readonly config?: Record<string, Record<string, unknown>>;
  readonly upstreamPort?: number;
  /** A rule pack instead of the shipped one. */
  readonly rules?: string;
  readonly env?: Record<string, string>;
}

export async function startWeir(options: StartOptions = {}): Promise<RunningWeir> {
  const folder = mkdtempSync(join(tmpdir(), 'weir-test-'));
  if (options.rules !== undefined) writeFileSync(join(folder, 'rules.yaml'), options.rules);
  const config = {
    dns: {
      listen: '127.0.0.1:0',
      upstreams: [`udp://127.0.0.1:${options.upstreamPort ?? 9}`],
      ...options.config?.['dns'],
    },
    http: { listen: '127.0.0.1:0', ...options.config?.['http'] },
    admin: { listen: '127.0.0.1:0' },
    egress: { allow: ['127.0.0.0/8'], ...options.config?.['egress'] },
    identity: { unknown: 'one', ...options.config?.['identity'] },
    vms: [
      { id: 'vm-a', sources: [`${VM_A}/32`] },
      { id: 'vm-b', sources: [`${VM_B}/32`] },
    ],
    log: { interval_s: 1, ...options.config?.['log'] },
    state: { ...options.config?.['state'] },
    data: join(folder, 'data'),
    ...(options.rules === undefined
      ? {}
      : { rules: { profiles: { balanced: [join(folder, 'rules.yaml')] } } }),
  };
  const file = join(folder, 'weir.yaml');
  writeFileSync(file, JSON.stringify(config));
  const child = spawn(WEIR, ['run', '--config', file], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
  });
  // A test that fails before it stops its weir must not leave it behind.
  process.once('exit', () => child.kill('SIGKILL'));
  const lines: Line[] = [];
  let complaints = '';
  child.stderr.on('data', (chunk: Buffer) => (complaints += chunk.toString()));
  const ended = new Promise<number | null>((resolve) => {
    child.once('close', (code) => resolve(code));
  });
  const ready = await new Promise<Line>((resolve, reject) => {
    void ended.then((code) => reject(new Error(`weir ended with ${code}: ${complaints}`)));
    createInterface({ input: child.stdout }).on('line', (text) => {
      const line = JSON.parse(text) as Line;
      lines.push(line);
      if (line['kind'] === 'ready') resolve(line);
    });
  });
  const port = (name: string): number => Number(String(ready[name]).split(':').at(-1));
  const admin = port('admin');
  return {
    dns: port('dns'),
    http: port('http'),
    admin,
    ready,
    lines,
    child,
    folder,
    async stop() {
      child.kill('SIGTERM');
      const code = await ended;
      rmSync(folder, { recursive: true, force: true });
      return code;
    },
    async metrics() {
      const text = await (await fetch(`http://127.0.0.1:${admin}/metrics`)).text();
      return new Map(
        text
          .split('\n')
          .filter((line) => line !== '' && !line.startsWith('#'))
          .map((line) => [
            line.slice(0, line.lastIndexOf(' ')),
            Number(line.slice(line.lastIndexOf(' ') + 1)),
          ]),
      );
    },
  };
}

/** Waits until `check` holds; fails with `what` after `ms`. */
export async function until(what: string, check: () => boolean | Promise<boolean>, ms = 5000): Promise<void> {
  for (let left = ms; left > 0; left -= 20) {
    if (await check()) return;
    await new Promise((resolve) => {
      setTimeout(resolve, 20);
    });
  }
  throw new Error(`still not so after ${ms} ms: ${what}`);
}
