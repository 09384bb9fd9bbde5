// From file and environment to one frozen Config. Owns where files are looked for, and every complaint's place; the only reader
// of the environment.
import { globSync, readFileSync } from 'node:fs';
import { isAbsolute, join, relative, resolve } from 'node:path';
import { parseAllow } from '../lib/egress-allow.ts';
import type { EgressAllow } from '../lib/egress-allow.ts';
import { errorCode, errorText } from '../lib/error-text.ts';
import { parseEndpoint, parseRange } from '../lib/ip.ts';
import type { IpRange } from '../lib/ip.ts';
import { parseUpstream, systemUpstreams } from '../lib/upstream-address.ts';
import type { DnsUpstream } from '../lib/upstream-address.ts';
import { parseYaml } from '../lib/yaml-source.ts';
import type { YamlSource } from '../lib/yaml-source.ts';
import type { UnknownPolicy } from '../rail/identity.ts';
import { crossChecks } from './cross-check.ts';
import { fromEnvironment } from './environment.ts';
import { configSchema, SHIPPED_RULES } from './schema.ts';
import type { WrittenConfig } from './schema.ts';
import { complaintsOf } from './complaints.ts';

/** An address in canonical text, and a port. */
export interface Endpoint {
  readonly address: string;
  readonly port: number;
}

export interface ConfiguredVm {
  readonly id: string;
  readonly sources: readonly IpRange[];
  readonly profile: string;
  readonly tenant?: string;
}

export interface RuleText {
  readonly path: string;
  readonly text: string;
}

/** Everything that weir runs by, parsed. Plain data: it is handed to the data thread as a copy. */
export interface Config {
  readonly dns: {
    readonly listen: readonly Endpoint[];
    readonly upstreams: readonly DnsUpstream[];
    readonly zones: readonly { readonly zone: string; readonly upstreams: readonly DnsUpstream[] }[];
  };
  readonly http: { readonly listen: readonly Endpoint[] };
  readonly admin: { readonly listen: readonly Endpoint[] };
  readonly vms: readonly ConfiguredVm[];
  readonly identity: { readonly unknown: UnknownPolicy; readonly vmsMax: number };
  readonly egress: { readonly allow: readonly EgressAllow[]; readonly ports: readonly number[] };
  readonly rules: {
    readonly corp: readonly RuleText[];
    readonly profiles: ReadonlyMap<string, readonly RuleText[]>;
  };
  readonly state: { readonly keysPerVm: number; readonly maxBytes: number };
  readonly log: {
    readonly file: string | null;
    readonly maxBytes: number;
    readonly keep: number;
    readonly intervalMs: number;
    readonly traffic: WrittenConfig['log']['traffic'];
  };
  readonly data: string;
}

export interface LoadOptions {
  /** As given on the command line; without it config/weir.yaml below the working directory, if there is one. */
  readonly file: string | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly resolvConf?: string;
}

export type Loaded =
  | { readonly ok: true; readonly config: Config; readonly file: string | undefined }
  | { readonly ok: false; readonly problems: readonly string[] };

const DEFAULT_FILE = 'config/weir.yaml';
const PROJECT = join(import.meta.dirname, '..', '..');

/** The environment of this process. */
export const processEnvironment = (): Readonly<Record<string, string | undefined>> => process.env;

/** Never throws for what a person wrote. The configuration is frozen. Problems are `file:line:column: key: what is wrong`. */
export function loadConfig(options: LoadOptions): Loaded {
  const found = findFile(options);
  if (!found.ok) return found;
  const parsed = parseYaml(found.text);
  if (!parsed.ok) {
    const problems = parsed.problems.map(
      ({ place, message }) => `${found.path}:${place.line}:${place.column}: ${message}`,
    );
    return { ok: false, problems };
  }
  const { source } = parsed;
  const environment = fromEnvironment(source.value ?? {}, options.env);
  const result = configSchema.safeParse(environment.value);
  const where = placeIn(found.path, source, environment.variables);
  if (!result.success || environment.problems.length > 0) {
    const written = result.success ? [] : complaintsOf(result.error, where);
    return { ok: false, problems: [...environment.problems, ...written] };
  }
  return assemble(result.data, options, where, found.path === '' ? undefined : found.path);
}

/** From a path in the configuration to `file:line:column`, or the variable that set it. */
export type Where = (path: readonly PropertyKey[]) => string;

function placeIn(file: string, source: YamlSource, variables: ReadonlyMap<string, string>): Where {
  return (path) => {
    for (let n = path.length; n > 0; n -= 1) {
      const variable = variables.get(path.slice(0, n).map(String).join('.'));
      if (variable !== undefined) return variable;
    }
    const { line, column } = source.place(path);
    return file === '' ? 'default' : `${file}:${line}:${column}`;
  };
}

function findFile(
  options: LoadOptions,
): { ok: true; path: string; text: string } | { ok: false; problems: string[] } {
  const path = resolve(options.cwd, options.file ?? DEFAULT_FILE);
  try {
    return { ok: true, path: relative(options.cwd, path) || path, text: readFileSync(path, 'utf8') };
  } catch (error) {
    if (options.file === undefined && errorCode(error) === 'ENOENT') return { ok: true, path: '', text: '' };
    return { ok: false, problems: [`${options.file ?? DEFAULT_FILE}: can't be read: ${errorText(error)}`] };
  }
}

