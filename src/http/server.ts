// HTTP listeners. Owns sockets, time-outs and connection limits; hands requests to the handler. Judges nothing.
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { formatEndpoint } from '../lib/ip.ts';
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
}

export interface HttpServer {
  /** Resolves once all endpoints are bound, with the ports that the system chose. Rejects naming the endpoint that isn't. */
  listening(): Promise<readonly HttpEndpoint[]>;
  readonly connections: number;
  /** Stops accepting, lets what is open end for `graceMs`, then closes it. */
  close(graceMs: number): Promise<void>;
}

const CONNECTIONS = 8192;
/** Above the 512 tunnels that the shipped rule lets a VM open: the rule should be the one that speaks. */
const CONNECTIONS_PER_SOURCE = 1024;
const HEADERS_MS = 10_000;
const HEADER_OCTETS = 16_384;
const KEEP_ALIVE_MS = 30_000;
/** A client that neither sends nor takes anything for so long is gone. */
const SILENT_MS = 15 * 60_000;
const STEP_MS = 20;

export function createHttpServer(options: HttpServerOptions): HttpServer {
  const { handler } = options;
  const servers: Server[] = [];
  const open = new Map<Socket, string>();

  function full(source: string): boolean {
    if (open.size >= (options.connections ?? CONNECTIONS)) return true;
    let own = 0;
    for (const other of open.values()) if (other === source) own += 1;
    return own >= (options.connectionsPerSource ?? CONNECTIONS_PER_SOURCE);
  }
  function accept(socket: Socket): void {
    const source = socket.remoteAddress ?? '';
    socket.on('error', () => socket.destroy());
    if (full(source)) {
      socket.end(
        'HTTP/1.1 503 Service Unavailable\r\nProxy-Status: weir; error=connection_limit_reached\r\nConnection: close\r\n\r\n',
      );
      socket.destroySoon();
      return;
    }
    open.set(socket, source);
    socket.on('close', () => open.delete(socket));
  }
  function make(): Server {
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
    server.setTimeout(SILENT_MS);
    server.on('connection', accept);
    server.on('request', (request, response) => void handler.request(request, response, false));
    server.on('checkContinue', (request, response) => void handler.request(request, response, true));
    server.on('checkExpectation', (request, response) => void handler.request(request, response, false));
    server.on('connect', (request, socket, head) => void handler.connect(request, socket as Socket, head));
    server.on('clientError', (error: Error & { code?: string }, socket) => {
      refuseParse(handler, error.code ?? '', socket as Socket);
    });
    return server;
  }
  return {
    get connections() {
      return open.size;
    },
    async listening() {
      for (const endpoint of options.listen) {
        const server = make();
        await bind(server, endpoint);
        servers.push(server);
      }
      return servers.map((server) => {
        const { address, port } = server.address() as AddressInfo;
        return { address, port };
      });
    },
    async close(graceMs) {
      for (const server of servers) server.close();
      for (let left = graceMs; left > 0 && open.size > 0; left -= STEP_MS) {
        for (const server of servers) server.closeIdleConnections();
        await new Promise((resolve) => {
          setTimeout(resolve, STEP_MS);
        });
      }
      for (const socket of open.keys()) socket.destroy();
      await handler.close();
      servers.length = 0;
    },
  };
}

/** Faults of node:http's parser, in words of ours. A connection that is merely gone is none. */
function refuseParse(handler: HttpHandler, code: string, socket: Socket): void {
  if (code === 'ECONNRESET' || code === 'EPIPE' || !socket.writable) {
    socket.destroy();
    return;
  }
  if (code === 'HPE_HEADER_OVERFLOW') handler.malformed(socket, 431, 'headers too large');
  else if (code === 'ERR_HTTP_REQUEST_TIMEOUT') handler.malformed(socket, 408, 'the headers took too long');
  else handler.malformed(socket, 400, code.startsWith('HPE_') ? `not HTTP: ${code}` : 'not HTTP');
  socket.destroySoon();
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
