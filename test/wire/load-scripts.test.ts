// The load scripts, as a person and CI use them: what they count, and when they say that it isn't as expected.
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
  await weir.stop();
  await upstream.close();
  origin.close();
});

interface Ended {
  readonly exit: number;
  readonly said: string;
  readonly complained: string;
}

function run(name: string, ...options: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const child = execFile(join(SCRIPTS, name), options, (_error, said, complained) =>
      resolve({ exit: child.exitCode ?? -1, said, complained }),
    );
    child.stdin?.end();
  });
}

const dnsLoad = (...options: string[]): Promise<Ended> =>
  run('dns-load.sh', '--port', String(weir.dns), ...options);
const httpLoad = (host: string, ...options: string[]): Promise<Ended> => {
  const proxy = `http://127.0.0.1:${weir.http}`;
  return run('http-load.sh', '--proxy', proxy, '--url', `http://${host}:${origin.port}/`, ...options);
};

describe('dns-load.sh', () => {
  for (const transport of ['udp', 'tcp']) {
    it(`over ${transport} counts what was answered and is content when that was expected`, async () => {
      const options = ['--bind', VM_A, '--suffix', `load-${transport}.example`, '--count', '200'];
      if (transport === 'tcp') options.push('--tcp');
      const ended = await dnsLoad(...options, '--expect', 'NOERROR=60,NXDOMAIN=140,SERVFAIL=0');
      expect(ended).toEqual({ exit: 0, said: 'NOERROR=60\nNXDOMAIN=140\n', complained: '' });
      expect(
        [...upstream.names()].filter((each) => each.endsWith(`.load-${transport}.example`)),
      ).toHaveLength(60);
    });
  }

  it('makes names by its pattern and asks for the type', async () => {
    const options = ['--bind', VM_B, '--suffix', 'pattern.example', '--count', '3'];
    await dnsLoad(...options, '--pattern', 'chunk-{}-{}', '--type', 'TXT');
    expect([...upstream.names()].filter((each) => each.endsWith('.pattern.example'))).toEqual(
      [0, 1, 2].map((n) => `chunk-${n}-${n}.pattern.example`),
    );
  });

  it('exits 1 when it was not as expected, and says what was', async () => {
    const options = ['--bind', VM_B, '--suffix', 'wrong.example', '--count', '5'];
    expect(await dnsLoad(...options, '--expect', 'NOERROR=4,NXDOMAIN=1')).toEqual({
      exit: 1,
      said: 'NOERROR=5\n',
      complained: 'dns-load.sh: expected NOERROR=4,NXDOMAIN=1\n',
    });
  });

  it('counts a name that nobody answers once', async () => {
    const ended = await run(
      'dns-load.sh',
      '--port',
      '1',
      '--count',
      '3',
      '--batch',
      '2',
      '--expect',
      'TIMEOUT=3',
    );
    expect(ended).toMatchObject({ exit: 0, said: 'TIMEOUT=3\n' });
  });

  for (const options of [
    ['--count', 'many'],
    ['--count', '0'],
    ['--batch', ''],
    ['--port'],
    ['--frobnicate'],
  ]) {
    it(`exits 2 for ${JSON.stringify(options)}`, async () => {
      const ended = await run('dns-load.sh', ...options);
      expect(ended).toMatchObject({
        exit: 2,
        said: '',
        complained: expect.stringContaining('usage: dns-load.sh'),
      });
    });
  }
});

describe('http-load.sh', () => {
  it('counts what was answered and is content when that was expected', async () => {
    const options = ['--interface', VM_A, '--count', '620', '--expect', '200=600,429=20'];
    expect(await httpLoad('shop.example', ...options)).toEqual({
      exit: 0,
      said: '200=600\n429=20\n',
      complained: '',
    });
  });

  it('with --connect counts tunnels, and a refused CONNECT by its status', async () => {
    const options = ['--interface', VM_B, '--count', '610', '--connect', '--expect', '200=600,429=10'];
    expect(await httpLoad('tunnels.example', ...options)).toMatchObject({
      exit: 0,
      said: '200=600\n429=10\n',
    });
  });

  it('exits 1 when it was not as expected, and says what was', async () => {
    const options = ['--interface', VM_A, '--count', '4', '--expect', '200=3,429=1'];
    expect(await httpLoad('other.example', ...options)).toEqual({
      exit: 1,
      said: '200=4\n',
      complained: 'http-load.sh: expected 200=3,429=1\n',
    });
  });

  it('counts a request that nobody answers as 000', async () => {
    const ended = await run(
      'http-load.sh',
      '--proxy',
      'http://127.0.0.1:1',
      '--url',
      'http://a.example/',
      '--count',
      '3',
    );
    expect(ended).toMatchObject({ exit: 0, said: '000=3\n' });
  });

  for (const options of [
    [],
    ['--url'],
    ['--url', 'http://a.example/', '--parallel', 'x'],
    ['--frobnicate'],
  ]) {
    it(`exits 2 for ${JSON.stringify(options)}`, async () => {
      const ended = await run('http-load.sh', ...options);
      expect(ended).toMatchObject({ exit: 2, complained: expect.stringContaining('usage: http-load.sh') });
    });
  }
});