function assemble(
  written: WrittenConfig,
  options: LoadOptions,
  where: Where,
  file: string | undefined,
): Loaded {
  const rules = rulesOf(written, options.cwd, where);
  const http = { listen: ends(written.http.listen) };
  const dns = dnsOf(written, options);
  const open = [...dns.listen, ...http.listen].some((e) => !isLoopback(e.address));
  const config: Config = {
    dns,
    http,
    admin: { listen: ends(written.admin.listen) },
    vms: written.vms.map(({ id, sources, profile, tenant }) => ({
      id,
      profile,
      sources: sources.map(parseRange).filter((range) => range !== undefined),
      ...(tenant === undefined ? {} : { tenant }),
    })),
    identity: {
      unknown: written.identity.unknown ?? (open ? 'refuse' : 'one'),
      vmsMax: written.identity.vms_max,
    },
    egress: {
      allow: written.egress.allow.flatMap((text) => okOnly(parseAllow(text))),
      ports: written.egress.ports,
    },
    rules: rules.texts,
    state: { keysPerVm: written.state.keys_per_vm, maxBytes: written.state.max_bytes },
    log: {
      file: written.log.file === null ? null : resolve(options.cwd, written.log.file),
      maxBytes: written.log.max_bytes,
      keep: written.log.keep,
      intervalMs: written.log.interval_s * 1000,
      traffic: written.log.traffic,
    },
    data: resolve(options.cwd, written.data),
  };
  const problems = [...rules.problems, ...crossChecks(config, where)];
  return problems.length > 0 ? { ok: false, problems } : { ok: true, config: frozen(config), file };
}

function dnsOf({ dns }: WrittenConfig, { resolvConf }: LoadOptions): Config['dns'] {
  return {
    listen: ends(dns.listen),
    upstreams:
      dns.upstreams === 'system' ? systemUpstreams(resolvConf ?? readResolvConf()) : upstreams(dns.upstreams),
    zones: Object.entries(dns.zones).map(([zone, list]) => ({ zone, upstreams: upstreams(list) })),
  };
}

function rulesOf(
  { rules }: WrittenConfig,
  cwd: string,
  where: Where,
): { texts: Config['rules']; problems: string[] } {
  const problems: string[] = [];
  const texts = (patterns: readonly string[], path: readonly PropertyKey[]): RuleText[] =>
    patterns.flatMap((pattern, i) => {
      const found = ruleTexts(pattern, cwd);
      if (!found.ok) problems.push(`${where([...path, i])}: ${path.map(String).join('.')}: ${found.detail}`);
      return found.ok ? found.texts : [];
    });
  const corp = texts(rules.corp, ['rules', 'corp']);
  const profiles = new Map(
    Object.entries(rules.profiles).map(([name, list]) => [name, texts(list, ['rules', 'profiles', name])]),
  );
  return { texts: { corp, profiles }, problems };
}

/** Freezes plain objects and lists all the way down. */
function frozen<T>(value: T): T {
  if (typeof value !== 'object' || value === null || Object.isFrozen(value)) return value;
  for (const part of value instanceof Map ? value.values() : Object.values(value)) frozen(part);
  return Object.freeze(value);
}

const okOnly = (parsed: ReturnType<typeof parseAllow>): EgressAllow[] => (parsed.ok ? [parsed.allow] : []);

function ends(listen: string | readonly string[]): Endpoint[] {
  const list = typeof listen === 'string' ? [listen] : listen;
  return list.map(parseEndpoint).filter((endpoint) => endpoint !== undefined);
}

function upstreams(list: readonly string[]): DnsUpstream[] {
  return list.flatMap((text) => {
    const parsed = parseUpstream(text);
    return parsed.ok ? [parsed.upstream] : [];
  });
}

export const isLoopback = (address: string): boolean => address === '::1' || address.startsWith('127.');

function readResolvConf(): string {
  try {
    return readFileSync('/etc/resolv.conf', 'utf8');
  } catch {
    return '';
  }
}

/** The files of a pattern, in order of their names. The shipped pattern always means the shipped rules. */
function ruleTexts(
  pattern: string,
  cwd: string,
): { ok: true; texts: RuleText[] } | { ok: false; detail: string } {
  const base = pattern === SHIPPED_RULES ? PROJECT : cwd;
  const paths = globSync(isAbsolute(pattern) ? pattern : join(base, pattern)).sort();
  if (paths.length === 0)
    return {
      ok: false,
      detail: `no file matches \`${pattern}\`${isAbsolute(pattern) ? '' : ` below ${base}`}`,
    };
  try {
    const texts = paths.map((path) => ({ path: shown(path, cwd), text: readFileSync(path, 'utf8') }));
    return { ok: true, texts };
  } catch (error) {
    return { ok: false, detail: `can't be read: ${errorText(error)}` };
  }
}

/** A path as a person in the working directory would write it. */
function shown(path: string, cwd: string): string {
  const near = relative(cwd, path);
  return near.startsWith('..') ? path : near;
}
