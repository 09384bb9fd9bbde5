// One allowed request to its origin and back. Owns the dispatch through undici, streaming with back-pressure both ways, and what is
// said when the origin fails. Judges nothing.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { Agent } from 'undici';
import type { Dispatcher } from 'undici';
import { connectError } from '../egress/dial.ts';
import { formatEndpoint } from '../lib/ip.ts';
import type { FailureWord } from './enforce.ts';
import { hasBody, requestHeaders, responseHeaders } from './wire.ts';
import type { Target } from './wire.ts';

export interface ForwardOptions {
  readonly connectMs: number;
  /** How long an origin may think before it answers, and pause while it does. */
  readonly responseMs: number;
  readonly pseudonym: string;
}

/** How it ended. `failed` before anything was sent to the client: the caller answers. */
export interface Forwarded {
  readonly octetsUp: number;
  readonly octetsDown: number;
  readonly status: number;
  readonly failed?: { readonly error: FailureWord; readonly detail: string };
  /** Set when the answer broke off half-way. */
  readonly cut?: 'client_left' | 'origin_reset';
}

export interface Forwarder {
  /** Never rejects. The origin is dialled at the judged `addresses` alone. */
  forward(
    request: IncomingMessage,
    response: ServerResponse,
    target: Target,
    addresses: readonly string[],
  ): Promise<Forwarded>;
  close(): Promise<void>;
}

const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);
/** A connection that the origin closed between two requests: nobody's fault, and safe to try anew. */
const STALE: ReadonlySet<string> = new Set(['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']);
const CONNECTIONS_PER_ORIGIN = 128;
const IDLE_CONNECTION_MS = 10_000;
const HEADER_OCTETS_MAX = 65_536;

export function createForwarder(options: ForwardOptions): Forwarder {
  const agent = new Agent({
    connections: CONNECTIONS_PER_ORIGIN,
    pipelining: 1,
    keepAliveTimeout: IDLE_CONNECTION_MS,
    keepAliveMaxTimeout: 60_000,
    headersTimeout: options.responseMs,
    bodyTimeout: options.responseMs,
    maxHeaderSize: HEADER_OCTETS_MAX,
    connect: { timeout: options.connectMs },
  });
  return {
    async forward(request, response, target, addresses) {
      const body = hasBody(request.rawHeaders);
      const again = !body && IDEMPOTENT.has(request.method ?? '');
      const tries = again ? [addresses[0], ...addresses] : addresses.slice(0, 1);
      let last: Forwarded | undefined;
      for (const address of tries) {
        if (address === undefined) break;
        const one = await dispatch(agent, options, { request, response, target, address, body });
        last = one.ended;
        if (last.failed === undefined || !one.retry || response.destroyed) break;
      }
      return (
        last ?? {
          octetsUp: 0,
          octetsDown: 0,
          status: 0,
          failed: { error: 'connection_terminated', detail: 'no address' },
        }
      );
    },
    close: () => agent.destroy(),
  };
}

interface Exchange {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly target: Target;
  readonly address: string;
  readonly body: boolean;
}

function dispatch(
  agent: Agent,
  options: ForwardOptions,
  exchange: Exchange,
): Promise<{ ended: Forwarded; retry: boolean }> {
  const { request, response, target, address, body } = exchange;
  const count = { up: 0, down: 0 };
  return new Promise((resolve) => {
    let abort: ((why: Error) => void) | undefined;
    const left = (): void => abort?.(new Error(CLIENT_LEFT));
    const end = (more: Partial<Forwarded>, retry = false): void => {
      response.removeListener('close', left);
      resolve({
        ended: { octetsUp: count.up, octetsDown: count.down, status: response.statusCode, ...more },
        retry,
      });
    };
    response.on('close', left);
    agent.dispatch(
      {
        origin: `http://${formatEndpoint(address, target.port)}`,
        path: target.path,
        method: (request.method ?? 'GET') as Dispatcher.HttpMethod,
        headers: requestHeaders(
          {
            method: request.method ?? '',
            url: '',
            httpVersion: request.httpVersion,
            rawHeaders: request.rawHeaders,
          },
          target,
          options.pseudonym,
        ),
        body: body ? Readable.from(metered(request, count), { objectMode: false }) : null,
      },
      {
        onRequestStart(control) {
          abort = (why) => control.abort(why);
          if (response.destroyed) left();
        },
        onResponseStart(control, status, _headers, message) {
          if (status >= 200)
            startResponse(
              response,
              status,
              message,
              (control as RawControl).rawHeaders ?? [],
              options.pseudonym,
            );
          else if (status < 100) throw new Error(BAD_STATUS);
        },
        onResponseData(control, chunk) {
          count.down += chunk.length;
          if (response.destroyed || response.write(chunk)) return;
          control.pause();
          response.once('drain', () => control.resume());
        },
        onResponseEnd() {
          response.end(() => end({}));
          // A client that left gets no callback.
          if (response.destroyed) end({ cut: 'client_left' });
        },
        onResponseError(_control, error) {
          const failure = failureOf(error as Error & { code?: string });
          if (response.destroyed && !response.writableFinished) end({ cut: 'client_left' });
          else if (response.headersSent) {
            response.destroy();
            end({ cut: 'origin_reset' });
          } else end({ failed: failure.failed }, failure.retry);
        },
      },
    );
  });
}

type RawControl = { readonly rawHeaders?: readonly (Buffer | string)[] };

const CLIENT_LEFT = 'the client left';
const BAD_STATUS = 'a status below 100';

async function* metered(request: IncomingMessage, count: { up: number }): AsyncGenerator<Buffer> {
  for await (const chunk of request as AsyncIterable<Buffer>) {
    count.up += chunk.length;
    yield chunk;
  }
}

function startResponse(
  response: ServerResponse,
  status: number,
  message: string | undefined,
  raw: readonly (Buffer | string)[],
  pseudonym: string,
): void {
  const text = raw.map((part) => (typeof part === 'string' ? part : part.toString('latin1')));
  response.sendDate = false;
  if (status > 999) throw new Error(BAD_STATUS);
  response.writeHead(status, message ?? '', responseHeaders(text, pseudonym));
  response.flushHeaders();
}

/** What an error of the dispatcher means, and whether a request without a body may be tried once more. */
function failureOf(error: Error & { code?: string }): {
  failed: NonNullable<Forwarded['failed']>;
  retry: boolean;
} {
  const code = error.code ?? '';
  const say = (word: FailureWord, detail: string, retry = false): ReturnType<typeof failureOf> => ({
    failed: { error: word, detail },
    retry,
  });
  if (code === 'UND_ERR_CONNECT_TIMEOUT')
    return say('connection_timeout', 'the destination did not accept the connection in time', true);
  if (code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT')
    return say('http_response_timeout', 'the destination did not answer in time');
  if (code === 'UND_ERR_HEADERS_OVERFLOW')
    return say('http_response_header_section_size', 'the answer’s headers are too large');
  if (code.startsWith('HPE_') || error.name === 'HTTPParserError')
    return say('http_protocol_error', 'the answer is not HTTP');
  if (STALE.has(code)) return say('connection_terminated', 'the destination closed the connection', true);
  const connecting = connectError(code);
  if (connecting !== 'connection_terminated')
    return say(connecting, `the destination can’t be reached: ${code}`, true);
  if (code.startsWith('UND_ERR') || code.startsWith('ERR_') || error.message === BAD_STATUS)
    return say('http_protocol_error', 'the answer is not HTTP that can be passed on');
  return say('connection_terminated', 'the connection to the destination broke');
}
