// What is written twice is compared: docs with code, configuration with schema, dependencies with their page.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { generated, read } from '../../scripts/generate.ts';
import { REASONS } from '../../src/rail/decision.ts';
import { configSchema } from '../../src/config/schema.ts';
import { detectionFields } from '../../src/control/log.ts';
import { loadRules } from '../../src/rules/load.ts';
import { ROOT } from '../support/source.ts';

const blocks = (text: string, language: string): string[] =>
  [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(
    ([, block = '']) => block,
  );
const rulesOf = (text: string): readonly string[] => {
  const loaded = loadRules({ corp: [], profiles: new Map([['balanced', [{ path: 'doc', text }]]]) });
  return loaded.ok ? [] : loaded.problems;
};

describe('generated files', () => {
  for (const { path, text } of generated()) {
    it(`${path} is current: run npm run generate`, () => {
      expect(read(path)).toBe(text);
    });
  }
});

describe('configuration', () => {
  it('every YAML file in config/ is valid, and weir.yaml shows every default as it is', () => {
    const written = configSchema.parse(parse(read('config/weir.yaml')));
    expect(written).toEqual(configSchema.parse({}));
    for (const name of readdirSync(join(ROOT, 'config', 'rules')))
      expect(rulesOf(read(`config/rules/${name}`)), name).toEqual([]);
  });

  it('weir.yaml shows every key', () => {
    const keys = (node: unknown, at: string): string[] =>
      typeof node === 'object' && node !== null && !Array.isArray(node) && Object.keys(node).length > 0
        ? Object.entries(node).flatMap(([key, value]) => keys(value, at === '' ? key : `${at}.${key}`))
        : [at];
    const shown = keys(parse(read('config/weir.yaml')), '');
    expect(keys(configSchema.parse({}), '').filter((key) => !shown.includes(key))).toEqual([]);
  });
});

describe('YAML blocks in the docs', () => {
  for (const path of ['README.md', ...readdirSync(join(ROOT, 'docs')).map((name) => `docs/${name}`)]) {
    for (const [i, block] of blocks(read(path), 'yaml').entries()) {
      it(`${path}, block ${i + 1} is a valid ${block.startsWith('- ') ? 'rule pack' : 'configuration'}`, () => {
        if (block.startsWith('- ')) expect(rulesOf(block)).toEqual([]);
        else expect(() => configSchema.parse(parse(block))).not.toThrow();
      });
    }
  }
});

describe('the docs', () => {
  it('list every reason of a refusal', () => {
    const page = read('docs/architecture.md');
    for (const reason of REASONS) if (reason !== 'allowed') expect(page, reason).toContain(`\`${reason}\``);
  });

  it('list the fields of a detection line', () => {
    const listed = /A detection has `([^`]+)`/.exec(read('docs/architecture.md'))?.[1]?.split(/\s+/) ?? [];
    const line = {
      rule: 'r',
      ruleLevel: 'low',
      title: '',
      eventId: '',
      eventType: 'dns.query',
      vm: '',
      profile: '',
      key: '',
    } as const;
    const more = {
      value: 0,
      max: 0,
      windowMs: 1,
      state: 'blocked',
      mode: 'enforce',
      verdict: 'block',
      count: 1,
    } as const;
    const written = Object.keys(detectionFields({ ...line, ...more, interval: false, time: 0, message: '' }));
    expect(listed.sort()).toEqual([...written, 'level', 'msg'].sort());
  });

  it('of the shipped rules name each one, with its mode', () => {
    const readme = read('README.md');
    for (const name of readdirSync(join(ROOT, 'config', 'rules'))) {
      for (const rule of parse(read(`config/rules/${name}`)) as { id: string; mode?: string }[]) {
        expect(readme).toContain(`| \`${rule.id}\` | ${rule.mode ?? 'enforce'} |`);
      }
    }
  });

  it('of dependencies have a line for each, with its exact version, and no other', () => {
    const manifest = JSON.parse(read('package.json')) as Record<string, Record<string, string>>;
    const pinned = {
      ...manifest['dependencies'],
      ...manifest['devDependencies'],
      ...manifest['optionalDependencies'],
    };
    const rows = [...read('docs/dependencies.md').matchAll(/^\| `([^`]+)` \| ([^ |]+) \|/gm)].map(
      ([, name, version]) => [name, version],
    );
    expect(rows.sort()).toEqual(Object.entries(pinned).sort());
    for (const version of Object.values(pinned)) expect(version).toMatch(/^\d+\.\d+\.\d+$/);
  });

  it('name no registry and no machine', () => {
    for (const path of ['README.md', 'docs/architecture.md', 'docs/dependencies.md'])
      expect(read(path)).not.toMatch(/registry\.npmjs|\/work\//);
  });
});
