// What code can reach: the clock, the network, the disk, packages. Each guard prints why, and is shown to find what it forbids.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseSync, Visitor } from 'oxc-parser';
import type { Program } from 'oxc-parser';
import { describe, expect, it } from 'vitest';
import { lineOf, ROOT, sources } from '../support/source.ts';

const all = sources();
const parsed = (text: string): { text: string; program: Program } => ({
  text,
  program: parseSync('sample.ts', text).program,
});

/** Run-time imports as `module name`; `*` for a whole module. Types vanish and reach nothing. */
function reaches(program: Program): string[] {
  const found: string[] = [];
  new Visitor({
    ImportDeclaration(n) {
      if (n.importKind === 'type') return;
      const from = n.source.value;
      if (n.specifiers.length === 0) found.push(`${from} *`);
      for (const each of n.specifiers) {
        if (each.type !== 'ImportSpecifier') found.push(`${from} *`);
        else if (each.importKind !== 'type')
          found.push(`${from} ${each.imported.type === 'Identifier' ? each.imported.name : '*'}`);
      }
    },
    ExportAllDeclaration: (n) => {
      if (n.exportKind !== 'type') found.push(`${n.source.value} *`);
    },
    ExportNamedDeclaration(n) {
      if (n.source !== null && n.exportKind !== 'type') found.push(`${n.source.value} *`);
    },
    ImportExpression: (n) => {
      found.push(`${n.source.type === 'Literal' ? String(n.source.value) : 'computed import'} *`);
    },
  }).visit(program);
  return found;
}

