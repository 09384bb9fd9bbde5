// The demo beside a weir that has settings of its own, as in a container.
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, it } from 'vitest';
import { until } from '../support/weir.ts';

const WEIR = join(import.meta.dirname, '..', '..', 'scripts', 'weir');
const CONTAINER = {
  ...process.env,
  WEIR_DNS_LISTEN: '0.0.0.0:53',
  WEIR_HTTP_LISTEN: '0.0.0.0:3128',
  WEIR_DATA: '/nonexistent',
  WEIR_IDENTITY_UNKNOWN: 'refuse',
};

/** Process ids of the children of a process. */
async function childrenOf(pid: number): Promise<number[]> {
  const { readFile, readdir } = await import('node:fs/promises');
  const tasks = await readdir(`/proc/${pid}/task`);
  const lists = await Promise.all(
    tasks.map((task) => readFile(`/proc/${pid}/task/${task}/children`, 'utf8')),
  );
  return lists
    .flatMap((list) => list.trim().split(' '))
    .filter(Boolean)
    .map(Number);
}

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

describe('weir demo', () => {
  it('shows the same whatever the settings of the weir beside it', async () => {
    const demo = spawn(WEIR, ['demo'], { env: CONTAINER, stdio: ['ignore', 'pipe', 'inherit'] });
    const ended = new Promise((resolve) => {
      demo.once('close', resolve);
    });
    let shown = '';
    for await (const chunk of demo.stdout) shown += String(chunk);
    expect(await ended).toBe(0);
    expect(shown).toContain('answered: 60 NOERROR, 140 NXDOMAIN');
    expect(shown).toContain('answered: 600 with 200, 10 with 429');
  });

  it('leaves no weir and no file behind when its reader goes away', async () => {
    const temporary = mkdtempSync(join(tmpdir(), 'weir-test-'));
    const env = { ...CONTAINER, TMPDIR: temporary };
    const demo = spawn(WEIR, ['demo'], { env, stdio: ['ignore', 'pipe', 'ignore'] });
    const ended = new Promise((resolve) => {
      demo.once('close', resolve);
    });
    const lines = createInterface({ input: demo.stdout });
    await new Promise((resolve) => {
      lines.once('line', resolve);
    });
    const children = await childrenOf(demo.pid ?? 0);
    expect(children).toHaveLength(1);
    demo.stdout.destroy();
    await ended;
    await until('the demo’s weir is gone', () => !children.some(isAlive));
    expect(readdirSync(temporary).filter((name) => name.startsWith('weir-'))).toEqual([]);
    rmSync(temporary, { recursive: true });
  });
});
