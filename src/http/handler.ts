// One request or CONNECT end to end: parse, judge, refuse or pass on, tell. Must ask the rail exactly once for each, understood or
// not, and finish every ticket in every ending.
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Dialer, Located } from '../egress/dial.ts';
import type { Clock } from '../lib/clock.ts';
import type { Identity, Rail, Refused, Subject, Traffic } from '../rail/index.ts';
import { createConnect, judged, leaving, refuse } from './connect.ts';
import { failureAnswer, malformedAnswer, refusalAnswer } from './enforce.ts';
import type { OwnAnswer } from './enforce.ts';
import { malformedEvent, pathOf, requestEvent } from './event.ts';
import { createForwarder } from './forward.ts';
import type { Forwarded } from './forward.ts';
import { drain } from './upload.ts';
import { isLoop, parseTarget } from './wire.ts';
import type { Target } from './wire.ts';

export interface HttpHandlerOptions {
  readonly rail: Rail;
  readonly identity: Identity;
  readonly dialer: Dialer;
  readonly traffic: Traffic;
  readonly clock: Clock;
  /** How long an origin may be silent, and a tunnel: both 15 minutes by default, for a model may think for ten. */
  readonly responseMs?: number;
  readonly idleMs?: number;
  readonly connectMs?: number;
  /** How long a client may pause within a request's body, and an origin in taking it: a minute by default. */
  readonly uploadIdleMs?: number;
}

export interface HttpHandler {
  /** Answers a request; `expects` when the client waits for 100 Continue. Never rejects. */
  request(request: IncomingMessage, response: ServerResponse, expects: boolean): Promise<void>;
  /** Answers a CONNECT and carries its tunnel to the end. Never rejects. */
  connect(request: IncomingMessage, head: Buffer): Promise<void>;
  /** Counts what the parser refused; `answer` tells whether the client can still be told, and then the connection ends. */
  malformed(socket: Socket, status: number, detail: string, answer: boolean): void;
  /** Resolves once everything has ended and been told of. The client's sockets must have been closed. */
  close(): Promise<void>;
}

const IDLE_MS = 15 * 60_000;
const CONNECT_MS = 10_000;
const UPLOAD_IDLE_MS = 60_000;
/** How long the rest of a body is read and dropped once the answer is out. */
const DRAIN_MS = 5000;
const LOGGED_PATH_MAX = 256;

