// What the schema found wrong, in words and with a place. Owns the hint for a misspelt key.
import type { z } from 'zod';
import { configSchema } from './schema.ts';

/** One line an issue: `place: key: what is wrong`. */
export function complaintsOf(error: z.ZodError, where: (path: readonly PropertyKey[]) => string): string[] {
  return error.issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => {
        const path = [...issue.path, key];
        const near = nearest(key, keysAt(issue.path));
        const hint = near === undefined ? '' : `: did you mean \`${near}\`?`;
        return `${where(path)}: unknown key \`${path.map(String).join('.')}\`${hint}`;
      });
    }
    const message = issue.message.replace(/^Invalid input: /, '');
    return [`${where(issue.path)}: ${issue.path.map(String).join('.') || 'configuration'}: ${message}`];
  });
}

/** The keys that the schema knows below a path; none where the path leads into a list or a record. */
function keysAt(path: readonly PropertyKey[]): readonly string[] {
  let node: unknown = configSchema;
  for (const part of path) node = shapeOf(node)?.[String(part)];
  return Object.keys(shapeOf(node) ?? {});
}

function shapeOf(node: unknown): Record<string, unknown> | undefined {
  let at = node as { shape?: Record<string, unknown>; unwrap?: () => unknown } | undefined;
  while (at !== undefined && at.shape === undefined && at.unwrap !== undefined) at = at.unwrap() as typeof at;
  return at?.shape;
}

/** The word within two edits, if any. */
export function nearest(word: string, words: readonly string[]): string | undefined {
  const scored = words
    .map((other) => ({ other, edits: edits(word, other) }))
    .sort((a, b) => a.edits - b.edits);
  return scored[0] !== undefined && scored[0].edits <= 2 ? scored[0].other : undefined;
}

/** Levenshtein's distance. */
function edits(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1;
      next.push(Math.min((next[j - 1] ?? 0) + 1, (row[j] ?? 0) + 1, (row[j - 1] ?? 0) + same));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
