// Every command of the README is run, in the order in which it stands there, against peers of the test's own.
import { execFile, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startUpstream } from '../support/dns-upstream.ts';
import type { RecordingUpstream } from '../support/dns-upstream.ts';
import { startOrigin } from '../support/http-origin.ts';
import type { Origin } from '../support/http-origin.ts';
import { until } from '../support/weir.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const README = readFileSync(join(ROOT, 'README.md'), 'utf8');
const blocks = [...README.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map(([, block = '']) => block.trim());
const folder = mkdtempSync(join(tmpdir(), 'weir-readme-'));
const log = join(folder, 'weir.log');

/** What each block must print. The two that start weir are run by this test's start and by the test of a clean clone. */
const EXPECTED: readonly (readonly [string, string | RegExp])[] = [
  ['npm ci\nnpm start', 'started'],
  ['dig @127.0.0.1', /status: NOERROR[\s\S]*hello[\s\S]*ready/],
  ['scripts/weir demo', '60 NOERROR, 140 NXDOMAIN'],
  ['scripts/dns-load.sh', /NOERROR=60\nNXDOMAIN=140[\s\S]*EDE: 15 \(Blocked\)/],
  ['scripts/http-load.sh', /200=599\n429=51/],
  ['export HTTP_PROXY', /^$/],
  ['WEIR_LOG_FILE=/tmp/weir.log npm start', 'started'],
  ['tail -F', /"rule": "dns-new-name-burst"/],
];

let upstream: RecordingUpstream;
let origin: Origin;
let weir: ChildProcess;
beforeAll(async () => {
  upstream = await startUpstream();
  origin = await startOrigin();
  const env = {
    ...process.env,
    WEIR_LOG_FILE: log,
    WEIR_DATA: join(folder, 'data'),
    WEIR_DNS_UPSTREAMS: `udp://127.0.0.1:${upstream.port}`,
    WEIR_EGRESS_ALLOW: `127.0.0.0/8,www.example.com:${origin.port}`,
    WEIR_EGRESS_PORTS: `80,${origin.port}`,
  };
  weir = spawn('npm', ['start'], { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  weir.stdout?.on('data', (chunk: Buffer) => (out += chunk.toString()));
  await until('weir is ready on its default ports', () => out.includes('"kind":"ready"'), 20_000);
});
afterAll(async () => {
  weir.kill('SIGTERM');
  await new Promise((resolve) => {
    weir.once('close', resolve);
  });
  await upstream.close();
  origin.close();
  rmSync(folder, { recursive: true, force: true });
});

/** The command as it stands, but for the origin's port, the log's place, and an end to what would follow for ever. */
function asRun(block: string): string {
  return block
    .replaceAll('http://www.example.com/', `http://www.example.com:${origin.port}/`)
    .replaceAll('/tmp/weir.log', log)
    .replace(/^tail -F/, 'timeout 3 tail -n +1 -F');
}

describe('the README', () => {
  it('has no shell block that this test doesn’t know', () => {
    expect(blocks.map((block) => EXPECTED.findIndex(([start]) => block.startsWith(start)))).toEqual(
      EXPECTED.map((_, i) => i),
    );
  });

  for (const [i, [start, told]] of EXPECTED.entries()) {
    if (told === 'started') continue;
    it(`shows what \`${start}\` does`, async () => {
      // Not synchronously: the upstream and the origin live in this very process.
      const shown = await new Promise<string>((resolve) => {
        execFile('bash', ['-c', asRun(blocks[i] ?? '')], { cwd: ROOT }, (_error, stdout) => resolve(stdout));
      });
      expect(shown).toMatch(told);
    });
  }
});
