// What the schema found wrong, in words and with a place. Owns the wording of types and bounds, and the hint for a misspelt key.
import type { z } from 'zod';
import { configSchema } from './schema.ts';

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

/** One line an issue: `place: key: what is wrong`. */
export function complaintsOf(error: z.ZodError, where: (path: Path) => string): string[] {
  return error.issues.flatMap((issue) => complaints(issue, [], where));
}

function complaints(issue: Issue, above: Path, where: (path: Path) => string): string[] {
  const path = [...above, ...issue.path];
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => {
      const full = [...path, key];
      const near = nearest(key, keysAt(path));
      const hint = near === undefined ? '' : `: did you mean \`${near}\`?`;
      return `${where(full)}: unknown key \`${full.map(String).join('.')}\`${hint}`;
    });
  }
  // Of "one, or a list of them" a list was meant when the list's only faults are inside it.
  const inside = issue.code === 'invalid_union' ? issue.errors.find(isInside) : undefined;
  if (inside !== undefined) return inside.flatMap((each) => complaints(each, path, where));
  if (issue.code === 'invalid_key') return issue.issues.flatMap((each) => complaints(each, path, where));
  return [`${where(path)}: ${path.map(String).join('.') || 'configuration'}: ${wording(issue)}`];
}

const isInside = (issues: readonly Issue[]): boolean => issues.every(({ path }) => path.length > 0);

const KINDS: Readonly<Record<string, string>> = {
  object: 'a section with keys below it',
  record: 'a section with keys below it',
  array: 'a list, such as [a, b]',
  string: 'a text',
  number: 'a number',
  int: 'a whole number',
};

function wording(issue: Issue): string {
  if (issue.code === 'invalid_type') {
    const kind = KINDS[issue.expected] ?? issue.expected;
    return issue.message.endsWith('received undefined') ? `is missing: must be ${kind}` : `must be ${kind}`;
  }
  if (issue.code === 'invalid_value') return `must be one of ${issue.values.map(String).join(', ')}`;
  if (issue.code === 'not_multiple_of') return `must be a multiple of ${issue.divisor}`;
  if (issue.code === 'too_small') {
    if (issue.origin !== 'number' && Number(issue.minimum) === 1) return 'must not be empty';
    return `must be at least ${sized(issue.minimum, issue.origin)}`;
  }
  return issue.code === 'too_big' ? `must be at most ${sized(issue.maximum, issue.origin)}` : issue.message;
}

const sized = (bound: number | bigint, origin: string): string =>
  `${String(bound)}${origin === 'string' ? ' characters' : ''}`;

/** The keys that the schema knows below a path; none where the path leads into a list or a record. */
function keysAt(path: Path): readonly string[] {
  let node: unknown = configSchema;
  for (const part of path) node = shapeOf(node)?.[String(part)] ?? elementOf(node);
  return Object.keys(shapeOf(node) ?? {});
}

function shapeOf(node: unknown): Record<string, unknown> | undefined {
  const bare = unwrapped(node);
  if (!isObject(bare) || !('shape' in bare) || !isObject(bare.shape)) return undefined;
  return { ...bare.shape };
}

function elementOf(node: unknown): unknown {
  const bare = unwrapped(node);
  return isObject(bare) && 'element' in bare ? bare.element : undefined;
}

/** The schema inside its defaults. */
function unwrapped(node: unknown): unknown {
  let at = node;
  while (isObject(at) && 'unwrap' in at && typeof at.unwrap === 'function') {
    const inner: unknown = at.unwrap();
    // An array's own unwrap gives its element.
    if ('element' in at) return at;
    at = inner;
  }
  return at;
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;

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
