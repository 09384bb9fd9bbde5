// The log file: appended to, rotated by size, opened anew when somebody moved it away. Owns its size and its older copies; a file
// that can't be written never stops weir.
import { closeSync, fstatSync, openSync, renameSync, rmSync, statSync, writeSync } from 'node:fs';
import { errorCode, errorText } from '../lib/error-text.ts';

export interface LogFileOptions {
  readonly path: string;
  readonly maxBytes: number;
  /** Older copies kept: path.1 is the youngest. */
  readonly keep: number;
  /** Told once when something fails, and again after it has worked in between. Must not write to this file. */
  readonly onError: (why: string) => void;
  /** Told when lines can be written again, with how many could not. */
  readonly onAgain: (lost: number) => void;
}

export interface LogFile {
  /** Lines with their line ends. Writes at once. Never throws. */
  write(lines: string): void;
  /** Opens the file anew if another one, or none, stands under its name; done every second too. */
  follow(): void;
  /** Lines that could not be written. */
  readonly lost: number;
  close(): void;
}

const FOLLOW_MS = 1000;

export function openLogFile(options: LogFileOptions): LogFile {
  const { path, keep, maxBytes } = options;
  let descriptor: number | undefined;
  let size = 0;
  let rotateAt = maxBytes;
  let lost = 0;
  let lostAtOnce = 0;
  let failing = false;
  /** A line was cut off by a failure: the next one must not continue it. */
  let torn = false;

  function open(): number {
    const opened = openSync(path, 'a', 0o640);
    size = fstatSync(opened).size;
    rotateAt = maxBytes;
    torn = false;
    return opened;
  }
  function close(): void {
    if (descriptor !== undefined) closeSync(descriptor);
    descriptor = undefined;
  }
  function append(descriptor: number, octets: Buffer): void {
    for (let at = 0; at < octets.length;) {
      const written = writeSync(descriptor, octets, at);
      at += written;
      size += written;
      torn = at < octets.length;
    }
  }
  function write(lines: string): void {
    try {
      descriptor ??= open();
      const octets = Buffer.from(torn ? `\n${lines}` : lines);
      if (size > 0 && size + octets.length > rotateAt) {
        const why = rotate(path, keep);
        // Better a file that is too long than lines that are lost; it is tried again after as much more.
        if (why === undefined) close();
        else rotateAt = size + maxBytes;
        if (why !== undefined) options.onError(`it can't be rotated: ${why}`);
      }
      append((descriptor ??= open()), octets);
    } catch (error) {
      lost += linesIn(lines);
      lostAtOnce += linesIn(lines);
      if (!failing) options.onError(errorText(error));
      failing = true;
      return;
    }
    if (!failing) return;
    failing = false;
    const missed = lostAtOnce;
    lostAtOnce = 0;
    options.onAgain(missed);
  }
  function follow(): void {
    if (descriptor !== undefined && !isSameFile(descriptor, path)) close();
  }
  const timer = setInterval(follow, FOLLOW_MS).unref();
  return {
    get lost() {
      return lost;
    },
    write,
    follow,
    close() {
      clearInterval(timer);
      close();
    },
  };
}

const linesIn = (text: string): number => text.split('\n').length - 1;

/** Moves path to path.1, path.1 to path.2 and so on; the oldest goes. Returns why it could not. */
function rotate(path: string, keep: number): string | undefined {
  try {
    rmSync(`${path}.${keep}`, { force: true });
    for (let n = keep - 1; n >= 0; n -= 1) move(n === 0 ? path : `${path}.${n}`, `${path}.${n + 1}`);
    return undefined;
  } catch (error) {
    return errorText(error);
  }
}

function move(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
  }
}

function isSameFile(descriptor: number, path: string): boolean {
  const there = statSync(path, { throwIfNoEntry: false });
  const here = fstatSync(descriptor);
  return there !== undefined && there.ino === here.ino && there.dev === here.dev;
}
