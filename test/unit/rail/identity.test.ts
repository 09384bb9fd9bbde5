// Who a source address is.
import { describe, expect, it } from 'vitest';
import { parseRange } from '../../../src/lib/ip.ts';
import { createIdentity } from '../../../src/rail/identity.ts';
import type { Identity, UnknownPolicy, VmIdentity } from '../../../src/rail/identity.ts';

const vm = (id: string, ...sources: string[]): VmIdentity => ({
  id,
  profile: 'strict',
  sources: sources.map((text) => {
    const range = parseRange(text);
    if (range === undefined) throw new Error(`${text} is no range`);
    return range;
  }),
});

const identity = (unknown: UnknownPolicy, ...vms: VmIdentity[]): Identity =>
  createIdentity({ vms, unknown, profile: 'balanced' });

const A = vm('vm-a', '192.0.2.1/32', '2001:db8:a::/64');
const B = { ...vm('vm-b', '192.0.2.2', '2001:db8:b::1'), tenant: 'acme' };

describe('a VM', () => {
  it('is known by each of its sources, v4 and v6', () => {
    const who = identity('refuse', A, B);
    expect(who.of('192.0.2.1')).toEqual({ vm: 'vm-a', profile: 'strict', source: '192.0.2.1' });
    expect(who.of('2001:db8:a::77')).toEqual({ vm: 'vm-a', profile: 'strict', source: '2001:db8:a::77' });
    expect(who.of('2001:db8:b::1')).toEqual({
      vm: 'vm-b',
      profile: 'strict',
      source: '2001:db8:b::1',
      tenant: 'acme',
    });
  });

  it('is the same when a dual-stack socket shows its v4 address as v6', () => {
    expect(identity('refuse', A).of('::ffff:192.0.2.1')).toEqual({
      vm: 'vm-a',
      profile: 'strict',
      source: '192.0.2.1',
    });
  });

  it('is the one with the longest range, whatever the order', () => {
    const net = vm('net', '192.0.2.0/24');
    const one = vm('one', '192.0.2.7');
    const all = vm('all', '0.0.0.0/0');
    for (const vms of [
      [net, one, all],
      [all, one, net],
      [one, all, net],
    ]) {
      const who = identity('refuse', ...vms);
      expect(['192.0.2.7', '192.0.2.8', '203.0.113.1'].map((address) => who.of(address).vm)).toEqual([
        'one',
        'net',
        'all',
      ]);
    }
  });

  it('is found by an address with a zone id, as link-local ones have', () => {
    expect(identity('refuse', vm('link', 'fe80::1')).of('fe80::1%eth0')).toMatchObject({
      vm: 'link',
      source: 'fe80::1',
    });
  });
});

describe('a stranger', () => {
  it('is refused', () => {
    expect(identity('refuse', A).of('192.0.2.99')).toEqual({
      vm: 'unknown',
      profile: 'balanced',
      source: '192.0.2.99',
      stranger: true,
    });
  });

  it('shares the VM "unknown" with all others', () => {
    const who = identity('one', A);
    expect(who.of('192.0.2.98')).toEqual({ vm: 'unknown', profile: 'balanced', source: '192.0.2.98' });
    expect(who.of('2001:db8:ffff::1').vm).toBe('unknown');
  });

  it('is a VM by its address, in IPv6 by its /64: a machine has as many addresses there as it likes', () => {
    const who = identity('by-address', A);
    expect(who.of('192.0.2.98')).toEqual({ vm: '192.0.2.98', profile: 'balanced', source: '192.0.2.98' });
    expect(who.of('::ffff:192.0.2.98').vm).toBe('192.0.2.98');
    expect(who.of('2001:db8:9:9:1:2:3:4').vm).toBe('2001:db8:9:9::');
    expect(who.of('2001:db8:9:9:ffff::1').vm).toBe('2001:db8:9:9::');
    expect(who.of('2001:db8:9:a::1').vm).toBe('2001:db8:9:a::');
  });

  for (const unknown of ['one', 'refuse', 'by-address'] as const) {
    it(`whose address nobody can read is refused, with unknown: ${unknown} too`, () => {
      for (const address of ['', 'not an address', '127.1'])
        expect(identity(unknown, A).of(address), address).toMatchObject({ vm: 'unknown', stranger: true });
    });
  }
});

describe('identity', () => {
  it('answers the same for an address after any number of others', () => {
    const who = identity('by-address', A, B);
    const before = [who.of('192.0.2.1'), who.of('192.0.2.2'), who.of('203.0.113.1')];
    for (let i = 0; i < 20_000; i += 1) who.of(`198.51.${i >> 8}.${i & 255}`);
    expect([who.of('192.0.2.1'), who.of('192.0.2.2'), who.of('203.0.113.1')]).toEqual(before);
  });

  it('of a known address allocates nothing new', () => {
    const who = identity('one', A);
    expect(who.of('192.0.2.1')).toBe(who.of('192.0.2.1'));
  });
});
