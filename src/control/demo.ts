// `weir demo`: the real program beside an upstream and an origin of its own, a DNS tunnel and a request burst through it, and what
// was answered, logged and counted. Needs no network and leaves nothing behind.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import packet from 'dns-packet';
import { processEnvironment } from '../config/load.ts';
import { startOrigin, startUpstream } from './demo-peers.ts';
import { EXIT } from './exit.ts';
import type { ExitCode } from './exit.ts';

export interface DemoOptions {
  readonly say: (text: string) => void;
  readonly complain: (text: string) => void;
}

const NAMES = 200;
const REQUESTS = 610;
const HOST = 'shop.example.com';
const ANSWER_MS = 3000;

interface RunningWeir {
  readonly child: ChildProcess;
  readonly dns: number;
  readonly http: number;
  /** Detection lines so far. */
  readonly detections: Record<string, unknown>[];
}

export async function demo({ say, complain }: DemoOptions): Promise<ExitCode> {
  const folder = mkdtempSync(join(tmpdir(), 'weir-demo-'));
  const upstream = await startUpstream();
  const origin = await startOrigin();
  let weir: RunningWeir | undefined;
  try {
    weir = await startWeir(folder, upstream.port, origin.port);
    say('weir runs, with an upstream and an origin of its own; everything stays on this machine\n\n');
    await showTunnel(weir, upstream.names, say);
    await showBurst(weir, origin, say);
    await stopWeir(weir);
    showDetections(weir.detections, say);
    return EXIT.stopped;
  } catch (error) {
    complain(`demo: ${error instanceof Error ? error.message : String(error)}`);
    return EXIT.internal;
  } finally {
    weir?.child.kill('SIGKILL');
    upstream.close();
    origin.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function showTunnel(
  weir: RunningWeir,
  reached: ReadonlySet<string>,
  say: DemoOptions['say'],
): Promise<void> {
  say(`1. a DNS tunnel: ${NAMES} new names under exfil.example, as if a file left in labels\n`);
  const counts = new Map<string, number>();
  let sample = '';
  for (let i = 0; i < NAMES; i += 1) {
    const answer = await ask(weir.dns, `chunk-${i}.exfil.example`);
    counts.set(answer.rcode, (counts.get(answer.rcode) ?? 0) + 1);
    sample ||= answer.error;
  }
  const tunnelled = [...reached].filter((name) => name.endsWith('.exfil.example')).length;
  say(`   answered: ${[...counts].map(([rcode, n]) => `${n} ${rcode}`).join(', ')}\n`);
  say(`   reached the upstream: ${tunnelled} names; the rest never left\n`);
  say(`   what dig shows: EDE 15 (Blocked): ${sample}\n`);
  const known = await ask(weir.dns, 'chunk-0.exfil.example');
  const other = await ask(weir.dns, 'www.example.org');
  say(`   a name already used still resolves: ${known.rcode}; another domain: ${other.rcode}\n\n`);
}

async function showBurst(
  weir: RunningWeir,
  origin: { port: number; requests: () => number },
  say: DemoOptions['say'],
): Promise<void> {
  say(`2. a request burst: ${REQUESTS} requests to ${HOST} in a loop\n`);
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  const statuses = new Map<string, number>();
  let retryAfter = '';
  const target = `http://${HOST}:${origin.port}/`;
  for (let i = 0; i < REQUESTS; i += 8) {
    const wave = Array.from({ length: Math.min(8, REQUESTS - i) }, () => get(weir.http, target, agent));
    for (const answer of await Promise.all(wave)) {
      statuses.set(answer.status, (statuses.get(answer.status) ?? 0) + 1);
      retryAfter = answer.retryAfter ?? retryAfter;
    }
  }
  agent.destroy();
  say(`   answered: ${[...statuses].map(([status, n]) => `${n} with ${status}`).join(', ')}\n`);
  say(`   reached the origin: ${origin.requests()}; Retry-After: ${retryAfter} s\n\n`);
}

function showDetections(detections: readonly Record<string, unknown>[], say: DemoOptions['say']): void {
  say('3. what the log says (weir run prints such lines; pick them with jq)\n');
  const counts = new Map<string, number>();
  for (const line of detections) {
    if (line['mode'] !== 'enforce') continue;
    const rule = String(line['rule']);
    if (line['state'] !== 'warned') counts.set(rule, (counts.get(rule) ?? 0) + Number(line['count']));
    if (line['interval'] === true) continue;
    say(
      `   ${String(line['state']).padEnd(8)} ${rule}  ${String(line['key'])}  ${String(line['value'])} of ${String(line['max'])}\n`,
    );
  }
  for (const [rule, count] of counts) say(`   refused by ${rule}: ${count}\n`);
}

function startWeir(folder: string, dnsPort: number, originPort: number): Promise<RunningWeir> {
  const config = {
    dns: { listen: '127.0.0.1:0', upstreams: [`udp://127.0.0.1:${dnsPort}`] },
    http: { listen: '127.0.0.1:0' },
    admin: { listen: '127.0.0.1:0' },
    egress: { allow: [`${HOST}:${originPort}`], ports: [80, 443, 8080] },
    data: folder,
  };
  const file = join(folder, 'weir.yaml');
  writeFileSync(file, JSON.stringify(config));
  const main = join(import.meta.dirname, '..', 'main.ts');
  const child = spawn(process.execPath, [main, 'run', '--config', file], {
    stdio: ['ignore', 'pipe', 'inherit'],
    cwd: folder,
    env: withoutSettings(processEnvironment()),
  });
  // However the demo ends, it leaves nothing behind.
  process.once('exit', () => {
    child.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  });
  const detections: Record<string, unknown>[] = [];
  return new Promise((resolve, reject) => {
    child.once('exit', (code) => reject(new Error(`weir ended with ${code ?? 'a signal'}`)));
    createInterface({ input: child.stdout }).on('line', (text) => {
      const line = JSON.parse(text) as Record<string, unknown>;
      if (line['kind'] === 'detection') detections.push(line);
      if (line['kind'] !== 'ready') return;
      const port = (name: string): number => Number(String(line[name]).split(':').at(-1));
      resolve({ child, dns: port('dns'), http: port('http'), detections });
    });
  });
}

/** A container's WEIR_ variables are for the weir that serves it: the demo's own would listen, and refuse, as that one does. */
function withoutSettings(env: ReturnType<typeof processEnvironment>): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('WEIR_')));
}

