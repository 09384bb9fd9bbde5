// The log as people and their programs read it, and what becomes of it when nobody reads or nothing can be written.
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLog } from '../../../src/control/log.ts';
import type { Log } from '../../../src/control/log.ts';
import { openStdout } from '../../../src/control/log-stdout.ts';
import type { Detection } from '../../../src/rail/record.ts';
import { FakeClock } from '../../support/fake-clock.ts';

type Line = Record<string, unknown>;
const linesOf = (text: string): Line[] =>
  text
    .trimEnd()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Line);

const DETECTION: Detection = {
  rule: 'dns-new-name-burst',
  ruleLevel: 'high',
  title: 'Many new names',
  eventId: '01hzzzzzzzzzzzzzzzzzzzzzzz',
  eventType: 'dns.query',
  vm: 'vm-a',
  profile: 'balanced',
  key: 'vm=vm-a dns.suffix=example.com',
  value: 60,
  max: 60,
  windowMs: 60_000,
  state: 'blocked',
  mode: 'enforce',
  verdict: 'block',
  count: 1,
  interval: false,
  time: Date.UTC(2026, 10, 21, 4, 5, 6, 789),
  message: 'too many new names under example.com',
  retryAfterMs: 60_000,
  answer: 'nxdomain',
};

let folder: string;
let stdout: string;
let descriptor: number;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'weir-log-'));
  stdout = join(folder, 'stdout');
  descriptor = openSync(stdout, 'a');
});
afterEach(() => {
  closeSync(descriptor);
  rmSync(folder, { recursive: true, force: true });
});

const open = (options: { file?: string; descriptor?: number } = {}): Log =>
  createLog({
    file: null,
    maxBytes: 1_000_000,
    keep: 2,
    pretty: false,
    clock: new FakeClock(),
    descriptor,
    ...options,
  });

async function written(log: Log): Promise<Line[]> {
  await log.flush();
  return linesOf(readFileSync(stdout, 'utf8'));
}

describe('a line', () => {
  it('has time and level in words, its fields, and a message', async () => {
    const log = open();
    log.info({ kind: 'ready', dns: '127.0.0.1:53' }, 'ready');
    log.warn({}, 'careful');
    log.error({}, 'broken');
    expect(await written(log)).toEqual([
      { level: 'info', time: '2027-01-15T08:16:40.000Z', kind: 'ready', dns: '127.0.0.1:53', msg: 'ready' },
      { level: 'warn', time: '2027-01-15T08:16:40.000Z', msg: 'careful' },
      { level: 'error', time: '2027-01-15T08:16:40.000Z', msg: 'broken' },
    ]);
  });

  it('of a detection has all that people filter by, and the time of the event', async () => {
    const log = open();
    log.detection(DETECTION);
    expect(await written(log)).toEqual([
      {
        time: '2026-11-21T04:05:06.789Z',
        level: 'warn',
        msg: 'blocked: too many new names under example.com',
        kind: 'detection',
        rule: 'dns-new-name-burst',
        rule_level: 'high',
        event: '01hzzzzzzzzzzzzzzzzzzzzzzz',
        event_type: 'dns.query',
        vm: 'vm-a',
        profile: 'balanced',
        key: 'vm=vm-a dns.suffix=example.com',
        value: 60,
        max: 60,
        window: '1m',
        window_ms: 60_000,
        state: 'blocked',
        mode: 'enforce',
        verdict: 'block',
        answer: 'nxdomain',
        retry_after_ms: 60_000,
        count: 1,
        interval: false,
      },
    ]);
  });

  it('of a detection is a warning only where something was refused', async () => {
    const log = open();
    log.detection(DETECTION);
    log.detection({ ...DETECTION, mode: 'shadow' });
    log.detection({ ...DETECTION, state: 'warned', verdict: 'allow' });
    log.detection({ ...DETECTION, state: 'released' });
    expect((await written(log)).map(({ level }) => level)).toEqual(['warn', 'info', 'info', 'info']);
  });

  it('of traffic has its kind as message, and its fields as they are', async () => {
    const log = open();
    log.traffic({ kind: 'query', vm: 'vm-a', source: '192.0.2.1', name: 'a\nb"\u2028.example', ms: 3 });
    expect(await written(log)).toMatchObject([
      { kind: 'query', vm: 'vm-a', name: 'a\nb"\u2028.example', ms: 3, msg: 'query', level: 'info' },
    ]);
  });

  it('is the same in the file and on stdout', async () => {
    const file = join(folder, 'weir.log');
    const log = open({ file });
    log.detection(DETECTION);
    log.info({ kind: 'stopped' }, 'stopped');
    const lines = await written(log);
    expect(lines).toHaveLength(2);
    expect(readFileSync(file, 'utf8')).toBe(readFileSync(stdout, 'utf8'));
  });

  it('is found with the jq of the README', async () => {
    const log = open();
    log.info({}, 'not this one');
    log.detection(DETECTION);
    await log.flush();
    const found = execFileSync('jq', ['-c', 'select(.kind=="detection")', stdout], { encoding: 'utf8' });
    expect(linesOf(found)).toMatchObject([{ rule: 'dns-new-name-burst' }]);
  });
});

