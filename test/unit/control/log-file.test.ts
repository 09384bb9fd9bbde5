// The log file: what stands in it after growth, failures and other people's hands.
import { execFileSync, spawn } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openLogFile } from '../../../src/control/log-file.ts';
import type { LogFile } from '../../../src/control/log-file.ts';

let folder: string;
let path: string;
let errors: string[];
let again: number[];
let file: LogFile | undefined;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'weir-log-'));
  path = join(folder, 'weir.log');
  errors = [];
  again = [];
});
afterEach(() => {
  file?.close();
  rmSync(folder, { recursive: true, force: true });
});

function open(options: { path?: string; maxBytes?: number; keep?: number } = {}): LogFile {
  file = openLogFile({
    path,
    maxBytes: 1000,
    keep: 2,
    onError: (why) => errors.push(why),
    onAgain: (lost) => again.push(lost),
    ...options,
  });
  return file;
}

const text = (name: string): string => readFileSync(join(folder, name), 'utf8');
/** A line of ten octets. */
const line = (n: number): string => `${String(n).padStart(9, '0')}\n`;

describe('a log file', () => {
  it('is appended to, over restarts too', () => {
    writeFileSync(path, 'before\n');
    const log = open();
    log.write('one\n');
    log.write('two\n');
    expect(text('weir.log')).toBe('before\none\ntwo\n');
    expect(errors).toEqual([]);
  });

  it('can be read by its owner and group only', () => {
    open().write('one\n');
    expect(execFileSync('stat', ['-c', '%a', path], { encoding: 'utf8' }).trim()).toMatch(/^6[04]0$/);
  });

  it('is rotated before it passes its size; older copies move up and the oldest goes', () => {
    const log = open({ maxBytes: 30 });
    for (let n = 1; n <= 11; n += 1) log.write(line(n));
    expect(text('weir.log')).toBe(line(10) + line(11));
    expect(text('weir.log.1')).toBe(line(7) + line(8) + line(9));
    expect(text('weir.log.2')).toBe(line(4) + line(5) + line(6));
    expect(readdirSync(folder).sort()).toEqual(['weir.log', 'weir.log.1', 'weir.log.2']);
    expect(log.lost).toBe(0);
  });

  it('counts what was in it before weir started', () => {
    writeFileSync(path, line(0) + line(1) + line(2));
    open({ maxBytes: 30 }).write(line(3));
    expect(text('weir.log')).toBe(line(3));
    expect(text('weir.log.1')).toBe(line(0) + line(1) + line(2));
  });

  it('takes a line that is longer than a whole file', () => {
    const log = open({ maxBytes: 30 });
    log.write(line(1));
    log.write(`${'x'.repeat(100)}\n`);
    log.write(line(2));
    expect(text('weir.log')).toBe(line(2));
    expect(text('weir.log.1')).toHaveLength(101);
    expect(log.lost).toBe(0);
  });

  it('that somebody moved away or removed is opened anew', () => {
    const log = open();
    log.write('one\n');
    renameSync(path, join(folder, 'moved'));
    log.follow();
    log.write('two\n');
    rmSync(path);
    log.follow();
    log.write('three\n');
    expect(text('moved')).toBe('one\n');
    expect(text('weir.log')).toBe('three\n');
    expect(log.lost).toBe(0);
  });

  it('is followed by tail -F through rotations', async () => {
    const log = open({ maxBytes: 30 });
    log.write(line(0));
    const tail = spawn('tail', ['-n', '+1', '--sleep-interval=0.02', '-F', path], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    try {
      let n = 0;
      let seen = '';
      for await (const chunk of tail.stdout) {
        seen += String(chunk);
        if (!seen.endsWith(line(n))) continue;
        if (n === 8) break;
        n += 1;
        log.write(line(n));
      }
      expect(seen).toBe([0, 1, 2, 3, 4, 5, 6, 7, 8].map(line).join(''));
    } finally {
      tail.kill();
    }
  });
});

describe('a log file that can not be written', () => {
  it('is told of once, its lines are counted, and it goes on when it can', () => {
    const later = join(folder, 'later');
    const log = open({ path: join(later, 'weir.log') });
    log.write('one\n');
    log.write('two\nthree\n');
    expect(errors).toEqual([expect.stringContaining('ENOENT')]);
    expect(log.lost).toBe(3);
    mkdirSync(later);
    log.write('four\n');
    expect(again).toEqual([3]);
    expect(text('later/weir.log')).toBe('four\n');
    expect(log.lost).toBe(3);
    rmSync(later, { recursive: true });
    log.follow();
    log.write('five\n');
    expect(errors).toHaveLength(2);
  });

  it('because the disk is full never throws', () => {
    const log = open({ path: '/dev/full' });
    for (let n = 0; n < 100; n += 1) log.write(line(n));
    expect(errors).toEqual([expect.stringContaining('ENOSPC')]);
    expect(log.lost).toBe(100);
  });

  it('because it is a folder never throws', () => {
    open({ path: folder }).write('one\n');
    expect(errors).toEqual([expect.stringContaining('EISDIR')]);
  });

  it('that can not be rotated keeps its lines and grows, and says so at each size', () => {
    mkdirSync(join(folder, 'weir.log.2', 'in-the-way'), { recursive: true });
    const log = open({ maxBytes: 30 });
    for (let n = 0; n < 8; n += 1) log.write(line(n));
    expect(text('weir.log')).toBe([0, 1, 2, 3, 4, 5, 6, 7].map(line).join(''));
    expect(errors).toEqual([
      expect.stringContaining("can't be rotated"),
      expect.stringContaining("can't be rotated"),
    ]);
    expect(log.lost).toBe(0);
  });

  it('in the middle of a line does not spoil the next one', () => {
    const script = `
      import { execFileSync, spawn } from 'node:child_process';
      import { openLogFile } from '${join(import.meta.dirname, '../../../src/control/log-file.ts')}';
      const log = openLogFile({ path: process.argv[1], maxBytes: 1e9, keep: 1, onError() {}, onAgain() {} });
      for (let n = 0; log.lost === 0; n += 1) log.write(JSON.stringify({ n, pad: 'x'.repeat(100) }) + '\\n');
      execFileSync('prlimit', ['--pid', String(process.pid), '--fsize=unlimited:unlimited']);
      log.write('{"n":"after"}\\n');
      log.close();`;
    const limited = ['-c', 'ulimit -S -f 8; exec "$0" --input-type=module-typescript -e "$1" "$2"'];
    execFileSync('sh', [...limited, process.execPath, script, path]);
    const lines = text('weir.log').split('\n').slice(0, -1);
    const whole = lines.filter((each) => each.endsWith('}'));
    expect(whole.at(-1)).toBe('{"n":"after"}');
    expect(lines.length - whole.length).toBe(1);
    expect(whole.length).toBeGreaterThan(10);
  });
});

describe('closing', () => {
  it('leaves no descriptor open', () => {
    const log = open();
    const opened = (): number =>
      readdirSync('/proc/self/fd').filter((fd) => {
        try {
          return readlinkSync(join('/proc/self/fd', fd)) === path;
        } catch {
          return false;
        }
      }).length;
    log.write('one\n');
    expect(opened()).toBe(1);
    log.close();
    expect(opened()).toBe(0);
  });
});
