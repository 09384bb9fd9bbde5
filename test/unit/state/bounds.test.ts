// Law 6: state is bounded, eviction never resets, and one VM can never change what another is answered.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { compilePolicy } from '../../../src/rail/program.ts';
import { stateBytes } from '../../../src/state/state.ts';
import { policyOf, query, railOf, request } from '../../support/rail-bench.ts';
import type { RailUnderTest } from '../../support/rail-bench.ts';

const read = (name: string): string =>
  readFileSync(new URL(`../../../config/rules/${name}`, import.meta.url), 'utf8');
const PACK = read('dns.yaml') + read('http.yaml');

/** What VM B is answered, in full, when it works beside VM A. */
function workOf(test: RailUnderTest, between: (i: number) => void): unknown[] {
  const answers: unknown[] = [];
  for (let i = 0; i < 150; i += 1) {
    between(i);
    const decisions = [
      test.rail.decide(query('vm-b', `h${i}.example.com`)),
      test.rail.decide(query('vm-b', `www.site${i}.example`)),
      test.rail.decide(request('vm-b', 'api.example.com')),
    ];
    answers.push(
      decisions.map((d) => (d.verdict === 'allow' ? 'allow' : [d.rule, d.retryAfterMs, d.message])),
    );
    test.clock.advance(20);
  }
  return answers;
}

describe('a flood of keys', () => {
  it('leaves the other VM’s answers identical, counts evictions and keeps the tripped key tripped', () => {
    const alone = railOf(PACK);
    const expected = workOf(alone, () => {});
    const flooded = railOf(PACK);
    for (let i = 0; i < 61; i += 1) flooded.rail.decide(query('vm-a', `n${i}.tunnel.example`));
    const during = workOf(flooded, (i) => {
      for (let j = 0; j < 700; j += 1) flooded.rail.decide(query('vm-a', `x.d${i * 700 + j}.com`));
      expect(flooded.rail.decide(query('vm-a', `again${i}.tunnel.example`)).verdict).toBe('block');
    });
    expect(during).toEqual(expected);
    expect(flooded.totals.get('evictions')).toBeGreaterThan(50_000);
    expect(flooded.state.vms).toBe(2);
    expect(flooded.errors).toEqual([]);
  });

  it('cannot flush a charged key: spraying other keys never admits more under it', () => {
    const rule = `
- { id: r, title: t, event: http.request, by: [vm, dest.host], limit: { max: 20, window: 60s } }`;
    const admitted = (spray: number): number => {
      const { rail, clock } = railOf(rule, { keysPerVm: 64 });
      let count = 0;
      for (let i = 0; i < 100; i += 1) {
        if (rail.decide(request('vm-a', 'target.example')).verdict === 'allow') count += 1;
        for (let j = 0; j < spray; j += 1) rail.decide(request('vm-a', `s${i}-${j}.example`));
        clock.advance(100);
      }
      return count;
    };
    const plain = admitted(0);
    expect(plain).toBe(20);
    for (const spray of [1, 10, 100]) expect(admitted(spray)).toBeLessThanOrEqual(plain);
  });

  it('reuses an entry that has healed before one that still counts', () => {
    const { rail, clock, totals } = railOf(
      `- { id: r, title: t, event: http.request, by: [vm, dest.host], limit: { max: 5, window: 1s } }`,
      { keysPerVm: 8 },
    );
    for (let i = 0; i < 8; i += 1) rail.decide(request('vm-a', `h${i}.example`));
    clock.advance(1000);
    for (let i = 8; i < 16; i += 1)
      expect(rail.decide(request('vm-a', `h${i}.example`)).verdict).toBe('allow');
    expect(totals.get('evictions')).toBe(0);
    expect(rail.decide(request('vm-a', 'h16.example')).verdict).toBe('allow');
    expect(totals.get('evictions')).toBe(1);
  });

  it('answers state_full when every entry that the key could take is held', () => {
    const { rail, totals } = railOf(
      `- { id: r, title: t, event: http.request, by: [vm, dest.host], limit: { max: 1, window: 1s }, hold: { for: 60s } }`,
      { keysPerVm: 8 },
    );
    for (let i = 0; i < 16; i += 1) rail.decide(request('vm-a', `h${i % 8}.example`));
    const decision = rail.decide(request('vm-a', 'newcomer.example'));
    expect(decision).toMatchObject({ verdict: 'block', reason: 'state_full', rule: 'r' });
    expect(totals.get('state_full')).toBe(1);
    expect(rail.decide(request('vm-b', 'newcomer.example')).verdict).toBe('allow');
  });
});

describe('tables that VMs share', () => {
  it('give each VM 64 keys of its own; its newcomers then share one entry, and other VMs are not touched', () => {
    const { rail } = railOf(
      `- { id: r, title: t, event: http.request, by: [dest.host], limit: { max: 2, window: 60s } }`,
      { vmsMax: 4 },
    );
    for (let i = 0; i < 64; i += 1)
      expect(rail.decide(request('vm-a', `a${i}.example`)).verdict).toBe('allow');
    expect(rail.decide(request('vm-a', 'x.example')).verdict).toBe('allow');
    expect(rail.decide(request('vm-a', 'y.example')).verdict).toBe('allow');
    expect(rail.decide(request('vm-a', 'z.example')).verdict).toBe('block');
    expect(rail.decide(request('vm-a', 'a0.example')).verdict).toBe('allow');
    expect(rail.decide(request('vm-b', 'z.example')).verdict).toBe('allow');
    expect(rail.decide(request('vm-b', 'a0.example')).verdict).toBe('block');
  });
});

describe('VMs', () => {
  it('past vms_max are refused as state_full, and a VM that has healed makes room', () => {
    const { rail, clock } = railOf(
      `- { id: r, title: t, event: http.request, by: [vm], limit: { max: 1, window: 1s } }`,
      { vmsMax: 2 },
    );
    expect(rail.decide(request('vm-a', 'a.example')).verdict).toBe('allow');
    expect(rail.decide(request('vm-b', 'a.example')).verdict).toBe('allow');
    expect(rail.decide(request('vm-c', 'a.example'))).toMatchObject({ reason: 'state_full' });
    clock.advance(10_000);
    expect(rail.decide(request('vm-b', 'a.example')).verdict).toBe('allow');
    expect(rail.decide(request('vm-c', 'a.example')).verdict).toBe('allow');
    expect(rail.decide(request('vm-d', 'a.example'))).toMatchObject({ reason: 'state_full' });
  });

  it('take a bounded, known amount of memory, at most 1 KiB a key with the shipped pack', () => {
    const profiles = compilePolicy(policyOf(PACK));
    const { perVm, total } = stateBytes({ profiles, vmsMax: 256, keysPerVm: 1024 });
    expect(total).toBe(perVm * 256);
    expect(perVm).toBeLessThan(4 * 1024 * 1024);
  });
});
