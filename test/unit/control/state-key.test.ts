// The secret of the keyed hashes: made once, kept, never replaced in silence.
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { stateKey } from '../../../src/control/state-key.ts';

let home: string;
let folder: string;
let path: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'weir-key-'));
  folder = join(home, 'a', 'data');
  path = join(folder, 'state.key');
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

const modeOf = (name: string): number => statSync(name).mode & 0o777;

describe('the state key', () => {
  it('is made at first start: 32 octets that only the owner can read, in a folder of its own', () => {
    const made = stateKey(folder);
    expect(made.ok && made.key.length).toBe(32);
    expect(modeOf(path)).toBe(0o600);
    expect(modeOf(folder)).toBe(0o700);
  });

  it('is the same at every later start, and another in another folder', () => {
    const first = stateKey(folder);
    const other = stateKey(join(home, 'b'));
    if (!first.ok || !other.ok) throw new Error('no key');
    expect(stateKey(folder)).toEqual({ ok: true, key: readFileSync(path) });
    expect(Buffer.from(first.key)).toEqual(readFileSync(path));
    expect(Buffer.from(other.key)).not.toEqual(Buffer.from(first.key));
  });

  it('that others could read is closed to them', () => {
    stateKey(folder);
    chmodSync(path, 0o644);
    stateKey(folder);
    expect(modeOf(path)).toBe(0o600);
  });

  for (const octets of [0, 31, 33]) {
    it(`of ${octets} octets is a problem, and stays as it is`, () => {
      mkdirSync(folder, { recursive: true });
      writeFileSync(path, Buffer.alloc(octets));
      expect(stateKey(folder)).toEqual({
        ok: false,
        detail: `${path}: has ${octets} octets, not 32: restore it, or remove it to start anew`,
      });
      expect(readFileSync(path)).toHaveLength(octets);
    });
  }

  it('that can not be made says which setting is to be changed', () => {
    mkdirSync(join(home, 'a'));
    writeFileSync(folder, 'a file where the folder should be');
    expect(stateKey(folder)).toMatchObject({
      ok: false,
      detail: expect.stringMatching(/set `data` to one that is/),
    });
  });
});
