// HTTP requests and tunnels as events. Pure: builds facts, judges nothing.
import { parseIp } from '../lib/ip.ts';
import { nameParts } from '../lib/suffix.ts';
import type { EventOf, Subject } from '../rail/index.ts';
import type { Destination, Target } from './wire.ts';

interface Dest {
  readonly 'dest.host': string;
  readonly 'dest.suffix': string;
  readonly 'dest.port': number;
}

function dest({ host, port }: Destination): Dest {
  const suffix = parseIp(host) === undefined ? nameParts(host).suffix : host;
  return { 'dest.host': host, 'dest.suffix': suffix, 'dest.port': port };
}

/** The path without its query. */
export const pathOf = (target: Target): string => target.path.split('?', 1)[0] ?? '/';

export const requestEvent = (subject: Subject, method: string, target: Target): EventOf<'http.request'> => ({
  type: 'http.request',
  ...subject,
  ...dest(target),
  'http.method': method,
  'http.scheme': 'http',
  'http.path': pathOf(target),
});

export const tunnelEvent = (subject: Subject, destination: Destination): EventOf<'tunnel.open'> => ({
  type: 'tunnel.open',
  ...subject,
  ...dest(destination),
});

export const tunnelCloseEvent = (
  subject: Subject,
  destination: Destination,
  end: { readonly octetsUp: number; readonly octetsDown: number; readonly durationMs: number },
): EventOf<'tunnel.close'> => ({
  type: 'tunnel.close',
  ...subject,
  ...dest(destination),
  octets_up: end.octetsUp,
  octets_down: end.octetsDown,
  duration_ms: end.durationMs,
});

/** `detail` must be words of ours, never the client's. */
export const malformedEvent = (subject: Subject, detail: string): EventOf<'wire.malformed'> => ({
  type: 'wire.malformed',
  ...subject,
  'wire.protocol': 'http',
  'wire.detail': detail,
});
