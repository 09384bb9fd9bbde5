// The way out for HTTP: port, name, address, connection. Owns the promise that the address dialled is the address judged; no name
// is looked up again on the way.
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { allows } from '../lib/egress-allow.ts';
import type { EgressAllow } from '../lib/egress-allow.ts';
import { formatEndpoint, formatIp, parseIp, unmap } from '../lib/ip.ts';
import type { Refused, Subject } from '../rail/index.ts';
import { classify, isMetadataName } from './classify.ts';
import type { Resolver } from './resolve.ts';

/** Why a destination can't be had, in the words of RFC 9209 where it has one. `detail` is a sentence for people. */
export interface EgressFailure {
  readonly error:
    | 'port_not_allowed'
    | 'destination_ip_prohibited'
    | 'dns_error'
    | 'dns_timeout'
    | 'connection_refused'
    | 'connection_timeout'
    | 'connection_terminated'
    | 'destination_ip_unroutable';
  readonly detail: string;
  readonly rcode?: string;
}

export type Located =
  | { readonly ok: true; readonly addresses: readonly string[] }
  | { readonly ok: false; readonly refused: Refused }
  | { readonly ok: false; readonly failure: EgressFailure };

export type Dialled =
  | { readonly ok: true; readonly socket: Socket; readonly address: string }
  | { readonly ok: false; readonly failure: EgressFailure };

export interface Dialer {
  /** The judged addresses of a destination: `host` a canonical address or a lower-case name. Never rejects. */
  locate(subject: Subject, host: string, port: number): Promise<Located>;
  /** Connects to the first address that answers. Never rejects; `signal` ends the attempt. */
  dial(addresses: readonly string[], port: number, signal: AbortSignal): Promise<Dialled>;
}

export interface DialerOptions {
  readonly resolver: Resolver;
  readonly allow: readonly EgressAllow[];
  readonly ports: readonly number[];
  /** Weir's own listeners: never a destination. */
  readonly own: () => readonly { readonly address: string; readonly port: number }[];
  readonly connectMs?: number;
}

const CONNECT_MS = 10_000;
/** Addresses of one name that are tried: a long answer must not make a long wait. */
const ADDRESSES_MAX = 4;

type Endpoints = readonly { readonly address: string; readonly port: number }[];

const failed = (error: EgressFailure['error'], detail: string): { ok: false; failure: EgressFailure } => ({
  ok: false,
  failure: { error, detail },
});

export function createDialer(options: DialerOptions): Dialer {
  const { allow, ports } = options;

  /** Whether some entry could open the port, once the addresses of the name are known. */
  const portThinkable = (host: string, port: number): boolean =>
    ports.includes(port) ||
    allow.some((entry) => entry.port === port && (entry.range !== undefined || entry.host === host));

  /** The addresses that may be dialled, or why none may. */
  function judge(host: string, port: number, found: readonly string[]): Located {
    const addresses = found.map(unmapped);
    const reachable = addresses.filter(
      (address) =>
        ports.includes(port) ||
        allow.some((entry) => entry.port === port && allows(entry, host, address, port)),
    );
    if (reachable.length === 0) return portRefused(host, port);
    const open = reachable.filter((address) => {
      if (isOwn(options.own(), address, port)) return false;
      const kind = classify(address);
      return (
        kind === 'public' || (kind === 'private' && allow.some((entry) => allows(entry, host, address, port)))
      );
    });
    if (open.length > 0) return { ok: true, addresses: open.slice(0, ADDRESSES_MAX) };
    return { ok: false, failure: prohibited(host, port, addresses, options.own()) };
  }

  async function locate(subject: Subject, host: string, port: number): Promise<Located> {
    // First what no line of egress.allow can open: advice to add one would be wrong.
    const literal = parseIp(host) === undefined ? undefined : unmapped(host);
    if (literal !== undefined && (isOwn(options.own(), literal, port) || classify(literal) === 'metadata')) {
      return { ok: false, failure: prohibited(host, port, [literal], options.own()) };
    }
    if (!portThinkable(host, port)) return portRefused(host, port);
    if (isMetadataName(host)) return failed('destination_ip_prohibited', METADATA_REFUSED);
    if (literal !== undefined) return judge(host, port, [literal]);
    const resolved = await options.resolver.resolve(subject, host);
    if (resolved.ok) return judge(host, port, resolved.addresses);
    if ('refused' in resolved) return resolved;
    return { ok: false, failure: dnsFailure(host, resolved.error, resolved.rcode) };
  }

  async function dial(addresses: readonly string[], port: number, signal: AbortSignal): Promise<Dialled> {
    const eachMs = Math.max(
      1000,
      Math.floor((options.connectMs ?? CONNECT_MS) / Math.max(1, addresses.length)),
    );
    let last: Dialled = { ok: false, failure: { error: 'connection_terminated', detail: 'the client left' } };
    for (const address of addresses) {
      if (signal.aborted) return last;
      last = await dialOne(address, port, eachMs, signal);
      if (last.ok) return last;
    }
    return last;
  }
  return { locate, dial };
}

