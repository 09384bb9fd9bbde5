// Start, stop and commands, as a person meets them: from a clean clone, with wrong configuration, with a taken port.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ask } from '../support/dns-client.ts';
import { startUpstream } from '../support/dns-upstream.ts';
import type { RecordingUpstream } from '../support/dns-upstream.ts';
import { sendRaw } from '../support/http-client.ts';
import { startWeir, until } from '../support/weir.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const WEIR = join(ROOT, 'scripts', 'weir');
const scratch = mkdtempSync(join(tmpdir(), 'weir-start-'));
const PORTS_OF_CHANCE = {
  WEIR_DNS_LISTEN: '127.0.0.1:0',
  WEIR_HTTP_LISTEN: '127.0.0.1:0',
  WEIR_ADMIN_LISTEN: '127.0.0.1:0',
  WEIR_DATA: join(scratch, 'data'),
};

let upstream: RecordingUpstream;
beforeAll(async () => {
  upstream = await startUpstream();
});
afterAll(async () => {
  await upstream.close();
  rmSync(scratch, { recursive: true, force: true });
});

function weir(
  args: readonly string[],
  env: Record<string, string> = {},
): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(WEIR, args, { encoding: 'utf8', cwd: scratch, env: { ...process.env, ...env } });
}
function config(text: string): string {
  const file = join(scratch, `${Math.random()}.yaml`);
  writeFileSync(file, text);
  return file;
}

describe('from a clean clone', () => {
  it(
    '`npm ci && npm start` runs the proxy under the Node that it brings, SIGTERM ends it with 0',
    { timeout: 180_000 },
    async () => {
      const clone = join(scratch, 'clone');
      for (const file of execFileSync('git', ['ls-files', '-z'], { cwd: ROOT, encoding: 'utf8' }).split(
        '\0',
      )) {
        if (file === '' || !existsSync(join(ROOT, file))) continue;
        mkdirSync(dirname(join(clone, file)), { recursive: true });
        cpSync(join(ROOT, file), join(clone, file));
      }
      // As a person's shell has it: without the pinned Node in front, which npm put there for this test run.
      const path = (process.env['PATH'] ?? '')
        .split(':')
        .filter((part) => !part.includes('node_modules'))
        .join(':');
      const env = {
        ...process.env,
        PATH: path,
        ...PORTS_OF_CHANCE,
        WEIR_DNS_UPSTREAMS: `udp://127.0.0.1:${upstream.port}`,
      };
      execFileSync('npm', ['ci'], { cwd: clone, env, stdio: 'pipe' });
      const started = spawn('npm', ['start'], { cwd: clone, env, stdio: ['ignore', 'pipe', 'inherit'] });
      const ended = new Promise<number | null>((resolve) => {
        started.once('close', (code) => resolve(code));
      });
      const ready = await new Promise<Record<string, unknown>>((resolve, reject) => {
        void ended.then((code) => reject(new Error(`npm start ended with ${code}`)));
        createInterface({ input: started.stdout }).on('line', (line) => {
          if (line.startsWith('{')) resolve(JSON.parse(line) as Record<string, unknown>);
        });
      });
      expect(ready).toMatchObject({ kind: 'ready', msg: 'ready' });
      const port = Number(String(ready['dns']).split(':').at(-1));
      expect((await ask('www.example.com', { port })).addresses).toEqual(['127.0.0.1']);
      started.kill('SIGTERM');
      expect(await ended).toBe(0);
    },
  );
});

describe('weir demo', () => {
  it('needs no network and prints what happened: 60 of 200 names, 600 of 610 requests', () => {
    const shown = execFileSync(WEIR, ['demo'], { encoding: 'utf8' });
    expect(shown).toContain('answered: 60 NOERROR, 140 NXDOMAIN');
    expect(shown).toContain('reached the upstream: 60 names');
    expect(shown).toMatch(/EDE 15 \(Blocked\): rule=dns-new-name-burst id=\w{26}/);
    expect(shown).toContain('a name already used still resolves: NOERROR; another domain: NOERROR');
    expect(shown).toContain('answered: 600 with 200, 10 with 429');
    expect(shown).toMatch(/reached the origin: 600; Retry-After: \d+ s/);
    expect(shown).toContain('refused by dns-new-name-burst: 140');
    expect(shown).toContain('refused by http-host-requests: 10');
  });
});

