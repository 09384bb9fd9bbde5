// Rule packs: YAML text to one frozen policy. Owns every check of a rule's meaning; one bad rule refuses the whole set.
import { createHash } from 'node:crypto';
import { parseYaml } from '../lib/yaml-source.ts';
import type { Policy, Rule } from '../rail/rule.ts';
import { ruleOf } from './meaning.ts';
import { ruleSchema } from './schema.ts';

export interface RuleFile {
  readonly path: string;
  readonly text: string;
}

export interface RuleFiles {
  /** The locked layer: applies to every profile. */
  readonly corp: readonly RuleFile[];
  readonly profiles: ReadonlyMap<string, readonly RuleFile[]>;
}

/** Problems are `file:line:column: rule: what is wrong`, ready for people. Never throws. */
export function loadRules(
  files: RuleFiles,
): { ok: true; policy: Policy } | { ok: false; problems: readonly string[] } {
  const problems = new Set<string>();
  const read = (file: RuleFile): Rule[] => {
    const { rules, complaints } = readFile(file);
    for (const complaint of complaints) problems.add(complaint);
    return rules;
  };
  const corp = files.corp.flatMap(read);
  const profiles = new Map<string, readonly Rule[]>();
  for (const [name, list] of files.profiles) {
    const rules = [...corp, ...list.flatMap(read)];
    const ids = new Set<string>();
    for (const { id } of rules) {
      if (ids.has(id)) problems.add(`rules of profile ${name}: the id \`${id}\` is used twice`);
      ids.add(id);
    }
    profiles.set(name, Object.freeze(rules));
  }
  if (problems.size > 0) return { ok: false, problems: [...problems] };
  return { ok: true, policy: Object.freeze({ revision: revision(files), profiles }) };
}

function revision(files: RuleFiles): string {
  const hash = createHash('sha256');
  const add = (name: string, list: readonly RuleFile[]): void => {
    hash.update(`${name}\0`);
    for (const file of list) hash.update(`${file.text.length}\0${file.text}`);
  };
  add('corp', files.corp);
  for (const [name, list] of files.profiles) add(name, list);
  return hash.digest('hex').slice(0, 16);
}

function readFile(file: RuleFile): { rules: Rule[]; complaints: string[] } {
  const parsed = parseYaml(file.text);
  if (!parsed.ok) {
    const complaints = parsed.problems.map(
      ({ place, message }) => `${file.path}:${place.line}:${place.column}: ${message}`,
    );
    return { rules: [], complaints };
  }
  const { source } = parsed;
  if (source.value === null || source.value === undefined) return { rules: [], complaints: [] };
  if (!Array.isArray(source.value)) {
    return { rules: [], complaints: [`${file.path}:1:1: a rule pack is a list of rules`] };
  }
  const complaints: string[] = [];
  const rules: Rule[] = [];
  source.value.forEach((written: unknown, index) => {
    const name = ruleName(written, index);
    const complain: Complain = (path, message, below) => {
      const place = source.place([index, ...path]);
      const line = place.line + (below?.line ?? 0);
      const column = place.column + (below?.column ?? 0);
      complaints.push(`${file.path}:${line}:${column}: ${name}: ${message}`);
    };
    const rule = readRule(written, complain);
    if (rule !== undefined) rules.push(rule);
  });
  return { rules, complaints };
}

/** Takes a complaint about the part of the rule at `path`; `below` moves the place further into that part. */
export type Complain = (
  path: readonly PropertyKey[],
  message: string,
  below?: { readonly line: number; readonly column: number },
) => void;

function ruleName(written: unknown, index: number): string {
  const id = typeof written === 'object' && written !== null && 'id' in written ? written.id : undefined;
  return typeof id === 'string' ? `rule \`${id.slice(0, 63)}\`` : `rule ${index + 1}`;
}

function readRule(written: unknown, complain: Complain): Rule | undefined {
  const parsed = ruleSchema.safeParse(written);
  if (!parsed.success) {
    for (const issue of parsed.error.issues) {
      if (issue.code === 'unrecognized_keys') {
        for (const key of issue.keys)
          complain([...issue.path, key], `unknown key \`${[...issue.path, key].join('.')}\``);
      } else {
        const at = issue.path.length === 0 ? '' : `\`${issue.path.join('.')}\`: `;
        complain(issue.path, at + issue.message.replace(/^Invalid input: /, ''));
      }
    }
    return undefined;
  }
  return parsed.data.enabled ? ruleOf(parsed.data, complain) : undefined;
}
