// Checks that need more than one key. Owns the refusals to start: an upstream that is weir itself, two VMs with one address.
import { networkInterfaces } from 'node:os';
import { formatEndpoint, formatIp, parseIp, unmap } from '../lib/ip.ts';
import type { DnsUpstream } from '../lib/upstream-address.ts';
import type { Config, Endpoint, Where } from './load.ts';

/** Problems as `place: key: what is wrong and what to do`. */
export function crossChecks(config: Config, where: Where): string[] {
  return [...upstreamChecks(config, where), ...vmChecks(config, where), ...listenerChecks(config, where)];
}

function upstreamChecks(config: Config, where: Where): string[] {
  const { dns } = config;
  const problems: string[] = [];
  if (dns.upstreams.length === 0) {
    problems.push(
      `${where(['dns', 'upstreams'])}: dns.upstreams: resolv.conf names no server: list upstreams, such as ["udp://192.0.2.53"]`,
    );
  }
  const check = (upstream: DnsUpstream, path: readonly PropertyKey[]): void => {
    // HTTP and admin listen on TCP only: a UDP server may well share their port.
    const own = upstream.transport === 'tcp' ? [config.http, config.admin] : [];
    if (![dns, ...own].some(({ listen }) => listen.some((listener) => isSame(listener, upstream)))) return;
    const name = formatEndpoint(upstream.address, upstream.port);
    problems.push(
      `${where(path)}: ${path.map(String).join('.')}: upstream ${name} is weir's own listener: queries would go round in circles; name another server`,
    );
  };
  dns.upstreams.forEach((upstream, i) => check(upstream, ['dns', 'upstreams', i]));
  for (const { zone, upstreams } of dns.zones) {
    upstreams.forEach((upstream, i) => check(upstream, ['dns', 'zones', zone, i]));
  }
  return problems;
}

/** Whether dialling the upstream would reach the listener; an any-address listener has every local address. */
function isSame(listener: Endpoint, upstream: DnsUpstream): boolean {
  if (listener.port !== upstream.port || listener.port === 0) return false;
  const from = plain(listener.address);
  const to = plain(upstream.address);
  // Dialling the any-address reaches loopback.
  const dialled = to === '0.0.0.0' ? '127.0.0.1' : to === '::' ? '::1' : to;
  if (from === dialled) return true;
  if (from !== '0.0.0.0' && from !== '::') return false;
  const local = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return dialled.startsWith('127.') || local.some(({ address }) => address === dialled);
}

/** Canonical text, with an IPv4 address written as IPv6 seen as what it is. */
function plain(address: string): string {
  const ip = parseIp(address);
  return ip === undefined ? address : formatIp(unmap(ip));
}

function vmChecks(config: Config, where: Where): string[] {
  const problems: string[] = [];
  const ids = new Set<string>();
  const claimed = new Map<string, string>();
  config.vms.forEach((vm, i) => {
    if (ids.has(vm.id))
      problems.push(`${where(['vms', i, 'id'])}: vms.${i}.id: the VM \`${vm.id}\` is listed twice`);
    ids.add(vm.id);
    if (!config.rules.profiles.has(vm.profile)) {
      const known = [...config.rules.profiles.keys()].join(', ');
      problems.push(
        `${where(['vms', i, 'profile'])}: vms.${i}.profile: no profile \`${vm.profile}\`: there is ${known}`,
      );
    }
    vm.sources.forEach((range, j) => {
      const name = `${formatIp(range.base)}/${range.bits}`;
      const other = claimed.get(name);
      if (other !== undefined) {
        problems.push(
          `${where(['vms', i, 'sources', j])}: vms.${i}.sources.${j}: ${name} already belongs to \`${other}\``,
        );
      }
      claimed.set(name, vm.id);
    });
  });
  if (config.vms.length > config.identity.vmsMax) {
    problems.push(
      `${where(['vms'])}: vms: ${config.vms.length} VMs, but identity.vms_max is ${config.identity.vmsMax}`,
    );
  }
  if (!config.rules.profiles.has('balanced')) {
    problems.push(
      `${where(['rules', 'profiles'])}: rules.profiles: the profile \`balanced\` is missing: strangers have it`,
    );
  }
  return problems;
}

function listenerChecks(config: Config, where: Where): string[] {
  const tcp = new Map<string, string>();
  const problems: string[] = [];
  for (const section of ['dns', 'http', 'admin'] as const) {
    for (const { address, port } of config[section].listen) {
      const name = formatEndpoint(address, port);
      const other = tcp.get(name);
      if (port !== 0 && other !== undefined) {
        problems.push(`${where([section, 'listen'])}: ${section}.listen: ${name} is also ${other}.listen`);
      }
      tcp.set(name, section);
    }
  }
  return problems;
}
