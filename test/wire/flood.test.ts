// Must-show 5: a VM that touches 100,000 domains changes nothing for another VM, and nothing grows.
import { readFileSync } from 'node:fs';
import { createSocket } from 'node:dgram';
import { expect, it } from 'vitest';
import { ask, decodeAnswer, encodeQuery } from '../support/dns-client.ts';
import { startUpstream } from '../support/dns-upstream.ts';
import { Random, SEED } from '../support/random.ts';
import { startWeir, VM_A, VM_B } from '../support/weir.ts';
import type { RunningWeir } from '../support/weir.ts';

const DOMAINS = 100_000;
const WAVE = 100;
const LOST_AFTER_MS = 200;

const residentMiB = (weir: RunningWeir): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${weir.child.pid}/status`, 'utf8'))?.[1]) / 1024;

/** Sends queries from VM A as fast as they are answered; resolves with how often each rcode came. */
async function flood(weir: RunningWeir, random: Random, count: number): Promise<Map<string, number>> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => {
    socket.bind(0, VM_A, resolve);
  });
  const rcodes = new Map<string, number>();
  let heard = 0;
  socket.on('message', (message) => {
    heard += 1;
    const { rcode } = decodeAnswer(message);
    rcodes.set(rcode, (rcodes.get(rcode) ?? 0) + 1);
  });
  for (let sent = 0; sent < count; sent += WAVE) {
    for (let i = 0; i < WAVE; i += 1) {
      const domain = `d${random.int(0, 2 ** 31)}${random.int(0, 2 ** 31)}.com`;
      socket.send(encodeQuery(`www.${domain}`), weir.dns, '127.0.0.1');
    }
    // A datagram may be lost on a full socket buffer; then the flood goes on after a moment without it.
    const target = Math.min(heard + WAVE, sent + WAVE);
    for (let left = LOST_AFTER_MS; left > 0 && heard < target; left -= 5) {
      await new Promise((resolve) => {
        setTimeout(resolve, 5);
      });
    }
  }
  socket.close();
  expect(heard, 'most of the flood was answered').toBeGreaterThan(count * 0.8);
  return rcodes;
}

/** What VM B does, and all that it is answered. */
async function workOfB(weir: RunningWeir, round: number): Promise<string[]> {
  const answers: string[] = [];
  for (let i = 0; i < 70; i += 1) {
    const { rcode, ede } = await ask(`n${i}.round${round}.example`, { port: weir.dns, from: VM_B });
    answers.push(`${rcode} ${ede?.code ?? ''} ${ede?.text.replace(/id=\w+/, 'id') ?? ''}`);
  }
  return answers;
}

it('100,000 random domains from VM A: memory flat, evictions counted, A’s tripped key tripped, B as in a run without A', async () => {
  const upstream = await startUpstream();
  const random = new Random(SEED);
  const weir = await startWeir({ upstreamPort: upstream.port });
  const alone = await startWeir({ upstreamPort: upstream.port });
  for (let i = 0; i < 61; i += 1) await ask(`n${i}.tripped.example`, { port: weir.dns, from: VM_A });
  await flood(weir, random, DOMAINS / 4);
  let early = 0;
  const answersOfB: string[][] = [];
  for (let quarter = 1; quarter <= 3; quarter += 1) {
    // The heap settles within the first half; what is left of it then must be all.
    if (quarter === 2) early = residentMiB(weir);
    await flood(weir, random, DOMAINS / 4);
    answersOfB.push(await workOfB(weir, quarter));
    expect(
      (await ask(`again${quarter}.tripped.example`, { port: weir.dns, from: VM_A })).rcode,
      `TEST_SEED=${SEED}`,
    ).toBe('NXDOMAIN');
  }
  upstream.asked.length = 0;
  const late = residentMiB(weir);
  expect(late - early, `${early} MiB, then ${late} MiB`).toBeLessThan(64);
  const metrics = await weir.metrics();
  expect(metrics.get('weir_state_evictions_total')).toBeGreaterThan(10_000);
  const expected: string[][] = [];
  for (let quarter = 1; quarter <= 3; quarter += 1) expected.push(await workOfB(alone, quarter));
  expect(answersOfB).toEqual(expected);
  const own = (lines: readonly Record<string, unknown>[]): unknown[] =>
    lines
      .filter((l) => l['kind'] === 'detection' && l['vm'] === 'vm-b' && l['interval'] === false)
      .map(({ rule, key, value, max, state }) => ({ rule, key, value, max, state }));
  // Stopped first: then every line is there.
  expect(await weir.stop()).toBe(0);
  expect(await alone.stop()).toBe(0);
  expect(own(weir.lines)).toEqual(own(alone.lines));
  await upstream.close();
});
