// The log: NDJSON by pino, on stdout and to a file. Owns the names of the fields that people filter by.
import pino from 'pino';
import type { Logger } from 'pino';
import pretty from 'pino-pretty';
import type { TrafficLine } from '../rail/ports.ts';
import type { Detection } from '../rail/record.ts';
import { openLogFile } from './log-file.ts';
import type { LogFile } from './log-file.ts';

export interface LogOptions {
  readonly file: string | null;
  readonly maxBytes: number;
  readonly keep: number;
  /** Readable lines instead of NDJSON on stdout: for a terminal. */
  readonly pretty: boolean;
}

export interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
  detection(line: Detection): void;
  traffic(line: TrafficLine): void;
  /** Waits until all lines are written. */
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

export function createLog(options: LogOptions): Log {
  const stdout = options.pretty
    ? pretty({ colorize: true, translateTime: 'HH:MM:ss', ignore: 'pid,hostname', sync: true })
    : pino.destination({ dest: 1, sync: false });
  let file: LogFile | undefined;
  if (options.file !== null) {
    const onError = (why: string): void =>
      toStdout.error({ file: options.file }, `the log file can't be written: ${why}`);
    file = openLogFile({ ...options, path: options.file, onError });
  }
  const format = {
    base: null,
    timestamp: false,
    formatters: { level: (label: string) => ({ level: label }) },
  } as const;
  const toStdout = pino(format, stdout);
  const both =
    file === undefined ? toStdout : pino(format, pino.multistream([{ stream: stdout }, { stream: file }]));
  return lines(both, () => settle(stdout, file));
}

function lines(log: Logger, flush: () => Promise<void>): Log {
  const now = (fields: object): object => ({ time: new Date().toISOString(), ...fields });
  return {
    info: (fields, message) => log.info(now(fields), message),
    warn: (fields, message) => log.warn(now(fields), message),
    error: (fields, message) => log.error(now(fields), message),
    detection(line) {
      const level = line.state === 'blocked' && line.mode === 'enforce' ? 'warn' : 'info';
      log[level](detectionFields(line), `${line.state}: ${line.message}`);
    },
    traffic: (line) => log.info(now(line), line.kind),
    flush,
  };
}

async function settle(stdout: object, file: LogFile | undefined): Promise<void> {
  file?.close();
  if (!('flush' in stdout) || typeof stdout.flush !== 'function') return;
  const { flush } = stdout;
  await new Promise<void>((resolve) => {
    flush.call(stdout, () => resolve());
  });
}
