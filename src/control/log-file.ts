// The log file: appended to, rotated by size. Owns its size and its older copies; a file that can't be written never stops weir.
import { closeSync, fstatSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';

export interface LogFileOptions {
  readonly path: string;
  readonly maxBytes: number;
  /** Older copies kept: path.1 is the youngest. */
  readonly keep: number;
  /** Told once when writing fails, and again after it has worked in between. */
  readonly onError: (why: string) => void;
}

export interface LogFile {
  /** Lines with their line ends. Writes at once; called from the control thread, in batches. */
  write(lines: string): void;
  /** Lines that could not be written. */
  readonly lost: number;
  close(): void;
}

export function openLogFile(options: LogFileOptions): LogFile {
  let descriptor: number | undefined;
  let size = 0;
  let failing = false;
  let lost = 0;

  function open(): number {
    const opened = openSync(options.path, 'a', 0o640);
    size = fstatSync(opened).size;
    return opened;
  }
  function rotate(): void {
    if (descriptor !== undefined) closeSync(descriptor);
    descriptor = undefined;
    rmSync(`${options.path}.${options.keep}`, { force: true });
    for (let n = options.keep - 1; n >= 0; n -= 1) {
      const from = n === 0 ? options.path : `${options.path}.${n}`;
      try {
        renameSync(from, `${options.path}.${n + 1}`);
      } catch (error) {
        if ((error as { code?: string }).code !== 'ENOENT') throw error;
      }
    }
  }
  return {
    get lost() {
      return lost;
    },
    write(lines) {
      try {
        const octets = Buffer.from(lines);
        if (descriptor !== undefined && size > 0 && size + octets.length > options.maxBytes) rotate();
        descriptor ??= open();
        for (let at = 0; at < octets.length;) at += writeSync(descriptor, octets, at);
        size += octets.length;
        failing = false;
      } catch (error) {
        lost += lines.split('\n').length - 1;
        if (!failing) options.onError(error instanceof Error ? error.message : String(error));
        failing = true;
      }
    },
    close() {
      if (descriptor !== undefined) closeSync(descriptor);
      descriptor = undefined;
    },
  };
}
