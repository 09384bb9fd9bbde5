// Conditions: CEL, checked against the field registry and compiled to closures. Owns the subset of CEL that rules may use;
// never runs code made from text.
import { Environment } from '@marcbachmann/cel-js';
import type { ASTNode } from '@marcbachmann/cel-js';
import { FIELDS, fieldByName } from '../rail/fields.ts';
import type { EventType } from '../rail/fields.ts';
import type { SecurityEvent } from '../rail/event.ts';
import type { Condition } from '../rail/rule.ts';

const NODES_MAX = 200;
const DEPTH_MAX = 20;

type Value = string | number | boolean | readonly Value[];
type Compiled = (event: SecurityEvent) => Value;

/** A complaint about a condition, with the offset in its text that it is about. */
export class ConditionError extends Error {
  readonly offset: number;

  constructor(message: string, offset: number) {
    super(message);
    this.offset = offset;
  }
}

const CEL_KIND = { string: 'string', number: 'double', boolean: 'bool' } as const;

/** The registry as CEL variables: `vm` stands alone, `dns.qname` is a key of `dns`. */
function environment(): Environment {
  let env = new Environment({
    unlistedVariablesAreDyn: false,
    limits: { maxAstNodes: NODES_MAX, maxDepth: DEPTH_MAX },
  });
  const groups = new Map<string, Record<string, string>>();
  for (const [name, field] of Object.entries(FIELDS)) {
    const dot = name.indexOf('.');
    const kind = CEL_KIND[field.kind];
    if (dot < 0) env = env.registerVariable(name, kind);
    else {
      const group = groups.get(name.slice(0, dot)) ?? {};
      group[name.slice(dot + 1)] = kind;
      groups.set(name.slice(0, dot), group);
    }
  }
  for (const [name, schema] of groups) env = env.registerVariable({ name, schema });
  return env;
}

const ENVIRONMENT = environment();

/**
 * Compiles a condition for rules over `events`. `onError` is what the condition says when it fails at run time: true for
 * a rule that refuses (fail closed), false for one that allows. Throws ConditionError for anything that isn't a boolean
 * expression over fields which all of these events carry.
 */
export function compileCondition(text: string, events: readonly EventType[], onError: boolean): Condition {
  const { ast, shift } = checked(text);
  const run = compile(ast, { events, shift });
  return (event) => {
    try {
      return run(event) === true;
    } catch {
      return onError;
    }
  };
}

interface Scope {
  readonly events: readonly EventType[];
  /** From an offset in the checked text to one in the author's. */
  readonly shift: (offset: number) => number;
}

/** Parses and checks; whole numbers are read as doubles, since every numeric field is one. */
function checked(text: string): { ast: ASTNode; shift: (offset: number) => number } {
  const plain = parse(text);
  const whole = integerEnds(plain);
  let doubled = '';
  let from = 0;
  for (const end of whole) {
    doubled += `${text.slice(from, end)}.0`;
    from = end;
  }
  doubled += text.slice(from);
  const shift = (offset: number): number => {
    const before = whole.filter((end, i) => end + 2 * i < offset).length;
    return Math.max(0, offset - 2 * before);
  };
  const program = ENVIRONMENT.parse(doubled);
  const result = program.check();
  if (!result.valid) {
    const { error } = result;
    throw new ConditionError(error?.summary ?? 'not a valid condition', shift(error?.range?.start ?? 0));
  }
  if (result.type !== 'bool')
    throw new ConditionError(`a condition must be true or false, not ${result.type}`, 0);
  return { ast: program.ast, shift };
}

function parse(text: string): ASTNode {
  try {
    return ENVIRONMENT.parse(text).ast;
  } catch (error) {
    const known = error as { summary?: string; range?: { start: number } };
    throw new ConditionError(known.summary ?? String(error), known.range?.start ?? 0);
  }
}

const isSize = (node: unknown): boolean =>
  typeof node === 'object' &&
  node !== null &&
  'args' in node &&
  Array.isArray(node.args) &&
  node.args[0] === 'size';

/** Where whole-number literals end that are compared with fields (size() alone is whole itself), in order of their place. */
function integerEnds(ast: ASTNode): number[] {
  const ends: number[] = [];
  const walk = (node: unknown): void => {
    if (Array.isArray(node)) {
      if (!node.some(isSize)) node.forEach(walk);
    } else if (typeof node === 'object' && node !== null && 'op' in node) {
      const { op, args, range } = node as ASTNode;
      if (op === 'value' && typeof args === 'bigint') ends.push(range.end);
      else walk(args);
    }
  };
  walk(ast);
  return ends.sort((a, b) => a - b);
}