describe('weir run', () => {
  it('lets what is open end after SIGTERM, tells the last counts, and exits 0', async () => {
    const running = await startWeir({ upstreamPort: upstream.port });
    for (let i = 0; i < 65; i += 1) await ask(`n${i}.last.example`, { port: running.dns });
    expect(await running.stop()).toBe(0);
    const lines = running.lines.filter(
      (l) => l['kind'] === 'detection' && l['rule'] === 'dns-new-name-burst' && l['state'] !== 'warned',
    );
    expect(lines.reduce((sum, l) => sum + Number(l['count']), 0)).toBe(5);
    expect(running.lines.at(-1)).toMatchObject({ kind: 'stopped' });
  });

  it('serves health, readiness and metrics, and nothing to web pages or other host names', async () => {
    const running = await startWeir({ upstreamPort: upstream.port });
    const get = async (path: string, headers: Record<string, string> = {}): Promise<number> =>
      (await fetch(`http://127.0.0.1:${running.admin}${path}`, { headers })).status;
    expect(await get('/healthz')).toBe(200);
    expect(await get('/readyz')).toBe(200);
    expect(await get('/metrics')).toBe(200);
    expect(await get('/elsewhere')).toBe(404);
    expect(await get('/metrics', { origin: 'http://evil.example' })).toBe(403);
    const rebound = execFileSync('curl', [
      '-s',
      '-o',
      '/dev/null',
      '-w',
      '%{http_code}',
      '-H',
      'Host: evil.example',
      `http://127.0.0.1:${running.admin}/metrics`,
    ]);
    expect(rebound.toString()).toBe('421');
    const through = execFileSync('curl', [
      '-s',
      '-o',
      '/dev/null',
      '-w',
      '%{http_code}',
      '-x',
      `http://127.0.0.1:${running.http}`,
      '--noproxy',
      '',
      `http://127.0.0.1:${running.admin}/metrics`,
    ]);
    expect(through.toString()).toBe('403');
    const admin = `http://127.0.0.1:${running.admin}/metrics`;
    const refused = await sendRaw(
      `GET ${admin} HTTP/1.1\r\nHost: 127.0.0.1:${running.admin}\r\nConnection: close\r\n\r\n`,
      { proxy: running.http },
    );
    expect(refused).toContain('a listener of weir itself: it is never reachable');
    await running.stop();
  });

  it('keeps its key in the data folder, readable by its owner alone, and refuses a damaged one', async () => {
    const data = join(scratch, 'keyed');
    const running = await startWeir({ upstreamPort: upstream.port, env: { WEIR_DATA: data } });
    await running.stop();
    const key = join(data, 'state.key');
    expect(statSync(key).mode & 0o777).toBe(0o600);
    expect(readFileSync(key)).toHaveLength(32);
    writeFileSync(key, 'short');
    const refused = weir(['run'], {
      ...PORTS_OF_CHANCE,
      WEIR_DATA: data,
      WEIR_DNS_UPSTREAMS: 'udp://127.0.0.1:9',
    });
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain('state.key: has 5 octets, not 32');
  });

  it('exits 3 naming the address when a listener is taken, for each listener', async () => {
    const taken = createServer();
    await new Promise<void>((resolve) => {
      taken.listen(0, '127.0.0.1', resolve);
    });
    const { port } = taken.address() as AddressInfo;
    for (const section of ['DNS', 'HTTP', 'ADMIN']) {
      const refused = weir(['run'], {
        ...PORTS_OF_CHANCE,
        [`WEIR_${section}_LISTEN`]: `127.0.0.1:${port}`,
        WEIR_DNS_UPSTREAMS: 'udp://127.0.0.1:9',
      });
      expect(refused.status, refused.stderr).toBe(3);
      expect(refused.stderr).toMatch(new RegExp(`listen on 127\\.0\\.0\\.1:${port}.*EADDRINUSE`));
    }
    taken.close();
  });

  it('ends with 70 when the data thread dies: nothing may pass unjudged', async () => {
    // Loaded before weir in each of its threads; it kills the one that decides, half a second after its start.
    const bomb = `import { isMainThread } from 'node:worker_threads';
      if (!isMainThread) setTimeout(() => { throw new Error('a bug'); }, 500);`;
    const running = await startWeir({
      upstreamPort: upstream.port,
      env: { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(bomb)}` },
    });
    const code = await new Promise((resolve) => {
      running.child.once('close', resolve);
    });
    expect(code).toBe(70);
    expect(running.lines.at(-1)).toMatchObject({
      level: 'error',
      msg: expect.stringContaining('the data thread died: Error: a bug'),
    });
    rmSync(running.folder, { recursive: true, force: true });
  });

  it('writes the log file too, rotated by size, so that tail -F can follow', async () => {
    const file = join(scratch, 'weir.log');
    const running = await startWeir({
      upstreamPort: upstream.port,
      config: {
        log: { file, max_bytes: 65_536, keep: 9, interval_s: 1, traffic: { dns: 'all', http: 'all' } },
      },
    });
    for (let i = 0; i < 700; i += 1) await ask('same.example', { port: running.dns });
    await until('the file was rotated', () => existsSync(`${file}.1`));
    await running.stop();
    const files = [file, ...Array.from({ length: 9 }, (_, i) => `${file}.${i + 1}`)].filter((name) =>
      existsSync(name),
    );
    const all = files.map((name) => readFileSync(name, 'utf8')).join('');
    const lines = all
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(lines.filter((l) => l['kind'] === 'query')).toHaveLength(700);
    expect(statSync(`${file}.1`).size).toBeLessThanOrEqual(65_536);
  });
});

describe('weir check and wrong input', () => {
  it('prints the memory bound, exit 0', () => {
    const shown = weir(['check'], { WEIR_DNS_UPSTREAMS: 'udp://192.0.2.53' });
    expect(shown.status).toBe(0);
    expect(shown.stdout).toMatch(/state: at most [\d.]+ MiB, [\d.]+ MiB a VM/);
    expect(shown.stdout).toContain('profile balanced: 9 rules, 6 enforced');
  });

  it.each([
    [
      'an unknown key, with a hint',
      'dns: { lisen: "127.0.0.1:1" }',
      /:1:\d+: unknown key `dns\.lisen`: did you mean `listen`\?/,
    ],
    [
      'a listener without a port',
      'http: { listen: "127.0.0.1" }',
      /:1:\d+: http\.listen: must be an IP address and a port/,
    ],
    [
      'an upstream by name',
      'dns: { upstreams: ["udp://dns.example"] }',
      /dns\.upstreams.*is not an IP address/s,
    ],
    [
      'an upstream that is weir itself',
      'dns: { listen: "127.0.0.1:5300", upstreams: ["udp://127.0.0.1:5300"] }',
      /is weir's own listener/,
    ],
    [
      'two VMs with one address',
      'vms: [{ id: a, sources: ["10.0.0.1"] }, { id: b, sources: ["10.0.0.1/32"] }]',
      /10\.0\.0\.1\/32 already belongs to `a`/,
    ],
    [
      'a range with bits behind its length',
      'vms: [{ id: a, sources: ["10.0.0.1/8"] }]',
      /without bits behind its length/,
    ],
    [
      'a profile that is not there',
      'vms: [{ id: a, sources: ["10.0.0.1"], profile: lax }]',
      /no profile `lax`: there is balanced/,
    ],
    [
      'a rule file that is not there',
      'rules: { profiles: { balanced: [nowhere/*.yaml] } }',
      /no file matches `nowhere\/\*\.yaml`/,
    ],
    ['a wildcard in egress.allow', 'egress: { allow: ["*.example.com"] }', /wildcards are not understood/],
    ['too much state', 'identity: { vms_max: 60000 }', /state\.max_bytes: 60000 VMs need/],
    ['no YAML', 'dns: {', /:\d+:\d+: /],
  ])('%s: exit 1, with its place', (_what, text, told) => {
    const file = config(text);
    const refused = weir(['check', '--config', file], {
      WEIR_DNS_UPSTREAMS: text.includes('upstreams') ? '' : 'udp://192.0.2.53',
    });
    expect(refused.status).toBe(1);
    expect(refused.stderr).toMatch(told);
  });

  it('a misspelt variable: exit 1 with a hint', () => {
    const refused = weir(['check'], { WEIR_DNS_LISTN: '127.0.0.1:1' });
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain('WEIR_DNS_LISTN: unknown variable: did you mean `WEIR_DNS_LISTEN`?');
  });

  it('no command, an unknown one, an unknown option: exit 2 with the usage', () => {
    for (const args of [[], ['runn'], ['run', '--conf', 'x'], ['check', 'more']])
      expect(weir(args).status, args.join(' ')).toBe(2);
    expect(weir(['--help']).status).toBe(0);
  });

  it('weir health: 0 for a running weir, 1 with the reason when there is none', async () => {
    const probe = createServer();
    await new Promise<void>((resolve) => {
      probe.listen(0, '127.0.0.1', resolve);
    });
    const { port } = probe.address() as AddressInfo;
    await new Promise((resolve) => {
      probe.close(resolve);
    });
    const env = { WEIR_ADMIN_LISTEN: `127.0.0.1:${port}`, WEIR_DNS_UPSTREAMS: 'udp://192.0.2.53' };
    const none = weir(['health'], env);
    expect(none.status).toBe(1);
    expect(none.stderr).toContain('not healthy: ECONNREFUSED');
    const running = await startWeir({ upstreamPort: upstream.port, env });
    expect(weir(['health'], env)).toMatchObject({ status: 0, stdout: 'healthy\n' });
    await running.stop();
  });
});
