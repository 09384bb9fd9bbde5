// HTTP listeners. Owns sockets, time-outs and connection limits; hands requests to the handler. Judges nothing.
import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import { formatEndpoint } from '../lib/ip.ts';
import { crowdedAnswer } from './enforce.ts';
import { refuse } from './connect.ts';
import type { HttpHandler } from './handler.ts';

export interface HttpEndpoint {
  readonly address: string;
  readonly port: number;
}

export interface HttpServerOptions {
  readonly listen: readonly HttpEndpoint[];
  readonly handler: HttpHandler;
  readonly connections?: number;
  readonly connectionsPerSource?: number;
  readonly headersMs?: number;
  /** How long a connection may neither send nor take anything while a request is open; longer than the handler's patience. */
  readonly silentMs?: number;
}

export interface HttpServer {
  /** Resolves once all endpoints are bound, with the ports that the system chose. Rejects naming the endpoint that isn't. */
  listening(): Promise<readonly HttpEndpoint[]>;
  readonly connections: number;
  /** Stops accepting, lets what is open end for `graceMs`, then closes it; resolves once all of it has been told of. */
  close(graceMs: number): Promise<void>;
}

const CONNECTIONS = 8192;
/** Above the 512 tunnels that the shipped rule lets a VM open: the rule should be the one that speaks. */
const CONNECTIONS_PER_SOURCE = 1024;
/** Requests sent ahead on one connection before the first is answered. */
const PIPELINED_MAX = 64;
const HEADERS_MS = 10_000;
const HEADER_OCTETS = 16_384;
const KEEP_ALIVE_MS = 30_000;
const SILENT_MS = 20 * 60_000;
const STEP_MS = 20;

/** A connection, and the requests on it that have not been answered. */
interface Connection {
  readonly source: string;
  readonly open: Set<ServerResponse>;
  /** It ends, or its octets stopped making sense: nothing more is read as a request. */
  over: boolean;
}

interface Connections {
  readonly of: ReadonlyMap<Socket, Connection>;
  /** Takes a connection in, or answers that there are too many. */
  accept(socket: Socket): void;
}

export function createHttpServer(options: HttpServerOptions): HttpServer {
  const connections = createConnections(options);
  const servers: Server[] = [];
  return {
    get connections() {
      return connections.of.size;
    },
    async listening() {
      for (const endpoint of options.listen) {
        const server = makeServer(options, connections);
        await bind(server, endpoint);
        servers.push(server);
      }
      return servers.map(endpointOf);
    },
    async close(graceMs) {
      for (const server of servers) server.close();
      for (let left = graceMs; left > 0 && connections.of.size > 0; left -= STEP_MS) {
        for (const server of servers) server.closeIdleConnections();
        await new Promise((resolve) => {
          setTimeout(resolve, STEP_MS);
        });
      }
      for (const socket of connections.of.keys()) socket.destroy();
      await options.handler.close();
      servers.length = 0;
    },
  };
}

function createConnections(options: HttpServerOptions): Connections {
  const open = new Map<Socket, Connection>();
  const perSource = new Map<string, number>();
  const most = options.connections ?? CONNECTIONS;
  const mostPerSource = options.connectionsPerSource ?? CONNECTIONS_PER_SOURCE;
  return {
    of: open,
    accept(socket) {
      const source = socket.remoteAddress ?? '';
      const own = perSource.get(source) ?? 0;
      socket.on('error', () => socket.destroy());
      if (open.size >= most || own >= mostPerSource) {
        refuse(socket, crowdedAnswer(open.size >= most));
        return;
      }
      perSource.set(source, own + 1);
      open.set(socket, { source, open: new Set(), over: false });
      socket.on('close', () => {
        open.delete(socket);
        const left = (perSource.get(source) ?? 1) - 1;
        if (left === 0) perSource.delete(source);
        else perSource.set(source, left);
      });
    },
  };
}