function compile(node: ASTNode, scope: Scope): Compiled {
  const name = fieldName(node);
  if (name !== undefined) return compileField(name, node, scope);
  switch (node.op) {
    case 'value':
      return constant(node.args as Value | bigint, node, scope);
    case 'list': {
      const items = node.args.map((item) => compile(item, scope));
      return (event) => items.map((item) => item(event));
    }
    case '!_': {
      const of = compile(node.args, scope);
      return (event) => !truth(of(event));
    }
    case '-_': {
      const of = compile(node.args, scope);
      return (event) => -Number(of(event));
    }
    case '?:': {
      const [test, yes, no] = (node.args as ASTNode[]).map((part) => compile(part, scope)) as Triple;
      return (event) => (truth(test(event)) ? yes(event) : no(event));
    }
    case 'call':
    case 'rcall':
      return compileCall(node, scope);
    default:
      return compileBinary(node, scope);
  }
}

type Triple = [Compiled, Compiled, Compiled];

function constant(value: Value | bigint, node: ASTNode, scope: Scope): Compiled {
  if (typeof value === 'bigint') return () => Number(value);
  const ok = typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
  if (!ok)
    throw new ConditionError('only strings, numbers and true or false can stand here', at(node, scope));
  return () => value;
}

/** `dns.qname` and `vm`, as registry names; undefined for anything else. */
function fieldName(node: ASTNode): string | undefined {
  if (node.op === 'id') return node.args;
  if (node.op !== '.') return undefined;
  const [of, key] = node.args;
  return of.op === 'id' ? `${of.args}.${key}` : undefined;
}

function compileField(name: string, node: ASTNode, scope: Scope): Compiled {
  const field = fieldByName.get(name);
  if (field === undefined) throw new ConditionError(`unknown field \`${name}\``, at(node, scope));
  const lacking = scope.events.find((type) => !field.on.includes(type));
  if (lacking !== undefined) {
    throw new ConditionError(`\`${name}\` is not a field of ${lacking} events`, at(node, scope));
  }
  return (event) => {
    const value = (event as unknown as Record<string, Value | undefined>)[name];
    if (value === undefined) throw new Error('absent field');
    return value;
  };
}

function truth(value: Value): boolean {
  if (typeof value !== 'boolean') throw new Error('not a boolean');
  return value;
}

function compileBinary(node: ASTNode, scope: Scope): Compiled {
  const operator = OPERATORS[node.op];
  if (operator === undefined)
    throw new ConditionError(`\`${node.op}\` can't be used in a rule`, at(node, scope));
  const [left, right] = (node.args as ASTNode[]).map((part) => compile(part, scope)) as [Compiled, Compiled];
  if (node.op === '&&') return (event) => truth(left(event)) && truth(right(event));
  if (node.op === '||') return (event) => truth(left(event)) || truth(right(event));
  const list = (node.args as ASTNode[])[1];
  if (node.op === 'in' && list?.op === 'list' && list.args.every((item) => item.op === 'value')) {
    const set = new Set(list.args.map((item) => item.args as Value));
    return (event) => set.has(left(event));
  }
  return (event) => operator(left(event), right(event));
}

const OPERATORS: Readonly<Record<string, (a: Value, b: Value) => Value>> = {
  '&&': (a, b) => truth(a) && truth(b),
  '||': (a, b) => truth(a) || truth(b),
  '==': (a, b) => a === b,
  '!=': (a, b) => a !== b,
  '<': (a, b) => a < b,
  '<=': (a, b) => a <= b,
  '>': (a, b) => a > b,
  '>=': (a, b) => a >= b,
  '+': (a, b) => (typeof a === 'string' ? a + String(b) : Number(a) + Number(b)),
  '-': (a, b) => Number(a) - Number(b),
  '*': (a, b) => Number(a) * Number(b),
  '/': (a, b) => Number(a) / Number(b),
  in: (a, b) => Array.isArray(b) && b.includes(a),
};

const TEXT_CALLS: Readonly<Record<string, (text: string, part: string) => boolean>> = {
  startsWith: (text, part) => text.startsWith(part),
  endsWith: (text, part) => text.endsWith(part),
  contains: (text, part) => text.includes(part),
};

function compileCall(node: ASTNode, scope: Scope): Compiled {
  const args = node.args as [string, ASTNode | ASTNode[], ASTNode[]?];
  const [name] = args;
  if (node.op === 'rcall' && args[2]?.length === 1 && TEXT_CALLS[name] !== undefined) {
    const call = TEXT_CALLS[name];
    const text = compile(args[1] as ASTNode, scope);
    const part = compile(args[2][0] as ASTNode, scope);
    return (event) => call(String(text(event)), String(part(event)));
  }
  const of = node.op === 'call' ? (args[1] as ASTNode[])[0] : (args[1] as ASTNode);
  if (name === 'size' && of !== undefined) {
    const run = compile(of, scope);
    return (event) => (run(event) as string | readonly Value[]).length;
  }
  if (name === 'has' && of !== undefined) {
    const field = fieldName(of);
    if (field === undefined || !fieldByName.has(field)) {
      throw new ConditionError('has() takes a field', at(node, scope));
    }
    return (event) => (event as unknown as Record<string, unknown>)[field] !== undefined;
  }
  throw new ConditionError(
    `\`${name}\` can't be used in a rule: use size, has, startsWith, endsWith or contains`,
    at(node, scope),
  );
}

const at = (node: ASTNode, scope: Scope): number => scope.shift(node.range.start);
