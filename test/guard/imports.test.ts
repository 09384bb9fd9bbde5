// Who may import whom (DESIGN.md section 2). Each rule says why, so that whoever breaks it knows what is at stake.
import { describe, expect, it } from 'vitest';
import { sources } from '../support/source.ts';

interface ImportRule {
  readonly from: RegExp;
  /** Files of src that may be imported. */
  readonly only: RegExp;
  readonly why: string;
}

const PROTOCOLS = ['dns', 'http'] as const;

const RULES: readonly ImportRule[] = [
  { from: /^lib\//, only: /^lib\//, why: 'lib is leaves: whatever it imported, everything would' },
  {
    from: /^rail\//,
    only: /^(rail|lib)\//,
    why: 'the rail is the law, pure: it must be provable without the rest',
  },
  {
    from: /^rules\//,
    only: /^(rules|rail|lib)\//,
    why: 'rules become a policy; they know no protocol and no counters',
  },
  { from: /^state\//, only: /^(state|rail|lib)\//, why: 'counters serve the rail and know nobody else' },
  {
    from: /^egress\//,
    only: /^(egress|lib)\/|^rail\/index\.ts$/,
    why: 'the way out knows the rail by its door alone',
  },
  ...PROTOCOLS.map((name) => ({
    from: new RegExp(`^${name}/`),
    only: new RegExp(`^(${name}|egress|lib)/|^rail/index\\.ts$`),
    why: 'a protocol that saw counters, rules or another protocol could decide beside the rail',
  })),
  {
    from: /^config\//,
    only: /^(config|lib)\/|^rail\/identity\.ts$/,
    why: 'configuration is read before anything runs',
  },
  {
    from: /^admin\//,
    only: /^(admin|lib)\/|^rail\/fields\.ts$/,
    why: 'people are shown numbers; the admin listener reaches nothing that decides',
  },
  {
    from: /^control\//,
    only: /^(control|config|admin|lib|rules|state|rail)\/|^data-thread\.ts$/,
    why: 'the control thread reads; it must not touch protocol code',
  },
  { from: /^main\.ts$/, only: /^control\//, why: 'main is arguments, signals and exit codes' },
  {
    from: /^data-thread\.ts$/,
    only: /^(app\.ts|config|control|lib|rules|state)/,
    why: 'the thread’s entry builds the app, and no part of it',
  },
];

const all = sources();

describe('imports', () => {
  it('every file has a rule, but for the composition root', () => {
    const without = all.filter(({ path }) => path !== 'app.ts' && !RULES.some(({ from }) => from.test(path)));
    expect(without.map(({ path }) => path)).toEqual([]);
  });

  for (const { from, only, why } of RULES) {
    it(`of ${from.source}: ${why}`, () => {
      const wrong = all
        .filter(({ path }) => from.test(path))
        .flatMap(({ path, imports }) => {
          const own = imports.filter((name) => name.endsWith('.ts') || name === 'computed import');
          return own.filter((name) => !only.test(name)).map((name) => `${path} imports ${name}`);
        });
      expect(wrong, why).toEqual([]);
    });
  }

  it('of the rail name no Node module: it must run wherever its law is needed', () => {
    const wrong = all.filter(
      ({ path, imports }) => path.startsWith('rail/') && imports.some((name) => name.startsWith('node:')),
    );
    expect(wrong.map(({ path }) => path)).toEqual([]);
  });

  it('never go round in a circle at run time', () => {
    const graph = new Map(all.map(({ path, text }) => [path, runtimeImports(path, text)]));
    const circles: string[] = [];
    const walk = (path: string, trail: readonly string[]): void => {
      if (trail.includes(path)) {
        circles.push([...trail.slice(trail.indexOf(path)), path].join(' → '));
        return;
      }
      if (circles.length === 0) for (const next of graph.get(path) ?? []) walk(next, [...trail, path]);
    };
    for (const { path } of all) walk(path, []);
    expect(circles).toEqual([]);
  });
});

function runtimeImports(path: string, text: string): string[] {
  const folder = path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : '';
  return [...text.matchAll(/^(?:import|export) (?!type\b)[^;]*? from '(\.[^']+)'/gm)].map(([, name = '']) =>
    new URL(name, `file:///${folder === '' ? '' : `${folder}/`}`).pathname.slice(1),
  );
}
