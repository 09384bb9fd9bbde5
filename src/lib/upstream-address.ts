// DNS upstreams as people write them. Owns the text forms; dials nothing.
import { parseEndpoint, parseIp, formatIp } from './ip.ts';

export interface DnsUpstream {
  readonly transport: 'udp' | 'tcp';
  readonly address: string;
  readonly port: number;
}

const DNS_PORT = 53;

/** Reads `udp://192.0.2.1`, `tcp://192.0.2.1:5353`, `udp://[2001:db8::1]:53`. Names are refused: they would need a resolver. */
export function parseUpstream(
  text: string,
): { ok: true; upstream: DnsUpstream } | { ok: false; detail: string } {
  const match = /^(udp|tcp):\/\/([^/]+)\/?$/.exec(text);
  const transport = match?.[1];
  const host = match?.[2] ?? '';
  if (transport !== 'udp' && transport !== 'tcp') {
    return { ok: false, detail: 'must be udp://address or tcp://address, with or without :port' };
  }
  const endpoint = parseEndpoint(host);
  if (endpoint !== undefined && endpoint.port > 0) return { ok: true, upstream: { transport, ...endpoint } };
  const bare = parseIp(host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host);
  if (bare === undefined)
    return { ok: false, detail: `\`${host}\` is not an IP address with an optional port` };
  return { ok: true, upstream: { transport, address: formatIp(bare), port: DNS_PORT } };
}

/** The name servers of a resolv.conf, in order, by UDP. Lines that can't be read are skipped, as resolvers do. */
export function systemUpstreams(resolvConf: string): DnsUpstream[] {
  return resolvConf.split('\n').flatMap((line) => {
    const [word, address] = line.trim().split(/\s+/);
    const ip = word === 'nameserver' ? parseIp(address?.split('%', 1)[0] ?? '') : undefined;
    return ip === undefined ? [] : [{ transport: 'udp' as const, address: formatIp(ip), port: DNS_PORT }];
  });
}
