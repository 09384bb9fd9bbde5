// The admin listener. Owns its sockets; what it serves is in routes.ts.
import { createAdaptorServer } from '@hono/node-server';
import type { Hono } from 'hono';
import type { AddressInfo } from 'node:net';
import type { Server } from 'node:http';
import { formatEndpoint } from '../lib/ip.ts';

export interface AdminEndpoint {
  readonly address: string;
  readonly port: number;
}

export interface AdminServer {
  /** Resolves once bound; rejects naming the endpoint that isn't. */
  listening(): Promise<readonly AdminEndpoint[]>;
  close(): void;
}

const HEADER_OCTETS = 8192;
const HEADERS_MS = 5000;

export function createAdminServer(app: Hono, listen: readonly AdminEndpoint[]): AdminServer {
  const servers: Server[] = [];
  return {
    async listening() {
      const bound: AdminEndpoint[] = [];
      for (const endpoint of listen) {
        const server = createAdaptorServer({
          fetch: app.fetch,
          serverOptions: {
            maxHeaderSize: HEADER_OCTETS,
            headersTimeout: HEADERS_MS,
            requestTimeout: HEADERS_MS,
          },
        }) as Server;
        server.maxConnections = 64;
        await bind(server, endpoint);
        servers.push(server);
        bound.push({ address: endpoint.address, port: (server.address() as AddressInfo).port });
      }
      return bound;
    },
    close() {
      for (const server of servers) {
        server.close();
        server.closeAllConnections();
      }
    },
  };
}

function bind(server: Server, endpoint: AdminEndpoint): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: { code?: string }) => {
      const name = formatEndpoint(endpoint.address, endpoint.port);
      reject(
        new Error(
          `admin: can't listen on ${name}: ${error.code ?? 'error'}: is another program using it? see admin.listen`,
        ),
      );
    });
    server.listen(endpoint.port, endpoint.address, () => {
      server.removeAllListeners('error');
      resolve();
    });
  });
}
