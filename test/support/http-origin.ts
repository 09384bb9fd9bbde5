// An HTTP origin under the test's control, and one that records octets. On loopback, on ports that the system chose.
import { createServer } from 'node:http';
import type { IncomingMessage, RequestListener, Server } from 'node:http';
import { createServer as createTcpServer } from 'node:net';
import type { AddressInfo, Server as TcpServer, Socket } from 'node:net';

export interface Origin {
  readonly port: number;
  readonly requests: IncomingMessage[];
  readonly connections: () => number;
  close(): void;
}

export async function startOrigin(answer: RequestListener = (_q, r) => r.end('hello')): Promise<Origin> {
  const requests: IncomingMessage[] = [];
  const server: Server = createServer((request, response) => {
    requests.push(request);
    answer(request, response);
  });
  const open = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
  });
  const port = await listen(server);
  return {
    port,
    requests,
    connections: () => open.size,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

export interface RawOrigin {
  readonly port: number;
  /** All octets received, over all connections. */
  readonly received: () => string;
  readonly connections: () => number;
  close(): void;
}

/** Calls `serve` for each connection; everything received is kept. */
export async function startRawOrigin(serve: (socket: Socket) => void = () => {}): Promise<RawOrigin> {
  let received = '';
  const open = new Set<Socket>();
  const server = createTcpServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => open.delete(socket));
    socket.on('data', (chunk) => (received += chunk.toString('latin1')));
    serve(socket);
  });
  const port = await listen(server);
  return {
    port,
    received: () => received,
    connections: () => open.size,
    close() {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
}

function listen(server: Server | TcpServer): Promise<number> {
  return new Promise((resolve) => {
    server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}
