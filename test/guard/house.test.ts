// What the house forbids and imports can't say. Each guard prints why.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Visitor } from 'oxc-parser';
import { describe, expect, it } from 'vitest';
import { lineOf, ROOT, sources } from '../support/source.ts';

const all = sources();
const LINES_MAX = 400;
const FUNCTION_LINES_MAX = 60;

/** A pattern that may stand in some files only. */
const ONLY_IN: readonly { readonly what: RegExp; readonly where: RegExp; readonly why: string }[] = [
  {
    what: /\bDate\.now\b|\bperformance\.now\b/,
    where: /^lib\/clock\.ts$/,
    why: 'time is a port: tests must be able to move it',
  },
  {
    what: /\bprocess\.env\b/,
    where: /^config\/load\.ts$/,
    why: 'a setting that is read elsewhere is a setting that nobody documents',
  },
  { what: /\bconsole\./, where: /^$/, why: 'what is said is said through the log, or by main' },
  {
    what: /\.web\(/,
    where: /^$/,
    why: 'http-proxy’s web() lets smuggled requests through; requests go through undici',
  },
  {
    what: /\b(INSERT INTO|CREATE TABLE|SELECT .+ FROM)\b/,
    where: /^ledger\//,
    why: 'rows are written in one place',
  },
  { what: /\bMath\.random\b/, where: /^$/, why: 'ids, ports and keys need chance that can’t be guessed' },
  { what: /\beval\(|new Function\b/, where: /^$/, why: 'no code is made from text' },
];

describe('the house', () => {
  for (const { what, where, why } of ONLY_IN) {
    it(`${what.source} stands only in ${where.source}: ${why}`, () => {
      const wrong = all.flatMap(({ path, text }) =>
        where.test(path)
          ? []
          : text
              .split('\n')
              .flatMap((line, i) =>
                what.test(line) && !/^\s*(\/\/|\*|\/\*\*)/.test(line) ? [`${path}:${i + 1}`] : [],
              ),
      );
      expect(wrong, why).toEqual([]);
    });
  }

  it(`files have at most ${LINES_MAX} lines: more, and nobody sees what one owns`, () => {
    const long = all
      .filter(({ text }) => text.trimEnd().split('\n').length > LINES_MAX)
      .map(({ path }) => path);
    expect(long).toEqual([]);
  });

  it(`functions have at most ${FUNCTION_LINES_MAX} lines, unless all they do is hold smaller ones`, () => {
    const long: string[] = [];
    for (const { path, text, program } of all) {
      const check = (node: {
        start: number;
        end: number;
        body?: { type: string; body?: unknown } | null;
      }): void => {
        const from = lineOf(text, node.start);
        const own = lineOf(text, node.end) - from + 1 - inner(node, text);
        if (own > FUNCTION_LINES_MAX) long.push(`${path}:${from}: ${own} lines`);
      };
      new Visitor({
        FunctionDeclaration: check,
        FunctionExpression: check,
        ArrowFunctionExpression: check,
      }).visit(program);
    }
    expect(long).toEqual([]);
  });

  it('every file says in its first lines what it owns, and has no default export', () => {
    const silent = all.filter(({ text }) => !/^\/\/ \S.{20}/.test(text)).map(({ path }) => path);
    expect(silent).toEqual([]);
    expect(all.filter(({ text }) => /^export default/m.test(text)).map(({ path }) => path)).toEqual([]);
  });

  it('every protocol has the same files, and those beside them have a reason', () => {
    const common = ['enforce.ts', 'event.ts', 'handler.ts', 'server.ts', 'wire.ts'];
    /** Each with what would otherwise make a common file too long or mix two jobs. */
    const beside: Readonly<Record<string, string>> = {
      'dns/tcp.ts': 'connections and framing, apart from binding listeners',
      'http/connect.ts': 'tunnels, apart from requests',
      'http/forward.ts': 'the dispatch to origins, apart from judging',
      'http/upload.ts': 'request bodies on their way to the origin, metered',
    };
    for (const folder of ['dns', 'http']) {
      const names = readdirSync(join(ROOT, 'src', folder)).filter(
        (name) => beside[`${folder}/${name}`] === undefined,
      );
      expect(names.sort(), folder).toEqual(common);
    }
    for (const path of Object.keys(beside)) expect(existsSync(join(ROOT, 'src', path)), path).toBe(true);
  });

  it('words of the field are kept: no utils, helpers or managers', () => {
    const wrong = all
      .filter(({ path }) => /(util|helper|manager|misc|common)/i.test(path))
      .map(({ path }) => path);
    expect(wrong).toEqual([]);
    const words = all.flatMap(({ path, text }) =>
      [...text.matchAll(/\b(blacklist|whitelist)/gi)].map(([word]) => `${path}: ${word}`),
    );
    expect(words).toEqual([]);
  });
});

/** Lines of functions inside this one: a factory of closures is as long as they are together. */
function inner(node: object, text: string): number {
  let lines = 0;
  const walk = (value: unknown): void => {
    if (Array.isArray(value)) value.forEach(walk);
    else if (typeof value === 'object' && value !== null && 'type' in value) {
      const { type, start, end } = value as { type: string; start: number; end: number };
      if (/Function/.test(type)) lines += Math.max(0, lineOf(text, end) - lineOf(text, start));
      else Object.values(value).forEach(walk);
    }
  };
  Object.values(node).forEach(walk);
  return lines;
}

describe('the lockfile', () => {
  const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, { resolved?: string; optionalDependencies?: Record<string, string> }>;
  };

  it('names no registry', () => {
    expect(Object.entries(packages).filter(([, p]) => p.resolved !== undefined)).toEqual([]);
  });

  it('has the binaries of every platform: npm drops what it can’t find without a word', () => {
    const missing = Object.entries(packages).flatMap(([at, p]) =>
      Object.keys(p.optionalDependencies ?? {})
        .filter(
          (name) =>
            packages[`node_modules/${name}`] === undefined &&
            packages[`${at}/node_modules/${name}`] === undefined,
        )
        .map((name) => `${at} → ${name}`),
    );
    expect(missing).toEqual([]);
  });
});