describe('trouble with one destination is told of on the other', () => {
  it('once for a file that can not be written, with the number of lines when it can', async () => {
    const file = join(folder, 'later', 'weir.log');
    const log = open({ file });
    log.info({ n: 1 }, 'one');
    log.info({ n: 2 }, 'two');
    execFileSync('mkdir', [join(folder, 'later')]);
    log.info({ n: 3 }, 'three');
    expect(log.lost).toBe(2);
    const lines = await written(log);
    expect(lines.map(({ kind, n }) => kind ?? n)).toEqual([1, 'log_failed', 2, 3, 'log_lost']);
    expect(lines[1]).toMatchObject({ level: 'error', file, msg: expect.stringContaining('ENOENT') });
    expect(lines[4]).toMatchObject({ level: 'warn', file, lines: 2 });
    expect(linesOf(readFileSync(file, 'utf8')).map(({ kind, n }) => kind ?? n)).toEqual([3, 'log_lost']);
  });

  it('once for a full disk behind stdout; the file has every line', async () => {
    const full = openSync('/dev/full', 'w');
    const file = join(folder, 'weir.log');
    const log = open({ file, descriptor: full });
    for (let n = 0; n < 50; n += 1) {
      log.info({ n }, 'line');
      await new Promise(setImmediate);
    }
    await log.flush();
    closeSync(full);
    const lines = linesOf(readFileSync(file, 'utf8'));
    expect(lines.filter(({ msg }) => msg === 'line')).toHaveLength(50);
    expect(lines.filter(({ kind }) => kind === 'log_failed')).toMatchObject([
      { level: 'error', msg: expect.stringContaining('ENOSPC') },
    ]);
  });
});

describe('stdout that nobody reads', () => {
  const LINE = `${'x'.repeat(999)}\n`;

  it('makes whoever brings lines wait, and takes them all once it is read', async () => {
    const fifo = join(folder, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const reader = spawn('sh', ['-c', 'exec 3<"$0"; read go; cat <&3 | wc -c', fifo], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let counted = '';
    reader.stdout.on('data', (chunk: Buffer) => (counted += chunk.toString()));
    const ended = new Promise((resolve) => {
      reader.once('close', resolve);
    });
    const pipe = openSync(fifo, 'w');
    const out = openStdout({ descriptor: pipe, onError: (why) => expect.fail(why) });
    await out.room();
    for (let n = 0; n < 3000; n += 1) out.write(LINE);
    let hasRoom = false;
    const room = out.room().then(() => (hasRoom = true));
    await new Promise((resolve) => {
      setTimeout(resolve, 100);
    });
    expect(hasRoom).toBe(false);
    reader.stdin.end('go\n');
    await room;
    await out.flush();
    closeSync(pipe);
    await ended;
    expect(Number(counted)).toBe(3_000_000);
    expect(out.lost).toBe(0);
  });

  it('and is gone costs its lines, not the process, and holds nobody up', async () => {
    const fifo = join(folder, 'fifo');
    execFileSync('mkfifo', [fifo]);
    const reader = spawn('sh', ['-c', 'exec 3<"$0"', fifo], { stdio: 'ignore' });
    const pipe = openSync(fifo, 'w');
    await new Promise((resolve) => {
      reader.once('close', resolve);
    });
    const errors: string[] = [];
    const out = openStdout({ descriptor: pipe, onError: (why) => errors.push(why) });
    for (let n = 0; n < 3000; n += 1) out.write(LINE);
    await out.room();
    await out.flush();
    closeSync(pipe);
    expect(errors).toEqual([expect.stringContaining('EPIPE')]);
  });

  it('keeps no more than a bound, and counts what it could not keep', () => {
    const full = openSync('/dev/full', 'w');
    const out = openStdout({ descriptor: full, onError: () => undefined });
    const megabyte = `${'x'.repeat(2 ** 20 - 1)}\n`;
    for (let n = 0; n < 70; n += 1) out.write(megabyte);
    expect(out.lost).toBe(6);
    closeSync(full);
  });
});
