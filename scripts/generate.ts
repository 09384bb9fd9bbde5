// Writes what is derived: config/schema.json from the configuration schema, and the tables of docs/architecture.md from the
// registries. A test keeps all of them current.
import { readFileSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { METRICS } from '../src/admin/metrics.ts';
import { configSchema } from '../src/config/schema.ts';
import { fieldByName } from '../src/rail/fields.ts';

const ROOT = new URL('../', import.meta.url);

/** Every generated file: its path below the project, and what must stand in it. */
export function generated(): { path: string; text: string }[] {
  const architecture = read('docs/architecture.md');
  const tables = between(between(architecture, 'fields', fieldTable()), 'metrics', metricTable());
  const schema = {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'weir.yaml',
    ...z.toJSONSchema(configSchema, { io: 'input' }),
  };
  return [
    { path: 'docs/architecture.md', text: tables },
    { path: 'config/schema.json', text: `${JSON.stringify(schema, undefined, 2)}\n` },
  ];
}

export const read = (path: string): string => readFileSync(new URL(path, ROOT), 'utf8');

function between(text: string, mark: string, table: string): string {
  const [from, to] = [`<!-- ${mark} -->`, `<!-- /${mark} -->`];
  const start = text.indexOf(from) + from.length;
  return `${text.slice(0, start)}\n\n${table}\n\n${text.slice(text.indexOf(to))}`;
}

function fieldTable(): string {
  const rows = [...fieldByName].map(([name, field]) => {
    const on = field.on.map((type) => `\`${type}\``).join(' ');
    return `| \`${name}\` | ${field.kind} | ${on} | ${field.always ? 'always' : 'if known'} | ${field.doc} |`;
  });
  return ['| field | kind | on | present | what it is |', '|---|---|---|---|---|', ...rows].join('\n');
}

function metricTable(): string {
  const rows = METRICS.map(({ name, kind, help, values }) => {
    const labels = Object.keys(values[0]?.labels ?? {}).map((label) => `\`${label}\``);
    return `| \`${name}\` | ${kind} | ${labels.join(' ')} | ${help} |`;
  });
  return ['| metric | kind | labels | what it counts |', '|---|---|---|---|', ...rows].join('\n');
}

if (import.meta.main) for (const { path, text } of generated()) writeFileSync(new URL(path, ROOT), text);
