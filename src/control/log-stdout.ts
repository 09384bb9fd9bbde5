// Stdout as the log's first destination. Owns the lines that wait for a slow reader: never blocks, never keeps more than a bound, and
// a reader that is gone or a full disk never stops weir.
import pino from 'pino';
import { errorText } from '../lib/error-text.ts';

export interface LogStdoutOptions {
  readonly descriptor: number;
  /** Told once when writing fails, and again after it has worked in between. Must not write to stdout. */
  readonly onError: (why: string) => void;
}

export interface LogStdout {
  /** One line with its line end. Never throws. */
  write(line: string): void;
  /** Resolves when little waits to be written, or at once while writing fails. */
  room(): Promise<void>;
  /** Lines that did not fit while the reader stood still. */
  readonly lost: number;
  /** Waits until all is written, but no longer than a dead reader deserves. Call it last. */
  flush(): Promise<void>;
}

const KEPT_OCTETS_MAX = 64 * 1_048_576;
const LITTLE_OCTETS = 1_048_576;
const FLUSH_MS_MAX = 2000;

export function openStdout({ descriptor, onError }: LogStdoutOptions): LogStdout {
  let ending = false;
  // A pipe that stays full is tried again and again, but not once weir is to end: it could never.
  const retryEAGAIN = (): boolean => !ending;
  const options = { dest: descriptor, sync: false, maxLength: KEPT_OCTETS_MAX, retryEAGAIN };
  const stream = pino.destination(options);
  let kept = 0;
  let lost = 0;
  let failing = false;
  let waiting: { readonly below: number; readonly resolve: () => void }[] = [];

  function settle(): void {
    const ready = waiting.filter(({ below }) => failing || kept < below);
    waiting = waiting.filter((each) => !ready.includes(each));
    for (const { resolve } of ready) resolve();
  }
  /** Resolves once less than `below` octets wait to be written, or when none can be. */
  const keptBelow = (below: number): Promise<void> =>
    new Promise((resolve) => {
      waiting.push({ below, resolve });
      settle();
    });
  stream.on('write', (octets: number) => {
    kept -= octets;
    failing = false;
    settle();
  });
  stream.on('drop', (line: string) => {
    kept -= Buffer.byteLength(line);
    lost += 1;
  });
  stream.on('error', (error: unknown) => {
    if (!failing) onError(errorText(error));
    failing = true;
    settle();
  });
  return {
    get lost() {
      return lost;
    },
    write(line) {
      if (ending) return;
      kept += Buffer.byteLength(line);
      stream.write(line);
    },
    room: () => keptBelow(LITTLE_OCTETS),
    // The stream's own flush is content with the first of its buffers.
    async flush() {
      await withinMs(FLUSH_MS_MAX, keptBelow(1));
      ending = true;
      // Else the exit would wait for the reader after all.
      if (kept > 0) stream.destroy();
    },
  };
}

async function withinMs(ms: number, done: Promise<void>): Promise<void> {
  const late = Promise.withResolvers<void>();
  const timer = setTimeout(() => late.resolve(), ms);
  await Promise.race([done, late.promise]);
  clearTimeout(timer);
}