function unmapped(address: string): string {
  const ip = parseIp(address);
  return ip === undefined ? address : formatIp(unmap(ip));
}

const METADATA_REFUSED = 'this is a cloud metadata address: it is never reachable through weir';

const portRefused = (host: string, port: number): { ok: false; failure: EgressFailure } =>
  failed(
    'port_not_allowed',
    `port ${port} is not in egress.ports: add it there, or add "${formatEndpoint(host, port)}" to egress.allow`,
  );

function prohibited(host: string, port: number, addresses: readonly string[], own: Endpoints): EgressFailure {
  const error = 'destination_ip_prohibited';
  if (addresses.some((address) => isOwn(own, address, port))) {
    return { error, detail: 'this is a listener of weir itself: it is never reachable through weir' };
  }
  if (addresses.some((address) => classify(address) === 'metadata')) {
    return { error, detail: METADATA_REFUSED };
  }
  const what = parseIp(host) === undefined ? 'leads to' : 'is';
  const line = formatEndpoint(host, port);
  return {
    error,
    detail: `${host} ${what} a private or reserved address: to allow it, add "${line}" to egress.allow`,
  };
}

function dnsFailure(host: string, error: string, rcode: string | undefined): EgressFailure {
  if (error === 'timeout')
    return { error: 'dns_timeout', detail: `the name ${host} could not be looked up in time` };
  const why =
    error === 'nxdomain'
      ? 'does not exist'
      : error === 'no_address'
        ? 'has no address'
        : 'could not be looked up';
  return { error: 'dns_error', detail: `the name ${host} ${why}`, ...(rcode === undefined ? {} : { rcode }) };
}

/** Whether this is one of our listeners: one on an any-address has every local address, and to dial an any-address is to dial this machine. */
function isOwn(own: Endpoints, address: string, port: number): boolean {
  const listeners = own.filter((listener) => listener.port === port);
  if (listeners.length === 0) return false;
  if (listeners.some((listener) => listener.address === address) || isAny(address)) return true;
  if (!listeners.some((listener) => isAny(listener.address))) return false;
  const local = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return address.startsWith('127.') || local.some((i) => i.address === address);
}

const isAny = (address: string): boolean => address === '0.0.0.0' || address === '::';

const CONNECT_ERRORS: Readonly<Record<string, EgressFailure['error']>> = {
  ECONNREFUSED: 'connection_refused',
  EHOSTUNREACH: 'destination_ip_unroutable',
  ENETUNREACH: 'destination_ip_unroutable',
  EADDRNOTAVAIL: 'destination_ip_unroutable',
  ETIMEDOUT: 'connection_timeout',
};

/** The word for a socket error that came before a connection stood. */
export const connectError = (code: string | undefined): EgressFailure['error'] =>
  CONNECT_ERRORS[code ?? ''] ?? 'connection_terminated';

function dialOne(address: string, port: number, timeoutMs: number, signal: AbortSignal): Promise<Dialled> {
  return new Promise((resolve) => {
    const socket = connect({ host: address, port, allowHalfOpen: true, noDelay: true });
    const fail = (error: EgressFailure['error']): void => {
      done();
      socket.destroy();
      resolve({
        ok: false,
        failure: { error, detail: `${formatEndpoint(address, port)}: ${error.replaceAll('_', ' ')}` },
      });
    };
    const timer = setTimeout(() => fail('connection_timeout'), timeoutMs);
    const left = (): void => fail('connection_terminated');
    const onError = (error: { code?: string }): void => fail(connectError(error.code));
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', left);
      // Late errors of a socket given up on must find a listener.
      socket.on('error', () => {});
      socket.removeListener('error', onError);
    };
    signal.addEventListener('abort', left, { once: true });
    socket.on('error', onError);
    socket.once('connect', () => {
      done();
      resolve({ ok: true, socket, address });
    });
  });
}
