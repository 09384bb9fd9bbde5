// What every benchmark prints and writes: one table, and the same as JSON with the machine it ran on. Never asserts.
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';

export interface Row {
  readonly [column: string]: string | number;
}

export const median = (values: readonly number[]): number => {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
};

/** Prints the rows as a table and writes them to bench-results/<name>.json. */
export function report(name: string, rows: readonly Row[]): void {
  const columns = Object.keys(rows[0] ?? {});
  const width = (c: string): number => Math.max(c.length, ...rows.map((row) => String(row[c]).length));
  const line = (cells: (c: string) => string): string =>
    columns.map((c) => cells(c).padEnd(width(c))).join('  ');
  console.log(line((c) => c));
  for (const row of rows) console.log(line((c) => String(row[c])));
  const machine = { cpu: cpus()[0]?.model, cores: cpus().length, memory: totalmem(), node: process.version };
  mkdirSync('bench-results', { recursive: true });
  writeFileSync(`bench-results/${name}.json`, `${JSON.stringify({ name, machine, rows }, undefined, 2)}\n`);
}
