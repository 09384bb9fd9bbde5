// One request or CONNECT end to end: parse, judge, refuse or pass on, tell. Must ask the rail exactly once for each, understood or
// not, and finish every ticket in every ending.
import { randomBytes } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Dialer, Located } from '../egress/dial.ts';
import type { Clock } from '../lib/clock.ts';
import type { Allowed, Identity, Rail, Subject, Traffic } from '../rail/index.ts';
import { createConnect } from './connect.ts';
import type { ConnectHandler } from './connect.ts';
import { failureAnswer, malformedAnswer, rawAnswer, refusalAnswer } from './enforce.ts';
import type { OwnAnswer } from './enforce.ts';
import { malformedEvent, pathOf, requestEvent } from './event.ts';
import { createForwarder } from './forward.ts';
import type { Forwarded } from './forward.ts';
import { hasBody, isLoop, parseTarget } from './wire.ts';
import type { Target } from './wire.ts';

export interface HttpHandlerOptions {
  readonly rail: Rail;
  readonly identity: Identity;
  readonly dialer: Dialer;
  readonly traffic: Traffic;
  readonly clock: Clock;
  /** Both 15 minutes by default: a model may think for ten. */
  readonly responseMs?: number;
  readonly idleMs?: number;
  readonly connectMs?: number;
}

export interface HttpHandler {
  /** Answers a request; `expects` when the client waits for 100 Continue. Never rejects. */
  request(request: IncomingMessage, response: ServerResponse, expects: boolean): Promise<void>;
  /** Answers a CONNECT and carries its tunnel to the end. Never rejects. */
  readonly connect: ConnectHandler;
  /** Answers what the parser refused. */
  malformed(socket: Socket, status: number, detail: string): void;
  close(): Promise<void>;
}

const IDLE_MS = 15 * 60_000;
const CONNECT_MS = 10_000;
const LOGGED_PATH_MAX = 256;

export function createHttpHandler(options: HttpHandlerOptions): HttpHandler {
  const { rail, identity, dialer, traffic, clock } = options;
  const pseudonym = `weir-${randomBytes(6).toString('hex')}`;
  const forwarder = createForwarder({
    connectMs: options.connectMs ?? CONNECT_MS,
    responseMs: options.responseMs ?? IDLE_MS,
    pseudonym,
  });

  function refuseMalformed(subject: Subject, status: number, detail: string): OwnAnswer {
    rail.decide(malformedEvent(subject, detail));
    traffic.note({ kind: 'malformed', vm: subject.vm, source: subject.source, protocol: 'http', detail });
    return malformedAnswer(status, detail);
  }
  async function request(
    request: IncomingMessage,
    response: ServerResponse,
    expects: boolean,
  ): Promise<void> {
    const fromMs = clock.now();
    const subject = identity.of(request.socket.remoteAddress ?? '');
    const head = {
      method: request.method ?? '',
      url: request.url ?? '',
      httpVersion: request.httpVersion,
      rawHeaders: request.rawHeaders,
    };
    const parsed = parseTarget(head);
    if (!parsed.ok) {
      send(request, response, refuseMalformed(subject, parsed.status, parsed.detail), true);
      return;
    }
    const { target } = parsed;
    const decision = rail.decide(requestEvent(subject, head.method, target));
    const note = (status: number, more: Record<string, string | number>): void => {
      traffic.note({
        ...{ kind: 'request', vm: subject.vm, source: subject.source, method: head.method.slice(0, 32) },
        ...{
          host: target.host,
          port: target.port,
          path: loggedPath(target),
          status,
          octets_up: 0,
          octets_down: 0,
        },
        ...{ ms: clock.now() - fromMs, ...more },
      });
    };
    if (decision.verdict !== 'allow') {
      const own = refusalAnswer(decision, subject);
      note(own.status, { verdict: decision.verdict, rule: decision.rule });
      send(request, response, own, expects);
      return;
    }
    try {
      const ended = await pass(subject, target, { request, response, expects });
      note(ended.status, {
        verdict: ended.verdict,
        octets_up: ended.octetsUp,
        octets_down: ended.octetsDown,
        ...ended.words,
      });
    } finally {
      finish(decision);
    }
  }
  function finish(decision: Allowed): void {
    if (decision.ticket !== undefined) rail.finish(decision.ticket);
  }
  async function pass(subject: Subject, target: Target, io: RequestIo): Promise<Passed> {
    const { request, response, expects } = io;
    if (isLoop(request.rawHeaders, pseudonym)) {
      return own(io, failureAnswer('proxy_loop_detected', 'this request has been here before'), 'allow', {});
    }
    const located = await dialer.locate(subject, target.host, target.port);
    if (!located.ok) return refuseLocated(subject, located, io);
    if (expects) response.writeContinue();
    const forwarded = await forwarder.forward(request, response, target, located.addresses);
    const { failed } = forwarded;
    if (failed === undefined) return passed(forwarded);
    const answer = own(io, failureAnswer(failed.error, failed.detail), 'allow', { error: failed.error });
    return { ...answer, octetsUp: forwarded.octetsUp };
  }
  function refuseLocated(subject: Subject, located: Extract<Located, { ok: false }>, io: RequestIo): Passed {
    if ('refused' in located)
      return own(io, refusalAnswer(located.refused, subject), 'block', { rule: located.refused.rule });
    const { error, detail, rcode } = located.failure;
    const verdict = error.startsWith('dns_') ? 'allow' : 'block';
    return own(io, failureAnswer(error, detail, rcode), verdict, { error });
  }
  return {
    request,
    connect: createConnect({
      rail,
      identity,
      dialer,
      traffic,
      clock,
      idleMs: options.idleMs ?? IDLE_MS,
      refuseMalformed,
    }),
    malformed(socket, status, detail) {
      const subject = identity.of(socket.remoteAddress ?? '');
      const answer = refuseMalformed(subject, status, detail);
      if (socket.writable) socket.end(rawAnswer(answer));
    },
    close: () => forwarder.close(),
  };
}

interface RequestIo {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly expects: boolean;
}

interface Passed {
  readonly status: number;
  readonly verdict: 'allow' | 'block';
  readonly octetsUp: number;
  readonly octetsDown: number;
  readonly words: Record<string, string>;
}

const passed = ({ status, octetsUp, octetsDown, cut }: Forwarded): Passed => ({
  status,
  verdict: 'allow',
  octetsUp,
  octetsDown,
  words: cut === undefined ? {} : { error: cut },
});

function own(
  io: RequestIo,
  answer: OwnAnswer,
  verdict: Passed['verdict'],
  words: Record<string, string>,
): Passed {
  send(io.request, io.response, answer, io.expects);
  return { status: answer.status, verdict, octetsUp: 0, octetsDown: 0, words };
}

/** Sends an answer of our own. A connection whose request body was not read can't be used again. */
function send(request: IncomingMessage, response: ServerResponse, answer: OwnAnswer, close: boolean): void {
  if (response.destroyed || response.headersSent) return;
  const last = close || hasBody(request.rawHeaders);
  const connection = last ? ['Connection', 'close'] : [];
  response.writeHead(answer.status, [...answer.headers.flat(), ...connection]);
  response.end(request.method === 'HEAD' ? undefined : answer.body, () => {
    if (last) request.socket.destroySoon();
  });
}

function loggedPath(target: Target): string {
  const path = pathOf(target);
  return path.length > LOGGED_PATH_MAX ? `${path.slice(0, LOGGED_PATH_MAX)}…` : path;
}
