// HTTP/1.1 requests as a proxy must read them: targets, framing, headers. Pure. What node:http lets through and a proxy must not is
// refused here; a path is passed on to the octet as it came.
import { formatIp, parseIp, unmap } from '../lib/ip.ts';

export interface Destination {
  /** A lower-case name without trailing dot, or a canonical address. */
  readonly host: string;
  readonly port: number;
}

export interface Target extends Destination {
  /** Path and query as the client wrote them. */
  readonly path: string;
}

/** The parts of a request that this page reads. */
export interface RequestHead {
  readonly method: string;
  readonly url: string;
  readonly httpVersion: string;
  readonly rawHeaders: readonly string[];
}

export type Fault = {
  readonly ok: false;
  readonly detail: string;
  readonly status: 400 | 405 | 417 | 431 | 501 | 505;
};
export type ParsedTarget = { readonly ok: true; readonly target: Target } | Fault;
export type ParsedDestination = { readonly ok: true; readonly destination: Destination } | Fault;

const HEADERS_MAX = 200;
const AUTHORITY_OCTETS_MAX = 262;

const fault = (detail: string, status: Fault['status'] = 400): Fault => ({ ok: false, detail, status });

/** Reads host and port as a URL would, so that every notation of an address becomes the address before anything judges it. */
export function parseAuthority(text: string, normalPort: number | undefined): ParsedDestination {
  if (text.length > AUTHORITY_OCTETS_MAX || text === '') return fault('bad authority');
  if (text.includes('@')) return fault('credentials in the target');
  if (/[\s\\%#?/]/.test(text)) return fault('bad authority');
  const ported = /:(\d*)$/.exec(text);
  const hasPort = ported !== null && !text.endsWith(']');
  const port = hasPort && ported[1] !== '' ? Number(ported[1]) : normalPort;
  if (port === undefined) return fault('a port is missing');
  if (port < 1 || port > 65_535) return fault('bad port');
  const host = parseHost(hasPort ? text.slice(0, ported.index) : text);
  return host === undefined ? fault('bad host') : { ok: true, destination: { host, port } };
}

function parseHost(text: string): string | undefined {
  const url = URL.parse(`http://${text}/`);
  if (url === null || url.port !== '') return undefined;
  const name = url.hostname.endsWith('.') ? url.hostname.slice(0, -1) : url.hostname;
  const ip = parseIp(name.startsWith('[') ? name.slice(1, -1) : name);
  if (ip !== undefined) return formatIp(unmap(ip));
  return name.length <= 253 && /^[a-z0-9_-]+(\.[a-z0-9_-]+)*$/.test(name) ? name : undefined;
}

/** A request's target in absolute-form (RFC 9112, 3.2.2). */
export function parseTarget(head: RequestHead): ParsedTarget {
  const checked = checkHead(head);
  if (checked !== undefined) return checked;
  const { url } = head;
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(url)?.[1]?.toLowerCase();
  if (url.startsWith('/') || url === '*') {
    return fault('this is a proxy: send the whole URL, or set the client’s proxy to this address');
  }
  if (scheme === 'https') return fault('https needs CONNECT');
  if (scheme !== 'http' || !/^http:\/\//i.test(url)) return fault('only http: targets');
  const rest = url.slice('http://'.length);
  const end = rest.search(/[/?#]/);
  const authority = end < 0 ? rest : rest.slice(0, end);
  const tail = end < 0 ? '' : rest.slice(end);
  if (tail.includes('#')) return fault('a fragment in the target');
  const parsed = parseAuthority(authority, 80);
  if (!parsed.ok) return parsed;
  const mismatch = checkHost(head, parsed.destination);
  if (mismatch !== undefined) return mismatch;
  return { ok: true, target: { ...parsed.destination, path: tail.startsWith('/') ? tail : `/${tail}` } };
}

/** A CONNECT's target in authority-form (RFC 9112, 3.2.3): the port may not be left out. */
export function parseConnect(head: RequestHead): ParsedDestination {
  const checked = checkHead(head);
  if (checked !== undefined) return checked;
  // A Content-Length is ignored (RFC 9110, 9.3.6); what follows belongs to the tunnel.
  if (valuesOf(head.rawHeaders, 'transfer-encoding').length > 0) return fault('CONNECT has no body');
  return parseAuthority(head.url, undefined);
}

const UNSERVED: ReadonlySet<string> = new Set(['TRACE', 'TRACK']);

/** Faults that don't depend on the target. */
function checkHead(head: RequestHead): Fault | undefined {
  const { method, httpVersion, rawHeaders } = head;
  if (UNSERVED.has(method)) return fault(`${method} is not served`, 405);
  if (httpVersion !== '1.1' && httpVersion !== '1.0') return fault('an HTTP version that is not served', 505);
  if (rawHeaders.length / 2 > HEADERS_MAX) return fault('too many headers', 431);
  const coding = valuesOf(rawHeaders, 'transfer-encoding');
  const lengths = valuesOf(rawHeaders, 'content-length');
  if (coding.length > 1 || (coding[0] !== undefined && coding[0].toLowerCase() !== 'chunked')) {
    return fault('transfer-encoding other than chunked');
  }
  if (coding.length > 0 && httpVersion === '1.0') return fault('transfer-encoding in HTTP/1.0');
  if (coding.length > 0 && lengths.length > 0) return fault('content-length with transfer-encoding');
  if (lengths.length > 1 || (lengths[0] !== undefined && !/^\d{1,15}$/.test(lengths[0])))
    return fault('bad content-length');
  const hosts = valuesOf(rawHeaders, 'host');
  if (hosts.length > 1) return fault('two Host headers');
  if (hosts.length === 0 && httpVersion !== '1.0') return fault('no Host header');
  if (method === 'OPTIONS' && valuesOf(rawHeaders, 'max-forwards')[0] === '0') {
    return fault('OPTIONS of the proxy itself is not served', 405);
  }
  return checkUpgrade(rawHeaders) ?? checkExpect(rawHeaders);
}

/** Nothing is upgraded here; h2c alone may be ignored, for its senders go on in HTTP/1.1. */
function checkUpgrade(rawHeaders: readonly string[]): Fault | undefined {
  const protocols = valuesOf(rawHeaders, 'upgrade')
    .flatMap((value) => value.toLowerCase().split(','))
    .map((protocol) => protocol.trim());
  if (protocols.every((protocol) => protocol === 'h2c' || protocol === '')) return undefined;
  return fault('an upgrade needs CONNECT here: use wss:, or a proxy setting that tunnels', 501);
}

function checkExpect(rawHeaders: readonly string[]): Fault | undefined {
  const known = valuesOf(rawHeaders, 'expect').every((value) => value.toLowerCase() === '100-continue');
  return known ? undefined : fault('an expectation other than 100-continue', 417);
}

function checkHost(head: RequestHead, destination: Destination): Fault | undefined {
  const [host] = valuesOf(head.rawHeaders, 'host');
  if (host === undefined) return undefined;
  const parsed = parseAuthority(host, 80);
  if (!parsed.ok) return fault('bad Host header');
  const same = parsed.destination.host === destination.host && parsed.destination.port === destination.port;
  return same ? undefined : fault('Host differs from the target');
}

/** The values of a header, in order; `name` lower case. */
export function valuesOf(rawHeaders: readonly string[], name: string): string[] {
  const values: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if (rawHeaders[i]?.toLowerCase() === name) values.push((rawHeaders[i + 1] ?? '').trim());
  }
  return values;
}

/** Whether a body follows. */
export const hasBody = (rawHeaders: readonly string[]): boolean =>
  valuesOf(rawHeaders, 'transfer-encoding').length > 0 ||
  Number(valuesOf(rawHeaders, 'content-length')[0] ?? 0) > 0;

const HOP_BY_HOP: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authentication-info',
]);
/** Connection may not name these away (RFC 9110, 7.6.1): the message would mean something else. */
const ESSENTIAL: ReadonlySet<string> = new Set([
  'host',
  'content-length',
  'content-type',
  'content-encoding',
  'content-range',
  'cache-control',
  'authorization',
  'cookie',
  'set-cookie',
  'location',
  'via',
]);
/** Never passed on from a sandbox: what is meant for proxies, what says who a client is and anyone can write, what is weir's own. */
const UNTRUSTED = /^(?:host|expect|forwarded|x-real-ip|x-forwarded-.*|proxy-.*|x-weir-.*)$/;

/** Headers that go on to the other side, as pairs; framing is left to whoever sends them. */
function endToEnd(rawHeaders: readonly string[], drop: (name: string) => boolean): string[] {
  const named = new Set(
    valuesOf(rawHeaders, 'connection')
      .flatMap((value) => value.toLowerCase().split(','))
      .map((token) => token.trim())
      .filter((token) => !ESSENTIAL.has(token)),
  );
  const kept: string[] = [];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = (rawHeaders[i] ?? '').toLowerCase();
    if (HOP_BY_HOP.has(name) || named.has(name) || drop(name)) continue;
    kept.push(rawHeaders[i] ?? '', rawHeaders[i + 1] ?? '');
  }
  return kept;
}

/** A request's headers for the origin: Host from the target, hop-by-hop ones gone, Via added. */
export function requestHeaders(head: RequestHead, target: Target, pseudonym: string): string[] {
  const bracketed = target.host.includes(':') ? `[${target.host}]` : target.host;
  const host = target.port === 80 ? bracketed : `${bracketed}:${target.port}`;
  const kept = endToEnd(head.rawHeaders, (name) => UNTRUSTED.test(name));
  return ['Host', host, ...stepped(head.method, kept), 'Via', `${head.httpVersion} ${pseudonym}`];
}

/** One hop fewer to go (RFC 9110, 7.6.2). */
function stepped(method: string, headers: string[]): string[] {
  if (method !== 'OPTIONS') return headers;
  return headers.map((text, i) =>
    i % 2 === 1 && headers[i - 1]?.toLowerCase() === 'max-forwards' && /^\d{1,9}$/.test(text)
      ? String(Number(text) - 1)
      : text,
  );
}

/** A response's headers for the client. An answer that has no body must not announce one. */
export function responseHeaders(rawHeaders: readonly string[], pseudonym: string, status = 200): string[] {
  const drop = (name: string): boolean =>
    name.startsWith('x-weir-') || (status === 204 && name === 'content-length');
  return [...endToEnd(rawHeaders, drop), 'Via', `1.1 ${pseudonym}`];
}

/** Whether the request came through this proxy before. */
export const isLoop = (rawHeaders: readonly string[], pseudonym: string): boolean =>
  valuesOf(rawHeaders, 'via').some((value) => value.split(/[\s,]+/).includes(pseudonym));
