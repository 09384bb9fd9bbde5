// The project's own sources, parsed: what guard tests look at.
import { readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { parseSync, Visitor } from 'oxc-parser';
import type { Program } from 'oxc-parser';

export const ROOT: string = join(import.meta.dirname, '..', '..');

export interface Source {
  /** Below src, with forward slashes. */
  readonly path: string;
  readonly text: string;
  readonly program: Program;
  /** What it imports: files of src as paths below src, packages by name. */
  readonly imports: readonly string[];
}

export function sources(): Source[] {
  return readdirSync(join(ROOT, 'src'), { recursive: true, encoding: 'utf8' })
    .map((name) => name.replaceAll('\\', '/'))
    .filter((name) => name.endsWith('.ts'))
    .sort()
    .map((path) => {
      const text = readFileSync(join(ROOT, 'src', path), 'utf8');
      const { program, errors } = parseSync(path, text);
      if (errors.length > 0) throw new Error(`${path}: ${errors[0]?.message}`);
      return { path, text, program, imports: importsOf(path, program) };
    });
}

function importsOf(path: string, program: Program): string[] {
  const found: string[] = [];
  const add = (name: unknown): void => {
    // A computed import could be anything: no rule can let it pass.
    if (typeof name !== 'string') found.push('computed import');
    else found.push(name.startsWith('.') ? posix.join(posix.dirname(path), name) : name);
  };
  new Visitor({
    ImportDeclaration: (n) => add(n.source.value),
    ExportNamedDeclaration: (n) => {
      if (n.source !== null) add(n.source.value);
    },
    ExportAllDeclaration: (n) => add(n.source.value),
    ImportExpression: (n) => add(n.source.type === 'Literal' ? n.source.value : undefined),
    TSImportType: (n) => add(n.source.value),
  }).visit(program);
  return found;
}

/** Line number of an offset. */
export const lineOf = (text: string, offset: number): number => text.slice(0, offset).split('\n').length;