/** SIGTERM, and wait: the last lines carry the last counts. */
function stopWeir(weir: RunningWeir): Promise<void> {
  return new Promise((resolve) => {
    weir.child.once('close', () => resolve());
    weir.child.kill('SIGTERM');
  });
}

function ask(port: number, name: string): Promise<{ rcode: string; error: string }> {
  const socket = createSocket('udp4');
  const query = packet.encode({
    type: 'query',
    id: 1,
    flags: packet.RECURSION_DESIRED,
    questions: [{ type: 'A', name }],
    additionals: [
      {
        type: 'OPT',
        name: '.',
        udpPayloadSize: 1232,
        flags: 0,
        extendedRcode: 0,
        ednsVersion: 0,
        flag_do: false,
        options: [],
      },
    ],
  });
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      socket.close();
      reject(new Error(`no answer to ${name}`));
    }, ANSWER_MS);
    socket.on('message', (message) => {
      clearTimeout(timer);
      socket.close();
      const decoded = packet.decode(message) as {
        rcode?: string;
        additionals?: { options?: { code: number; data: Buffer }[] }[];
      };
      const ede = decoded.additionals?.[0]?.options?.find((option) => option.code === 15);
      resolve({ rcode: decoded.rcode ?? 'NONE', error: ede?.data.subarray(2).toString() ?? '' });
    });
    socket.send(query, port, '127.0.0.1');
  });
}

function get(
  proxyPort: number,
  url: string,
  agent: Agent,
): Promise<{ status: string; retryAfter: string | undefined }> {
  return new Promise((resolve, reject) => {
    const asked = request(
      { host: '127.0.0.1', port: proxyPort, path: url, agent, headers: { Host: new URL(url).host } },
      (response) => {
        response.resume();
        response.on('end', () =>
          resolve({ status: String(response.statusCode), retryAfter: response.headers['retry-after'] }),
        );
      },
    );
    asked.on('error', reject);
    asked.end();
  });
}
