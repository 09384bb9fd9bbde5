// YAML with the places of its nodes, so that every complaint can name a line. Owns the parser's settings; reads no file.
import { isNode, LineCounter, parseDocument } from 'yaml';

export interface Place {
  readonly line: number;
  readonly column: number;
}

export interface YamlSource {
  readonly value: unknown;
  /** Where the node at `path` stands, or the nearest one above it that exists. */
  place(path: readonly PropertyKey[]): Place;
}

/** Aliases are counted, so that a small file can't unfold into a large one. */
const ALIASES_MAX = 100;

/** One line, with advice for the mistake that rules invite: `octets(a, new: b)` without quotes. */
function plain(message: string): string {
  const line = message.split('\n', 1)[0] ?? '';
  const bare = line.replace(/ at line \d+, column \d+:?$/, '');
  return bare.startsWith('Nested mappings') ? `${bare}: put quotes around a text that has ": " in it` : bare;
}

/** Never throws. Problems carry their place. */
export function parseYaml(
  text: string,
): { ok: true; source: YamlSource } | { ok: false; problems: { place: Place; message: string }[] } {
  const lines = new LineCounter();
  const doc = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const at = (offset: number): Place => {
    const { line, col } = lines.linePos(offset);
    return { line: Math.max(1, line), column: Math.max(1, col) };
  };
  if (doc.errors.length > 0) {
    const problems = doc.errors.map((e) => ({ place: at(e.pos[0]), message: plain(e.message) }));
    return { ok: false, problems };
  }
  const place = (path: readonly PropertyKey[]): Place => {
    for (let n = path.length; n >= 0; n -= 1) {
      const node = n === 0 ? doc.contents : doc.getIn(path.slice(0, n), true);
      if (isNode(node) && node.range) return at(node.range[0]);
    }
    return { line: 1, column: 1 };
  };
  try {
    return { ok: true, source: { value: doc.toJS({ maxAliasCount: ALIASES_MAX }) as unknown, place } };
  } catch (error) {
    const message = error instanceof Error ? error.message : 'not YAML';
    return { ok: false, problems: [{ place: { line: 1, column: 1 }, message }] };
  }
}
