// Entries of egress.allow: private destinations, or ports, that the operator opens. Owns their text form and their match.
import { inRange, parseIp, parseRange, unmap } from './ip.ts';
import type { IpRange } from './ip.ts';

export interface EgressAllow {
  /** A lower-case host name, or undefined when the entry is a range. */
  readonly host?: string;
  readonly range?: IpRange;
  /** Undefined: every port of egress.ports. */
  readonly port?: number;
}

const HOST =
  /^(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*$/;

/** Reads `host`, `host:port`, `10.0.5.0/24`, `10.0.5.7:5000`, `[2001:db8::1]:443`, `2001:db8::/32`. */
export function parseAllow(text: string): { ok: true; allow: EgressAllow } | { ok: false; detail: string } {
  const range = parseRange(text);
  if (range !== undefined) return { ok: true, allow: { range } };
  const match = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d{1,5}))?$/.exec(text);
  const name = match?.[1] ?? match?.[2] ?? '';
  const port = match?.[3] === undefined ? undefined : Number(match[3]);
  if (port !== undefined && (port < 1 || port > 65_535)) return { ok: false, detail: 'a port is 1 to 65535' };
  const ported = port === undefined ? {} : { port };
  const target = parseRange(name);
  if (target !== undefined) return { ok: true, allow: { range: target, ...ported } };
  if (/^[\d.]+$/.test(name) || match?.[1] !== undefined)
    return { ok: false, detail: `\`${name}\` is not an IP address or range` };
  if (name !== name.toLowerCase() || name.endsWith('.')) {
    return {
      ok: false,
      detail: `use \`${name.toLowerCase().replace(/\.$/, '')}\`: lower case, without a trailing dot`,
    };
  }
  if (name.includes('*')) return { ok: false, detail: 'wildcards are not understood: name each host' };
  if (!HOST.test(name))
    return { ok: false, detail: 'must be a host, an address or a range, with or without :port' };
  return { ok: true, allow: { host: name, ...ported } };
}

/** Whether an entry names this destination: by its host name, or by the address that it came to. */
export function allows(entry: EgressAllow, host: string, address: string | undefined, port: number): boolean {
  if (entry.port !== undefined && entry.port !== port) return false;
  if (entry.host !== undefined) return entry.host === host;
  const ip = address === undefined ? undefined : parseIp(address);
  return ip !== undefined && entry.range !== undefined && inRange(unmap(ip), entry.range);
}
