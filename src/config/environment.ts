// Settings from WEIR_* variables, for containers. Owns which keys have one; a variable wins over the file.
import { nearest } from './complaints.ts';

/** Keys that a variable can set: WEIR_DNS_LISTEN sets dns.listen. Lists are written with commas. */
export const ENVIRONMENT_KEYS = [
  'dns.listen',
  'dns.upstreams',
  'http.listen',
  'admin.listen',
  'identity.unknown',
  'identity.vms_max',
  'egress.allow',
  'egress.ports',
  'state.keys_per_vm',
  'state.max_bytes',
  'log.file',
  'log.max_bytes',
  'log.keep',
  'log.interval_s',
  'log.traffic.http',
  'log.traffic.dns',
  'data',
] as const;

const LISTS: ReadonlySet<string> = new Set([
  'dns.listen',
  'dns.upstreams',
  'http.listen',
  'admin.listen',
  'egress.allow',
  'egress.ports',
]);
const NUMBERS: ReadonlySet<string> = new Set([
  'identity.vms_max',
  'egress.ports',
  'state.keys_per_vm',
  'state.max_bytes',
  'log.max_bytes',
  'log.keep',
  'log.interval_s',
]);

/** The variable's name for a key. */
export const variableOf = (key: string): string => `WEIR_${key.toUpperCase().replaceAll('.', '_')}`;

/** Lays the variables over the file's value. Unknown WEIR_ variables are problems: a typing mistake must not pass in silence. */
export function fromEnvironment(
  value: unknown,
  env: Readonly<Record<string, string | undefined>>,
): { value: unknown; variables: ReadonlyMap<string, string>; problems: string[] } {
  const known = new Map(ENVIRONMENT_KEYS.map((key) => [variableOf(key), key]));
  const variables = new Map<string, string>();
  const problems: string[] = [];
  if (!isSection(value)) return { value, variables, problems };
  const out = structuredClone(value);
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith('WEIR_') || text === undefined || text === '') continue;
    const key = known.get(name);
    if (key === undefined) {
      const near = nearest(name, [...known.keys()]);
      problems.push(`${name}: unknown variable${near === undefined ? '' : `: did you mean \`${near}\`?`}`);
      continue;
    }
    variables.set(key, name);
    set(out, key.split('.'), read(key, text));
  }
  return { value: out, variables, problems };
}

function read(key: string, text: string): unknown {
  const one = (part: string): unknown =>
    NUMBERS.has(key) && part.trim() !== '' ? Number(part) : part.trim();
  if (!LISTS.has(key) || (key === 'dns.upstreams' && text === 'system')) return one(text);
  return text.split(',').map(one);
}

function set(root: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [key = '', ...rest] = path;
  if (rest.length === 0) {
    root[key] = value;
    return;
  }
  const below = root[key];
  const section = isSection(below) ? below : {};
  root[key] = section;
  set(section, rest, value);
}

const isSection = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
