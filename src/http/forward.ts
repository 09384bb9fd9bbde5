// One allowed request to its origin and back. Owns the dispatch through undici, streaming with back-pressure both ways, and what is
// said when the origin fails. Judges nothing.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Dispatcher } from 'undici';
import { connectError } from '../egress/dial.ts';
import { createPools } from '../egress/pools.ts';
import { formatEndpoint } from '../lib/ip.ts';
import type { FailureWord } from './enforce.ts';
import { uploadOf } from './upload.ts';
import type { Upload } from './upload.ts';
import { hasBody, requestHeaders, responseHeaders } from './wire.ts';
import type { Target } from './wire.ts';

export interface ForwardOptions {
  /** For all addresses of a destination together. */
  readonly connectMs: number;
  /** How long an origin may think before it answers, and pause while it does. */
  readonly responseMs: number;
  /** How long a client may pause within a request's body, and an origin in taking it. */
  readonly uploadIdleMs: number;
  readonly pseudonym: string;
}

/** One request that the rail allowed, and where it goes. */
export interface Flow {
  readonly vm: string;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly target: Target;
  /** The judged addresses: the origin is dialled at these alone. */
  readonly addresses: readonly string[];
}

/** How it ended. `failed` before anything was sent to the client: the caller answers. */
export interface Forwarded {
  readonly octetsUp: number;
  readonly octetsDown: number;
  /** 0 when the client got none. */
  readonly status: number;
  readonly failed?: { readonly error: FailureWord; readonly detail: string };
  /** Set when it broke off half-way. */
  readonly cut?: 'client_left' | 'origin_reset';
}

export interface Forwarder {
  /** Never rejects. */
  forward(flow: Flow): Promise<Forwarded>;
  close(): Promise<void>;
}

interface Attempt extends Forwarded {
  /** `connect`: nothing was sent, another address may do; `stale`: a kept connection may just have been closed. */
  readonly again?: 'connect' | 'stale';
}

const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);
const EACH_CONNECT_MS_MIN = 1000;

export function createForwarder(options: ForwardOptions): Forwarder {
  const pools = createPools(options);
  return {
    async forward(flow) {
      const { request, response, addresses } = flow;
      const dispatcher = pools.of(flow.vm);
      const body = hasBody(request.rawHeaders);
      // RFC 9110, 9.2.2: only what is idempotent may be sent twice, and once more is enough.
      let replays = !body && IDEMPOTENT.has(request.method ?? '') ? 1 : 0;
      const eachMs = Math.max(EACH_CONNECT_MS_MIN, Math.floor(options.connectMs / addresses.length));
      for (let i = 0; ;) {
        const upload = body ? uploadOf(request, options.uploadIdleMs) : undefined;
        const connectMs = Math.min(eachMs, options.connectMs);
        const address = addresses[i] ?? '';
        const attempt = await dispatch(dispatcher, flow, {
          address,
          upload,
          connectMs,
          pseudonym: options.pseudonym,
        });
        if (response.destroyed || attempt.again === undefined) return attempt;
        if (attempt.again === 'connect') i += 1;
        else if (replays > 0) replays -= 1;
        else return attempt;
        if (i >= addresses.length) return attempt;
      }
    },
    close: () => pools.destroy(),
  };
}

interface Sending {
  readonly address: string;
  readonly upload: Upload | undefined;
  readonly connectMs: number;
  readonly pseudonym: string;
}

/** Makes one attempt. Resolves once: when the answer is out, when either side broke off, or when there is none to be had. */
function dispatch(dispatcher: Dispatcher, flow: Flow, sending: Sending): Promise<Attempt> {
  const { request, response, target } = flow;
  const { upload } = sending;
  return new Promise((resolve) => {
    let octetsDown = 0;
    let over = false;
    let cut: NonNullable<Forwarded['cut']> = 'client_left';
    let abort: ((why: Error) => void) | undefined;

    const settle = (end: Pick<Attempt, 'failed' | 'cut' | 'again'>): void => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      response.removeListener('close', closed);
      upload?.body.destroy();
      const status = response.headersSent ? response.statusCode : 0;
      resolve({ octetsUp: upload?.octets() ?? 0, octetsDown, status, ...end });
    };
    const closed = (): void => {
      settle(response.writableFinished ? {} : { cut });
      abort?.(new Error('the client left'));
    };
    const timer = setTimeout(() => {
      settle({ failed: CONNECT_TIMEOUT, again: 'connect' });
    }, sending.connectMs);
    response.on('close', closed);
    dispatcher.dispatch(
      {
        origin: `http://${formatEndpoint(sending.address, target.port)}`,
        path: target.path,
        method: request.method ?? 'GET',
        headers: requestHeaders(headOf(request), target, sending.pseudonym),
        body: upload?.body ?? null,
      },
      {
        onRequestStart(control) {
          clearTimeout(timer);
          abort = (why) => control.abort(why);
          if (over) abort(new Error('given up'));
        },
        onResponseStart: answerStart(response, sending.pseudonym),
        onResponseData(control, chunk) {
          octetsDown += chunk.length;
          if (response.destroyed || response.write(chunk)) return;
          control.pause();
          response.once('drain', () => control.resume());
        },
        onResponseEnd() {
          response.end();
        },
        onResponseError(_control, error) {
          if (over) return;
          if (response.headersSent) {
            cut = 'origin_reset';
            response.destroy();
          } else settle(stuckFailure(upload) ?? failureOf(error));
        },
      },
    );
  });
}