export function createHttpHandler(options: HttpHandlerOptions): HttpHandler {
  const { rail, identity, dialer, traffic, clock } = options;
  const pseudonym = `weir-${randomBytes(6).toString('hex')}`;
  const forwarder = createForwarder({
    connectMs: options.connectMs ?? CONNECT_MS,
    responseMs: options.responseMs ?? IDLE_MS,
    uploadIdleMs: options.uploadIdleMs ?? UPLOAD_IDLE_MS,
    pseudonym,
  });
  const running = new Set<Promise<void>>();

  function refuseMalformed(subject: Subject, status: number, detail: string): OwnAnswer {
    const decision = rail.decide(malformedEvent(subject, detail));
    if (decision.verdict === 'allow' && decision.ticket !== undefined) rail.finish(decision.ticket);
    const { vm, source } = subject;
    traffic.note({ kind: 'malformed', vm, source, protocol: 'http', detail, status });
    return malformedAnswer(status, detail);
  }

  async function pass(subject: Subject, target: Target, io: Io): Promise<Passed> {
    const { request, response, expects } = io;
    if (isLoop(request.rawHeaders, pseudonym)) {
      const error = 'proxy_loop_detected';
      return own(io, failureAnswer(error, 'this request has been here before'), 'allow', { error });
    }
    const left = leaving(request.socket);
    const located = await Promise.race([dialer.locate(subject, target.host, target.port), left.promise]);
    left.forget();
    if (located === undefined || response.destroyed) return CLIENT_LEFT;
    if (!located.ok) return refuseLocated(subject, located, io);
    if (expects) response.writeContinue();
    const { addresses } = located;
    const forwarded = await forwarder.forward({ vm: subject.vm, request, response, target, addresses });
    if (forwarded.failed === undefined) return passed(forwarded);
    const { error, detail } = forwarded.failed;
    const answer = own(io, failureAnswer(error, detail), 'allow', { error });
    return { ...answer, octetsUp: forwarded.octetsUp };
  }

  async function serve(request: IncomingMessage, response: ServerResponse, expects: boolean): Promise<void> {
    if (request.socket.destroyed) return;
    const fromMs = clock.now();
    const io: Io = { request, response, expects };
    const subject = identity.of(request.socket.remoteAddress ?? '');
    const { method = '', url = '', httpVersion, rawHeaders } = request;
    const parsed = parseTarget({ method, url, httpVersion, rawHeaders });
    if (!parsed.ok) {
      send(io, refuseMalformed(subject, parsed.status, parsed.detail), true);
      return;
    }
    const { target } = parsed;
    const note = (passed: Passed): void => {
      const { vm, source } = subject;
      const { host, port } = target;
      const { status, verdict, octetsUp, octetsDown, words } = passed;
      const who = { kind: 'request', vm, source, method: method.slice(0, 32), host, port } as const;
      const sums = { octets_up: octetsUp, octets_down: octetsDown, ms: clock.now() - fromMs };
      traffic.note({ ...who, path: loggedPath(target), status, ...sums, verdict, ...words });
    };
    const decision = rail.decide(requestEvent(subject, method, target));
    if (decision.verdict !== 'allow') {
      note(ownRefusal(io, decision, subject));
      return;
    }
    try {
      note(await pass(subject, target, io));
    } finally {
      if (decision.ticket !== undefined) rail.finish(decision.ticket);
    }
  }

  const connect = createConnect({
    rail,
    identity,
    dialer,
    traffic,
    clock,
    refuseMalformed,
    idleMs: options.idleMs ?? IDLE_MS,
  });
  function run(work: Promise<void>): Promise<void> {
    const done = work.finally(() => running.delete(done));
    running.add(done);
    return done;
  }
  return {
    request: (request, response, expects) => run(serve(request, response, expects)),
    connect: (request, head) => run(connect(request, head)),
    malformed(socket, status, detail, answer) {
      const own = refuseMalformed(identity.of(socket.remoteAddress ?? ''), status, detail);
      if (answer) refuse(socket, own);
    },
    async close() {
      await Promise.all(running);
      await forwarder.close();
    },
  };
}

interface Io {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly expects: boolean;
}

/** What the one line of a request says of its end. */
interface Passed {
  readonly status: number;
  readonly verdict: string;
  readonly octetsUp: number;
  readonly octetsDown: number;
  readonly words: Readonly<Record<string, string>>;
}

const CLIENT_LEFT: Passed = {
  status: 0,
  verdict: 'allow',
  octetsUp: 0,
  octetsDown: 0,
  words: { error: 'client_left' },
};

const passed = ({ status, octetsUp, octetsDown, cut }: Forwarded): Passed => ({
  status,
  verdict: 'allow',
  octetsUp,
  octetsDown,
  words: cut === undefined ? {} : { error: cut },
});

function refuseLocated(subject: Subject, located: Extract<Located, { ok: false }>, io: Io): Passed {
  if ('refused' in located) return ownRefusal(io, located.refused, subject);
  const { error, detail, rcode } = located.failure;
  return own(io, failureAnswer(error, detail, rcode), judged(error), { error });
}

const ownRefusal = (io: Io, refused: Refused, subject: Subject): Passed =>
  own(io, refusalAnswer(refused, subject), refused.verdict, { rule: refused.rule });

function own(io: Io, answer: OwnAnswer, verdict: string, words: Passed['words']): Passed {
  // Who was told not to go on may have sent the body all the same: what comes next can't be known.
  send(io, answer, io.expects);
  return { status: answer.status, verdict, octetsUp: 0, octetsDown: 0, words };
}

/** Sends an answer of our own, and reads what is left of the request. */
function send({ request, response }: Io, answer: OwnAnswer, close: boolean): void {
  if (response.destroyed || response.headersSent) return;
  if (close) response.shouldKeepAlive = false;
  response.writeHead(answer.status, answer.headers.flat());
  response.end(request.method === 'HEAD' ? undefined : answer.body);
  drain(request, DRAIN_MS);
}

function loggedPath(target: Target): string {
  const path = pathOf(target);
  const short = path.length > LOGGED_PATH_MAX ? `${path.slice(0, LOGGED_PATH_MAX)}…` : path;
  return short.replaceAll(/[^\x21-\x7e…]/g, (octet) => `\\x${octet.charCodeAt(0).toString(16)}`);
}
