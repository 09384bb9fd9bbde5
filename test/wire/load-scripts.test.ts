// The load scripts, for a person and for CI: their counts, and their exit when the counts are not as expected.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startUpstream } from '../support/dns-upstream.ts';
import type { RecordingUpstream } from '../support/dns-upstream.ts';
import { startOrigin } from '../support/http-origin.ts';
import type { Origin } from '../support/http-origin.ts';
import { startWeir, VM_A, VM_B } from '../support/weir.ts';
import type { RunningWeir } from '../support/weir.ts';

const SCRIPTS = join(import.meta.dirname, '..', '..', 'scripts');

let upstream: RecordingUpstream;
let origin: Origin;
let weir: RunningWeir;
beforeAll(async () => {
  upstream = await startUpstream();
  origin = await startOrigin();
  weir = await startWeir({
    upstreamPort: upstream.port,
    config: { egress: { allow: ['127.0.0.0/8'], ports: [origin.port] } },
  });
});
afterAll(async () => {
  expect(await weir.stop()).toBe(0);
  await upstream.close();
  origin.close();
});

function run(
  script: string,
  args: readonly string[],
): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    execFile(join(SCRIPTS, script), args, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}
const dns = (suffix: string, ...more: string[]): Promise<{ code: number; stdout: string; stderr: string }> =>
  run('dns-load.sh', ['--port', String(weir.dns), '--suffix', suffix, '--bind', VM_A, ...more]);

describe('dns-load.sh', () => {
  for (const tcp of [[], ['--tcp']]) {
    it(`counts each rcode ${tcp.join('')}, exit 0 when they are as expected`, async () => {
      const ran = await dns(
        `good${tcp.length}.example`,
        '--count',
        '200',
        '--expect',
        'NXDOMAIN=140,NOERROR=60',
        ...tcp,
      );
      expect(ran).toMatchObject({ code: 0, stdout: 'NOERROR=60\nNXDOMAIN=140\n' });
    });
  }

  it('exits 1 when they are not, 2 for wrong usage', async () => {
    const ran = await dns('bad.example', '--count', '10', '--expect', 'NOERROR=9');
    expect(ran).toMatchObject({ code: 1, stdout: 'NOERROR=10\n' });
    expect(ran.stderr).toContain('expected NOERROR=9');
    expect((await run('dns-load.sh', ['--cuont', '3'])).code).toBe(2);
    expect((await run('dns-load.sh', ['--count', 'many'])).code).toBe(2);
  });
});

describe('http-load.sh', () => {
  const http = (from: string, ...more: string[]): Promise<{ code: number; stdout: string; stderr: string }> =>
    run('http-load.sh', [
      ...['--proxy', `http://127.0.0.1:${weir.http}`, '--interface', from],
      ...['--url', `http://127.0.0.1:${origin.port}/`, '--count', '650', ...more],
    ]);

  it('counts each status of requests: 600 a minute pass', async () => {
    expect(await http(VM_A, '--expect', '200=600,429=50')).toMatchObject({
      code: 0,
      stdout: '200=600\n429=50\n',
    });
  });

  it('counts each status of CONNECTs alike, refused ones by the status of the refusal', async () => {
    expect(await http(VM_B, '--connect', '--expect', '200=600,429=50')).toMatchObject({
      code: 0,
      stdout: '200=600\n429=50\n',
    });
  });

  it('exits 1 when they are not as expected, 2 for wrong usage', async () => {
    expect((await http(VM_A, '--expect', '200=650')).code).toBe(1);
    expect((await run('http-load.sh', [])).code).toBe(2);
  });
});
