// After an install: puts the pinned Node where npm scripts and scripts/weir look for it. npm 11 does so itself; npm 10 and older,
// which come with Node 20 and 22, install the package and leave the link out. Runs on whatever Node the machine has.
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const modules = fileURLToPath(new URL('../node_modules', import.meta.url));
const link = join(modules, '.bin', 'node');

if (process.platform !== 'win32' && !existsSync(link)) {
  const found = readdirSync(modules).find(
    (name) => name.startsWith('node-') && existsSync(join(modules, name, 'bin', 'node')),
  );
  if (found !== undefined) {
    mkdirSync(join(modules, '.bin'), { recursive: true });
    rmSync(link, { force: true });
    symlinkSync(join('..', found, 'bin', 'node'), link);
  }
}
