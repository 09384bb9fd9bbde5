// CONNECT: one tunnel from its request to its last octet. Owns the ticket and the tunnel.close event of a tunnel that was allowed:
// each exactly once, in every ending.
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import type { Dialer, EgressFailure } from '../egress/dial.ts';
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

/** `head`: what the client sent behind its request. Never rejects. */
export type ConnectHandler = (request: IncomingMessage, head: Buffer) => Promise<void>;

/** What the one line of a tunnel says of its end. */
interface Ended {
  readonly octetsUp: number;
  readonly octetsDown: number;
  readonly words: Readonly<Record<string, string | number>>;
}

type Opened =
  | { readonly ok: true; readonly upstream: Socket }
  | { readonly ok: false; readonly answer: OwnAnswer; readonly words: Ended['words'] };

const ESTABLISHED = 'HTTP/1.1 200 Connection Established\r\n\r\n';

export function createConnect(options: ConnectOptions): ConnectHandler {
  const { rail, identity, dialer, traffic, clock } = options;

  async function open(subject: Subject, { host, port }: Destination, client: Socket): Promise<Opened> {
    const left = leaving(client);
    try {
      const located = await Promise.race([dialer.locate(subject, host, port), left.promise]);
      if (located === undefined) return CLIENT_LEFT;
      if (!located.ok && 'refused' in located) {
        const { refused } = located;
        const words = { verdict: refused.verdict, rule: refused.rule };
        return { ok: false, answer: refusalAnswer(refused, subject), words };
      }
      if (!located.ok) return failed(located.failure);
      const dialled = await dialer.dial(located.addresses, port, left.signal);
      if (!dialled.ok) return client.destroyed ? CLIENT_LEFT : failed(dialled.failure);
      if (!client.destroyed) return { ok: true, upstream: dialled.socket };
      dialled.socket.destroy();
      return CLIENT_LEFT;
    } finally {
      left.forget();
    }
  }

  async function carry(
    subject: Subject,
    destination: Destination,
    client: Socket,
    head: Buffer,
  ): Promise<Ended> {
    const opened = await open(subject, destination, client);
    if (!opened.ok) {
      refuse(client, opened.answer);
      return { octetsUp: 0, octetsDown: 0, words: { status: opened.answer.status, ...opened.words } };
    }
    client.write(ESTABLISHED);
    const end = await joinTunnel({ client, upstream: opened.upstream, head, idleMs: options.idleMs });
    return {
      octetsUp: end.octetsUp,
      octetsDown: end.octetsDown,
      words: { status: 200, verdict: 'allow', ...errorOf(end) },
    };
  }

  /** Tells the rail of the end of a tunnel that it allowed, whether or not it ever stood. */
  function tellClosed(subject: Subject, destination: Destination, ended: Ended, durationMs: number): void {
    const { octetsUp, octetsDown } = ended;
    const decision = rail.decide(
      tunnelCloseEvent(subject, destination, { octetsUp, octetsDown, durationMs }),
    );
    if (decision.verdict === 'allow' && decision.ticket !== undefined) rail.finish(decision.ticket);
  }

  return async (request, head) => {
    const client = request.socket;
    client.on('error', () => client.destroy());
    if (client.destroyed) return;
    const fromMs = clock.now();
    const subject = identity.of(client.remoteAddress ?? '');
    const { url = '', httpVersion, rawHeaders } = request;
    const parsed = parseConnect({ method: 'CONNECT', url, httpVersion, rawHeaders });
    if (!parsed.ok) {
      refuse(client, options.refuseMalformed(subject, parsed.status, parsed.detail));
      return;
    }
    const { destination } = parsed;
    const { vm, source } = subject;
    const note = ({ octetsUp, octetsDown, words }: Ended): void => {
      const place = { kind: 'tunnel', vm, source, host: destination.host, port: destination.port } as const;
      const ms = clock.now() - fromMs;
      traffic.note({ ...place, octets_up: octetsUp, octets_down: octetsDown, ms, ...words });
    };
    const decision = rail.decide(tunnelEvent(subject, destination));
    if (decision.verdict !== 'allow') {
      const answer = refusalAnswer(decision, subject);
      const words = { status: answer.status, verdict: decision.verdict, rule: decision.rule };
      note({ octetsUp: 0, octetsDown: 0, words });
      refuse(client, answer);
      return;
    }
    try {
      const ended = await carry(subject, destination, client, head);
      tellClosed(subject, destination, ended, clock.now() - fromMs);
      note(ended);
    } finally {
      if (decision.ticket !== undefined) rail.finish(decision.ticket);
    }
  };
}

/** Tells when the client goes: by a promise, and by a signal for those who ask. Must be forgotten. */
export function leaving(client: Socket): {
  readonly promise: Promise<undefined>;
  readonly signal: AbortSignal;
  forget(): void;
} {
  let gone: AbortController | undefined;
  let tell: (value: undefined) => void = () => {};
  const promise = new Promise<undefined>((resolve) => {
    tell = resolve;
  });
  const onClose = (): void => {
    gone?.abort();
    tell(undefined);
  };
  if (client.destroyed) onClose();
  else client.once('close', onClose);
  return {
    promise,
    get signal() {
      gone ??= new AbortController();
      if (client.destroyed) gone.abort();
      return gone.signal;
    },
    forget: () => client.off('close', onClose),
  };
}

function failed({ error, detail, rcode }: EgressFailure): Opened {
  const verdict = judged(error);
  return { ok: false, answer: failureAnswer(error, detail, rcode), words: { verdict, error } };
}

/** A destination that may not be had was refused; one that can't be had was allowed. */
export const judged = (error: EgressFailure['error']): 'allow' | 'block' =>
  error === 'port_not_allowed' || error === 'destination_ip_prohibited' ? 'block' : 'allow';

const CLIENT_LEFT: Opened = {
  ok: false,
  answer: failureAnswer('connection_terminated', 'the client left'),
  words: { verdict: 'allow', status: 0, error: 'client_left' },
};

const errorOf = (end: TunnelEnd): Ended['words'] => (end.error === undefined ? {} : { error: end.error });

/** How long a client may go on sending after an answer that ends its connection, so that it gets to read it. */
const LINGER_MS = 2000;

/** A refused CONNECT always closes: what an eager client has sent behind it must never be read as a request. */
export function refuse(client: Socket, answer: OwnAnswer): void {
  if (client.destroyed) return;
  if (client.writable) client.end(rawAnswer(answer));
  client.resume();
  const timer = setTimeout(() => client.destroy(), LINGER_MS);
  client.once('close', () => clearTimeout(timer));
}
