// YAML with the place of every node.
import { describe, expect, it } from 'vitest';
import { parseYaml } from '../../../src/lib/yaml-source.ts';
import type { YamlSource } from '../../../src/lib/yaml-source.ts';

function source(text: string): YamlSource {
  const parsed = parseYaml(text);
  if (!parsed.ok) throw new Error(parsed.problems[0]?.message);
  return parsed.source;
}

describe('YAML', () => {
  it('gives values and where they stand', () => {
    const read = source('a:\n  b: [1, 2]\n  c: {d: x}\n');
    expect(read.value).toEqual({ a: { b: [1, 2], c: { d: 'x' } } });
    expect(read.place(['a', 'b', 1])).toEqual({ line: 2, column: 10 });
    expect(read.place(['a', 'c', 'd'])).toEqual({ line: 3, column: 10 });
  });

  it('gives the place of what is nearest above where there is nothing', () => {
    const read = source('a:\n  b: 1\n');
    expect(read.place(['a', 'missing', 'deeper'])).toEqual({ line: 2, column: 3 });
    expect(read.place([])).toEqual({ line: 1, column: 1 });
    expect(source('').place(['x'])).toEqual({ line: 1, column: 1 });
  });

  it('leaves yes, no and 1:30 as the texts that they are', () => {
    expect(source('[yes, no, on, 1:30, 1e3, 0o7]').value).toEqual(['yes', 'no', 'on', '1:30', 1000, 7]);
  });

  const faulty: readonly (readonly [what: string, text: string, line: number, message: RegExp])[] = [
    ['a key given twice', 'a: 1\nb: 2\na: 3\n', 3, /^Map keys must be unique$/],
    ['an open bracket', 'a: [1, 2\nb: 3\n', 2, /./],
    ['a tab for indentation', 'a:\n\tb: 1\n', 2, /./],
    [
      'a text with ": " and no quotes',
      'count: octets(a, new: b)\n',
      1,
      /put quotes around a text that has ": " in it/,
    ],
  ];
  for (const [what, text, line, message] of faulty) {
    it(`with ${what} is a problem in line ${line}, said in one line`, () => {
      const parsed = parseYaml(text);
      expect(parsed.ok).toBe(false);
      if (parsed.ok) return;
      expect(parsed.problems[0]?.place.line).toBe(line);
      expect(parsed.problems[0]?.message).toMatch(message);
      expect(parsed.problems[0]?.message).not.toContain('\n');
    });
  }

  it('that would unfold without end is a problem', () => {
    const levels = 'bcdefghij'.split('').map((name, i) => `${name}: [${`*${'abcdefghij'[i]},`.repeat(9)}]`);
    const bomb = ['a: &a [x]', ...levels.map((line) => line.replace(/^(\w):/, '$1: &$1'))].join('\n');
    expect(parseYaml(bomb)).toMatchObject({ ok: false });
  });

  it('with an alias of nothing is a problem, not an exception', () => {
    expect(parseYaml('a: *nobody\n')).toMatchObject({ ok: false });
  });
});