/** Lines that read a clock: Date.now, new Date(), Date(), performance.*, process.hrtime, process.uptime. */
function clockReads({ text, program }: { text: string; program: Program }): number[] {
  const lines: number[] = [];
  const add = (node: { start: number }): void => void lines.push(lineOf(text, node.start));
  const isNamed = (node: { type: string; name?: unknown }, name: string): boolean =>
    node.type === 'Identifier' && node.name === name;
  new Visitor({
    NewExpression(n) {
      if (isNamed(n.callee, 'Date') && n.arguments.length === 0) add(n);
    },
    CallExpression(n) {
      if (isNamed(n.callee, 'Date')) add(n);
    },
    MemberExpression(n) {
      const member = text.slice(n.property.start, n.property.end).replaceAll(/['"`]/g, '');
      if (isNamed(n.object, 'performance')) add(n);
      if (isNamed(n.object, 'Date') && member !== 'UTC') add(n);
      if (isNamed(n.object, 'process') && (member === 'hrtime' || member === 'uptime')) add(n);
    },
    VariableDeclarator(n) {
      if (
        n.init !== null &&
        n.id.type === 'ObjectPattern' &&
        ['Date', 'performance'].some((name) => n.init !== null && isNamed(n.init, name))
      )
        add(n);
    },
  }).visit(program);
  return lines;
}

describe('the clock', () => {
  const why = 'time is a port: tests must be able to move it';

  it(`is read in lib/clock.ts alone: ${why}`, () => {
    const wrong = all
      .filter(({ path }) => path !== 'lib/clock.ts')
      .flatMap((source) => clockReads(source).map((line) => `${source.path}:${line}`));
    expect(wrong, why).toEqual([]);
  });

  it('is found however it is read, and dates made of a number are no reading', () => {
    for (const text of [
      'Date.now()',
      'new Date()',
      'new Date().toISOString()',
      'Date()',
      "Date['now']()",
      'const { now } = Date;',
      'performance.now()',
      'performance.timeOrigin',
      'const { now } = performance;',
      'process.hrtime.bigint()',
    ])
      expect(clockReads(parsed(text)), text).not.toEqual([]);
    expect(clockReads(parsed('new Date(5); Date.UTC(2026, 1); clock.now(); const a = { now: 1 };'))).toEqual(
      [],
    );
  });
});

/** Files that only turn bytes into facts and facts into bytes, and the law. */
const PURE = /^(?:rail|state|rules|lib)\/|^(?:dns|http)\/(?:wire|event|enforce)\.ts$/;
const HARMLESS = /^node:(?:buffer|crypto|util) /;

describe('pure code', () => {
  const why = 'what touches no socket, file or thread can be tested in microseconds, over every input';

  it(`reaches no Node module but ${HARMLESS.source}: ${why}`, () => {
    const pure = all.filter(({ path }) => PURE.test(path));
    expect(pure.length).toBeGreaterThan(30);
    const wrong = pure.flatMap(({ path, program }) =>
      reaches(program)
        .filter((name) => name.startsWith('node:') && !HARMLESS.test(name))
        .map((name) => `${path} reaches ${name}`),
    );
    expect(wrong, why).toEqual([]);
  });
});

/** What can send something out. Any name of these modules; of the others the names that dial. */
const OUTWARD =
  /^(?:undici|node:(?:https|http2|tls|dns|dns\/promises|quic)) |^node:(?:net|http|dgram) (?:\*|connect|createConnection|request|get|Agent|createSocket)$/;
const GOES_OUT: Readonly<Record<string, string>> = {
  'dns/server.ts node:dgram createSocket': 'the listener: answers the one who asked',
  'control/health.ts node:http request': 'asks the weir of its own configuration',
  'control/demo.ts node:dgram createSocket': 'plays the sandbox, on loopback',
  'control/demo.ts node:http request': 'plays the sandbox, on loopback',
  'control/demo.ts node:http Agent': 'plays the sandbox, on loopback',
  'control/demo-peers.ts node:dgram createSocket': 'plays the upstream, on loopback',
};

describe('the way out', () => {
  const why =
    'egress looks the name up under the rules, classifies and dials what was judged; no other door may lead around it';
  const goingOut = all
    .filter(({ path }) => !path.startsWith('egress/'))
    .flatMap(({ path, program }) =>
      reaches(program)
        .filter((name) => OUTWARD.test(name))
        .map((name) => `${path} ${name}`),
    );

  it(`is egress alone: ${why}`, () => {
    expect(
      goingOut.filter((name) => GOES_OUT[name] === undefined),
      why,
    ).toEqual([]);
  });

  it('has no exception that nobody uses', () => {
    expect(Object.keys(GOES_OUT).filter((name) => !goingOut.includes(name))).toEqual([]);
  });

  it('is never the global fetch or WebSocket, which look names up by themselves', () => {
    const wrong = all.flatMap(({ path, text, program }) => {
      const found: string[] = [];
      const check = (n: { callee: { type: string; name?: unknown }; start: number }): void => {
        if (n.callee.type === 'Identifier' && /^(?:fetch|WebSocket|EventSource)$/.test(String(n.callee.name)))
          found.push(`${path}:${lineOf(text, n.start)}`);
      };
      new Visitor({ CallExpression: check, NewExpression: check }).visit(program);
      return found;
    });
    expect(wrong, why).toEqual([]);
  });

  it('is found in every form of import, and types are let pass', () => {
    for (const text of [
      "import { connect } from 'node:net'",
      "import { connect as dial } from 'node:net'",
      "import net from 'node:net'",
      "import * as net from 'node:net'",
      "import { type Socket, connect } from 'node:net'",
      "export { connect } from 'node:net'",
      "export * from 'undici'",
      "await import('node:tls')",
      "import { lookup } from 'node:dns/promises'",
    ])
      expect(
        reaches(parsed(text).program).filter((name) => OUTWARD.test(name)),
        text,
      ).not.toEqual([]);
    const harmless =
      "import type { Socket } from 'node:net'; import { type Agent, createServer } from 'node:http'";
    expect(reaches(parsed(harmless).program).filter((name) => OUTWARD.test(name))).toEqual([]);
  });
});

describe('the disk and other processes', () => {
  const why =
    'protocol code and the rail must not wait for a disk, and nothing that a sandbox sends may reach one';

  it(`are reached from config and control alone: ${why}`, () => {
    const wrong = all.flatMap(({ path, program }) =>
      reaches(program)
        .filter((name) =>
          /^node:(?:fs|fs\/promises|child_process|cluster|vm|repl|inspector|sqlite) /.test(name),
        )
        .filter(() => !/^(?:config|control)\//.test(path))
        .map((name) => `${path} reaches ${name}`),
    );
    expect(wrong, why).toEqual([]);
  });
});

describe('packages', () => {
  const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    dependencies: Record<string, string>;
  };
  const nameOf = (specifier: string): string =>
    specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
  const used = new Map<string, string>();
  for (const { path, imports } of all)
    for (const name of imports)
      if (!name.startsWith('node:') && !name.endsWith('.ts')) used.set(nameOf(name), path);

  it('that src imports are dependencies of the program, not of its development', () => {
    const wrong = [...used].filter(([name]) => manifest.dependencies[name] === undefined);
    expect(wrong).toEqual([]);
  });

  it('that nothing imports are not installed', () => {
    expect(Object.keys(manifest.dependencies).filter((name) => !used.has(name))).toEqual([]);
  });
});