function makeServer(options: HttpServerOptions, connections: Connections): Server {
  const { handler } = options;
  const server = createServer({
    maxHeaderSize: HEADER_OCTETS,
    headersTimeout: options.headersMs ?? HEADERS_MS,
    requestTimeout: 0,
    keepAliveTimeout: KEEP_ALIVE_MS,
    connectionsCheckingInterval: 1000,
    insecureHTTPParser: false,
    noDelay: true,
    // Missing or double Host headers are counted and answered like every other fault.
    requireHostHeader: false,
  });
  // Node drops headers past a count in silence; the parser page refuses them instead.
  server.maxHeadersCount = 0;
  server.setTimeout(options.silentMs ?? SILENT_MS);
  const serve = (request: IncomingMessage, response: ServerResponse, expects: boolean): void => {
    const connection = connections.of.get(request.socket);
    if (connection === undefined || connection.over) return;
    if (connection.open.size >= PIPELINED_MAX) {
      refuseParse(handler, connection, request.socket, 400, 'too many requests ahead of their answers');
      return;
    }
    connection.open.add(response);
    response.on('close', () => {
      connection.open.delete(response);
      if (!response.shouldKeepAlive) connection.over = true;
    });
    void handler.request(request, response, expects);
  };
  server.on('connection', (socket: Socket) => connections.accept(socket));
  server.on('request', (request, response) => serve(request, response, false));
  server.on('checkContinue', (request, response) => serve(request, response, true));
  server.on('checkExpectation', (request, response) => serve(request, response, true));
  server.on('connect', (request, _socket, head) => {
    const connection = connections.of.get(request.socket);
    // A CONNECT behind requests that still wait would put its octets into their answers.
    if (connection?.open.size === 0 && !connection.over) void handler.connect(request, head);
    else if (connection !== undefined)
      refuseParse(handler, connection, request.socket, 400, 'CONNECT ahead of an answer');
  });
  server.on('clientError', (error: Error & { code?: string }, socket) => {
    const connection = socket instanceof Socket ? connections.of.get(socket) : undefined;
    if (connection === undefined || !(socket instanceof Socket)) return;
    if (GONE.has(error.code ?? '')) socket.destroy();
    else refuseParse(handler, connection, socket, ...faultOf(error.code ?? ''));
  });
  return server;
}

const GONE: ReadonlySet<string> = new Set(['ECONNRESET', 'EPIPE', 'ETIMEDOUT']);

/** Faults of node:http's parser, in words of ours. */
function faultOf(code: string): [status: number, detail: string] {
  if (code === 'HPE_HEADER_OVERFLOW') return [431, 'headers too large'];
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return [408, 'the headers took too long'];
  return [400, code.startsWith('HPE_') ? `not HTTP: ${code}` : 'not HTTP'];
}

/** Ends a connection whose octets can't be read as requests any more. An answer that has begun is never written into. */
function refuseParse(
  handler: HttpHandler,
  connection: Connection,
  socket: Socket,
  status: number,
  detail: string,
): void {
  // The parser goes on complaining for as long as octets come.
  if (connection.over) return;
  connection.over = true;
  // What follows a request that was the last, such as the body of a refused one, is no request.
  if ([...connection.open].some((response) => response.writableEnded && !response.shouldKeepAlive)) return;
  const begun = [...connection.open].some((response) => response.headersSent);
  handler.malformed(socket, status, detail, !begun && socket.writable);
  if (begun || !socket.writable) socket.destroySoon();
}

function endpointOf(server: Server): HttpEndpoint {
  const bound = server.address();
  if (bound === null || typeof bound === 'string') throw new Error('http: not bound to a port');
  return { address: bound.address, port: bound.port };
}

function bind(server: Server, endpoint: HttpEndpoint): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: { code?: string }) => {
      const name = formatEndpoint(endpoint.address, endpoint.port);
      const code = error.code ?? 'error';
      const advice =
        code === 'EACCES'
          ? 'ports below 1024 need CAP_NET_BIND_SERVICE'
          : 'is another program using it? see http.listen';
      reject(new Error(`http: can't listen on ${name}: ${code}: ${advice}`));
    });
    server.listen(endpoint.port, endpoint.address, () => {
      server.removeAllListeners('error');
      server.on('error', () => {});
      resolve();
    });
  });
}
