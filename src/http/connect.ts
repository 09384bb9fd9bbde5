// CONNECT: one tunnel from its request to its last octet. Owns the ticket and the tunnel.close event: each exactly once, in every
// ending.
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Dialer } from '../egress/dial.ts';
import { joinTunnel } from '../egress/tunnel.ts';
import type { TunnelEnd } from '../egress/tunnel.ts';
import type { Clock } from '../lib/clock.ts';
import type { Identity, Rail, Subject, Traffic } from '../rail/index.ts';
import { failureAnswer, rawAnswer, refusalAnswer } from './enforce.ts';
import type { OwnAnswer } from './enforce.ts';
import { tunnelCloseEvent, tunnelEvent } from './event.ts';
import { parseConnect } from './wire.ts';
import type { Destination } from './wire.ts';

export interface ConnectOptions {
  readonly rail: Rail;
  readonly identity: Identity;
  readonly dialer: Dialer;
  readonly traffic: Traffic;
  readonly clock: Clock;
  readonly idleMs: number;
  readonly refuseMalformed: (subject: Subject, status: number, detail: string) => OwnAnswer;
}

export type ConnectHandler = (request: IncomingMessage, client: Socket, head: Buffer) => Promise<void>;

const ESTABLISHED = 'HTTP/1.1 200 Connection Established\r\n\r\n';

export function createConnect(options: ConnectOptions): ConnectHandler {
  const { rail, identity, dialer, traffic, clock } = options;

  return async (request, client, head) => {
    client.on('error', () => client.destroy());
    const subject = identity.of(client.remoteAddress ?? '');
    const parsed = parseConnect({
      method: 'CONNECT',
      url: request.url ?? '',
      httpVersion: request.httpVersion,
      rawHeaders: request.rawHeaders,
    });
    if (!parsed.ok) {
      refuse(client, options.refuseMalformed(subject, parsed.status, parsed.detail));
      return;
    }
    const { destination } = parsed;
    const fromMs = clock.now();
    const note = (more: Record<string, string | number>): void => {
      traffic.note({
        ...{
          kind: 'tunnel',
          vm: subject.vm,
          source: subject.source,
          host: destination.host,
          port: destination.port,
        },
        ...{ octets_up: 0, octets_down: 0, ms: clock.now() - fromMs, ...more },
      });
    };
    const decision = rail.decide(tunnelEvent(subject, destination));
    if (decision.verdict !== 'allow') {
      const answer = refusalAnswer(decision, subject);
      note({ status: answer.status, verdict: decision.verdict, rule: decision.rule });
      refuse(client, answer);
      return;
    }
    try {
      const opened = await open(subject, destination, client);
      if (!opened.ok) {
        note({ status: opened.answer.status, ...opened.words });
        refuse(client, opened.answer);
        return;
      }
      client.write(ESTABLISHED);
      const end = await joinTunnel({ client, upstream: opened.upstream, head, idleMs: options.idleMs });
      closed(subject, destination, end, clock.now() - fromMs);
      note({ status: 200, verdict: 'allow', ...countsOf(end) });
    } finally {
      if (decision.ticket !== undefined) rail.finish(decision.ticket);
    }
  };

  function closed(subject: Subject, destination: Destination, end: TunnelEnd, durationMs: number): void {
    const { octetsUp, octetsDown } = end;
    const decision = rail.decide(
      tunnelCloseEvent(subject, destination, { octetsUp, octetsDown, durationMs }),
    );
    if (decision.verdict === 'allow' && decision.ticket !== undefined) rail.finish(decision.ticket);
  }
  async function open(subject: Subject, { host, port }: Destination, client: Socket): Promise<Opened> {
    const located = await dialer.locate(subject, host, port);
    if (!located.ok && 'refused' in located) {
      const { refused } = located;
      return {
        ok: false,
        answer: refusalAnswer(refused, subject),
        words: { verdict: refused.verdict, rule: refused.rule },
      };
    }
    if (!located.ok)
      return failed(located.failure, located.failure.error.startsWith('dns_') ? 'allow' : 'block');
    const left = new AbortController();
    const onClose = (): void => left.abort();
    client.once('close', onClose);
    if (client.destroyed) left.abort();
    const dialled = await dialer.dial(located.addresses, port, left.signal);
    client.removeListener('close', onClose);
    if (!dialled.ok) return failed(dialled.failure, 'allow');
    if (!client.destroyed) return { ok: true, upstream: dialled.socket };
    dialled.socket.destroy();
    return failed({ error: 'connection_terminated', detail: 'the client left' }, 'allow');
  }
}

type Opened =
  | { readonly ok: true; readonly upstream: Socket }
  | { readonly ok: false; readonly answer: OwnAnswer; readonly words: Record<string, string> };

function failed(
  failure: { error: Parameters<typeof failureAnswer>[0]; detail: string; rcode?: string },
  verdict: 'allow' | 'block',
): Opened {
  const { error, detail, rcode } = failure;
  return { ok: false, answer: failureAnswer(error, detail, rcode), words: { verdict, error } };
}

const countsOf = (end: TunnelEnd): Record<string, string | number> => ({
  octets_up: end.octetsUp,
  octets_down: end.octetsDown,
  ...(end.error === undefined ? {} : { error: end.error }),
});

/** A refused CONNECT always closes: what an eager client has sent behind it must never be read as a request. */
function refuse(client: Socket, answer: OwnAnswer): void {
  if (client.writable) client.end(rawAnswer(answer));
  client.resume();
  client.setTimeout(REFUSED_MS, () => client.destroy());
}

const REFUSED_MS = 2000;
