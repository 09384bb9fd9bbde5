// Who a source address is. Owns the map from addresses to VMs; never reads anything that the sandbox can forge.
import { formatIp, inRange, maskIp, parseIp, unmap } from '../lib/ip.ts';
import type { Ip, IpRange } from '../lib/ip.ts';
import type { Subject } from './event.ts';

/** What becomes of a source that no VM claims: all share the VM "unknown"; refused; or a VM for each address (v6: /64). */
export type UnknownPolicy = 'one' | 'refuse' | 'by-address';

export interface VmIdentity {
  readonly id: string;
  readonly profile: string;
  readonly tenant?: string;
  readonly sources: readonly IpRange[];
}

/** Finds the VM of a source address, in canonical or v4-mapped text. Total: never throws. */
export interface Identity {
  of(address: string): Subject;
}

const REMEMBERED_ADDRESSES = 4096;

/** `profile` is the one of strangers. The longest matching range wins; equal ranges are a configuration error upstream. */
export function createIdentity(options: {
  readonly vms: readonly VmIdentity[];
  readonly unknown: UnknownPolicy;
  readonly profile: string;
}): Identity {
  const claims = options.vms
    .flatMap((vm) => vm.sources.map((range) => ({ vm, range })))
    .sort((a, b) => b.range.bits - a.range.bits);
  const remembered = new Map<string, Subject>();

  const stranger = (ip: Ip, source: string): Subject => {
    const { profile } = options;
    if (options.unknown === 'refuse') return { vm: 'unknown', profile, source, stranger: true };
    if (options.unknown === 'one') return { vm: 'unknown', profile, source };
    return { vm: formatIp(ip.family === 6 ? maskIp(ip, 64) : ip), profile, source };
  };
  const find = (address: string): Subject => {
    const parsed = parseIp(address.split('%', 1)[0] ?? '');
    if (parsed === undefined)
      return { vm: 'unknown', profile: options.profile, source: address, stranger: true };
    const ip = unmap(parsed);
    const source = formatIp(ip);
    const claim = claims.find(({ range }) => inRange(ip, range));
    if (claim === undefined) return stranger(ip, source);
    const { id, profile, tenant } = claim.vm;
    return { vm: id, profile, source, ...(tenant === undefined ? {} : { tenant }) };
  };
  return {
    of(address) {
      const known = remembered.get(address);
      if (known !== undefined) return known;
      const subject = find(address);
      if (remembered.size >= REMEMBERED_ADDRESSES) remembered.clear();
      remembered.set(address, subject);
      return subject;
    },
  };
}
