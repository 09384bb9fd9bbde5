// Bench `dns`: forwarded queries a second, all names new: weir with its whole shipped pack (limits raised), a bare dgram forwarder,
// dnsdist, unbound and dnsmasq, interleaved on one core, load and upstream on the other.
// Run: node scripts/bench/dns.ts [rounds] [seconds]
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FORWARDERS, startUpstream } from './peers.ts';
import { median, report } from './shape.ts';

const [rounds = 3, seconds = 6] = process.argv.slice(2).map(Number);
const NAMES = 400_000;
const UPSTREAM_PORT = 16_053;
const [PROXY_CORE, LOAD_CORE] = [0, 1];

const folder = mkdtempSync(join(tmpdir(), 'weir-bench-'));
const names = join(folder, 'names');
writeFileSync(
  names,
  Array.from({ length: NAMES }, (_, i) => `h${i}.s${i % 100}.example${i % 7}.com A\n`).join(''),
);

function load(port: number): number {
  const args = [
    '-c',
    String(LOAD_CORE),
    'dnsperf',
    '-s',
    '127.0.0.1',
    '-p',
    String(port),
    '-d',
    names,
    '-c',
    '16',
    '-q',
    '200',
    '-T',
    '1',
    '-l',
    String(seconds),
  ];
  const shown = execFileSync('taskset', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  return Number(/Queries per second:\s+([\d.]+)/.exec(shown)?.[1]);
}

const upstream = await startUpstream(folder, UPSTREAM_PORT, LOAD_CORE);
const results = new Map<string, number[]>();
try {
  for (let round = 0; round < rounds; round += 1) {
    for (const [i, start] of FORWARDERS.entries()) {
      const peer = await start(join(folder, `${i}`), UPSTREAM_PORT + 1 + i, UPSTREAM_PORT, PROXY_CORE);
      results.set(peer.name, [...(results.get(peer.name) ?? []), load(peer.port)]);
      peer.process.kill('SIGTERM');
      await new Promise((resolve) => {
        peer.process.once('close', resolve);
      });
    }
  }
} finally {
  upstream.process.kill('SIGTERM');
  rmSync(folder, { recursive: true, force: true });
}

const weir = results.get('weir') ?? [];
report(
  'dns',
  [...results].map(([name, list]) => ({
    forwarder: name,
    'queries/s, median': Math.round(median(list)),
    rounds: list.map((n) => Math.round(n)).join(' '),
    'weir is ×': median(weir.map((own, i) => own / (list[i] ?? Number.NaN))).toFixed(2),
  })),
);