const headOf = (request: IncomingMessage): Parameters<typeof requestHeaders>[0] => ({
  method: request.method ?? '',
  url: '',
  httpVersion: request.httpVersion,
  rawHeaders: request.rawHeaders,
});

const INFORMATIONAL_MAX = 16;
const BAD_ANSWER = 'WEIR_BAD_ANSWER';

class BadAnswer extends Error {
  readonly code = BAD_ANSWER;
}

/** Passes on the head of a final answer. 1xx are swallowed: those that concern the client are ours to give. */
function answerStart(
  response: ServerResponse,
  pseudonym: string,
): NonNullable<Dispatcher.DispatchHandler['onResponseStart']> {
  let informational = 0;
  return (control, status, _headers, message) => {
    if (status >= 100 && status < 200) {
      informational += 1;
      if (informational > INFORMATIONAL_MAX) throw new BadAnswer('too many interim answers');
      return;
    }
    if (status < 100 || status > 999) throw new BadAnswer(`status ${status}`);
    const raw = Array.isArray(control.rawHeaders) ? control.rawHeaders : [];
    const text = raw.map((part) => (typeof part === 'string' ? part : part.toString('latin1')));
    const headers = responseHeaders(text, pseudonym, status);
    // A reason phrase is for people: one that can't be written as it came is left out.
    const reason = /^[\t\x20-\x7e]*$/.test(message ?? '') ? (message ?? '') : '';
    response.writeHead(status, reason, headers);
    response.flushHeaders();
  };
}

type Failure = Pick<Attempt, 'failed' | 'again'>;

const CONNECT_TIMEOUT = {
  error: 'connection_timeout',
  detail: 'the destination did not accept the connection in time',
} as const;

function stuckFailure(upload: Upload | undefined): Failure | undefined {
  const on = upload?.stuck();
  if (on === undefined) return undefined;
  return on === 'client'
    ? say('request_timeout', 'the request stopped in the middle of its body')
    : say('connection_write_timeout', 'the destination takes no more of the request');
}

const say = (error: FailureWord, detail: string, again?: Attempt['again']): Failure => ({
  failed: { error, detail },
  ...(again === undefined ? {} : { again }),
});

/** Of the dispatcher's errors, those that aren't of the system. */
const DISPATCH_FAILURES: Readonly<Record<string, Failure>> = {
  UND_ERR_CONNECT_TIMEOUT: { failed: CONNECT_TIMEOUT, again: 'connect' },
  UND_ERR_HEADERS_TIMEOUT: say('http_response_timeout', 'the destination did not answer in time'),
  UND_ERR_BODY_TIMEOUT: say('http_response_timeout', 'the destination did not answer in time'),
  UND_ERR_HEADERS_OVERFLOW: say('http_response_header_section_size', 'the answer’s headers are too large'),
  UND_ERR_INVALID_ARG: say('http_request_error', 'this request can’t be passed on'),
  UND_ERR_NOT_SUPPORTED: say('http_request_error', 'this request can’t be passed on'),
  UND_ERR_REQ_CONTENT_LENGTH_MISMATCH: say('http_request_error', 'the body is not as long as it said'),
};
const STALE: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE']);

/** What an error before the answer means, and whether another attempt may mend it. */
function failureOf(error: Error & { code?: string }): Failure {
  const code = error.code ?? '';
  const known = DISPATCH_FAILURES[code];
  if (known !== undefined) return known;
  if (STALE.has(code) || (code === 'UND_ERR_SOCKET' && error.message === 'other side closed'))
    return say('connection_terminated', 'the destination closed the connection', 'stale');
  const connecting = connectError(code);
  if (connecting !== 'connection_terminated')
    return say(connecting, `the destination can’t be reached: ${code}`, 'connect');
  const unreadable = code === BAD_ANSWER || /^(?:HPE_|ERR_|UND_ERR_)/.test(code);
  if (unreadable || error.name === 'HTTPParserError')
    return say('http_protocol_error', 'the answer is not HTTP that can be passed on');
  return say('connection_terminated', 'the connection to the destination broke');
}
