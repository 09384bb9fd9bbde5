// The log: NDJSON by pino, on stdout and to a file. Owns the names of the fields that people filter by.
import pino from 'pino';
import type { Logger } from 'pino';
import pretty from 'pino-pretty';
import { systemClock } from '../lib/clock.ts';
import type { Clock } from '../lib/clock.ts';
import { formatDuration } from '../lib/duration.ts';
import type { TrafficLine } from '../rail/ports.ts';
import type { Detection } from '../rail/record.ts';
import { openLogFile } from './log-file.ts';
import { openStdout } from './log-stdout.ts';
import type { LogStdout } from './log-stdout.ts';

export interface LogOptions {
  readonly file: string | null;
  readonly maxBytes: number;
  readonly keep: number;
  /** Readable lines instead of NDJSON on stdout: for a terminal. */
  readonly pretty: boolean;
  readonly clock?: Clock;
  /** Where stdout is; 1 unless a test says otherwise. */
  readonly descriptor?: number;
}

export interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  detection(line: Detection): void;
  traffic(line: TrafficLine): void;
  /** Resolves when little waits to be written. Whoever brings lines by the thousand must wait for it before bringing more. */
  room(): Promise<void>;
  /** Lines that could not be written, on stdout and to the file together. */
  readonly lost: number;
  /** Waits until all lines are written, and closes the file. Never longer than two seconds. */
  flush(): Promise<void>;
}

/** A detection as it stands in the log; docs/architecture.md lists the fields. */
export function detectionFields(line: Detection): object {
  return {
    kind: 'detection',
    rule: line.rule,
    rule_level: line.ruleLevel,
    event: line.eventId,
    event_type: line.eventType,
    vm: line.vm,
    profile: line.profile,
    key: line.key,
    value: line.value,
    max: line.max,
    window: formatDuration(line.windowMs),
    window_ms: line.windowMs,
    state: line.state,
    mode: line.mode,
    verdict: line.verdict,
    answer: line.answer,
    retry_after_ms: line.retryAfterMs,
    count: line.count,
    interval: line.interval,
    time: new Date(line.time).toISOString(),
  };
}

/** Each destination that fails is told of on the other one. */
export function createLog(options: LogOptions): Log {
  const toStdout = pinoTo((line) => stdout.write(line));
  const toFile = pinoTo((line) => file?.write(line));
  const both = pinoTo((line) => {
    stdout.write(line);
    file?.write(line);
  });
  const now = (fields: object): object => ({
    time: new Date((options.clock ?? systemClock).wall()).toISOString(),
    ...fields,
  });
  const failed = { kind: 'log_failed' };
  const stdout = options.pretty
    ? openTerminal()
    : openStdout({
        descriptor: options.descriptor ?? 1,
        onError: (why) => toFile.error(now(failed), `stdout can't be written: ${why}`),
      });
  const file =
    options.file === null
      ? undefined
      : openLogFile({
          path: options.file,
          maxBytes: options.maxBytes,
          keep: options.keep,
          onError: (why) =>
            toStdout.error(now({ ...failed, file: options.file }), `trouble with the log file: ${why}`),
          onAgain: (lines) =>
            both.warn(
              now({ kind: 'log_lost', file: options.file, lines }),
              'lines are missing in the log file',
            ),
        });
  return {
    info: (fields, message) => both.info(now(fields), message),
    warn: (fields, message) => both.warn(now(fields), message),
    error: (fields, message) => both.error(now(fields), message),
    detection(line) {
      const level = line.state === 'blocked' && line.mode === 'enforce' ? 'warn' : 'info';
      both[level](detectionFields(line), `${line.state}: ${line.message}`);
    },
    traffic: (line) => both.info(now(line), line.kind),
    room: () => stdout.room(),
    get lost() {
      return stdout.lost + (file?.lost ?? 0);
    },
    flush() {
      file?.close();
      return stdout.flush();
    },
  };
}

const pinoTo = (write: (line: string) => void): Logger =>
  pino(
    { base: null, timestamp: false, formatters: { level: (label: string) => ({ level: label }) } },
    { write },
  );

/** Readable lines; what a terminal can't take is nobody's loss. */
function openTerminal(): LogStdout {
  const stream = pretty({ colorize: true, translateTime: 'HH:MM:ss', ignore: 'pid,hostname', sync: true });
  return {
    write: (line) => void stream.write(line),
    room: () => Promise.resolve(),
    lost: 0,
    flush: () => Promise.resolve(),
  };
}
