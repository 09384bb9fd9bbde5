// The admin listener. Owns its sockets; what it serves is in routes.ts.
import { getRequestListener } from '@hono/node-server';
import type { Hono } from 'hono';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import { errorCode, errorText } from '../lib/error-text.ts';
import { formatEndpoint } from '../lib/ip.ts';

export interface AdminEndpoint {
  readonly address: string;
  readonly port: number;
}

export interface AdminServer {
  /** Resolves once bound; rejects naming the endpoint that isn't, with nothing left open. */
  listening(): Promise<readonly AdminEndpoint[]>;
  close(): void;
}

const HEADER_OCTETS = 8192;
const HEADERS_MS = 5000;
const CONNECTIONS_MAX = 64;

export function createAdminServer(app: Hono, listen: readonly AdminEndpoint[]): AdminServer {
  const servers: Server[] = [];
  const limits = {
    maxHeaderSize: HEADER_OCTETS,
    headersTimeout: HEADERS_MS,
    requestTimeout: HEADERS_MS,
    connectionsCheckingInterval: 1000,
  };
  const answer = getRequestListener(app.fetch, { overrideGlobalObjects: false });
  function close(): void {
    for (const server of servers) {
      server.close();
      server.closeAllConnections();
    }
  }
  return {
    async listening() {
      const bound: AdminEndpoint[] = [];
      try {
        for (const endpoint of listen) {
          const server = createServer(limits, (request, response) => void answer(request, response));
          server.maxConnections = CONNECTIONS_MAX;
          servers.push(server);
          bound.push(await bind(server, endpoint));
        }
      } catch (error) {
        close();
        throw error;
      }
      return bound;
    },
    close,
  };
}

function bind(server: Server, endpoint: AdminEndpoint): Promise<AdminEndpoint> {
  return new Promise((resolve, reject) => {
    // Kept for good: once bound, an error is a connection that could not be taken, which costs that connection only.
    server.on('error', (error) => {
      const name = formatEndpoint(endpoint.address, endpoint.port);
      reject(new Error(`admin: can't listen on ${name}: ${reasonOf(error)}: see admin.listen`));
    });
    server.listen(endpoint.port, endpoint.address, () => {
      const at = server.address();
      const port = typeof at === 'object' && at !== null ? at.port : endpoint.port;
      resolve({ address: endpoint.address, port });
    });
  });
}

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program uses it',
  EADDRNOTAVAIL: 'this machine has no such address',
  EACCES: 'low ports need a privilege',
};

const reasonOf = (error: unknown): string => {
  const code = errorCode(error) ?? errorText(error);
  return REASONS[code] === undefined ? code : `${code}: ${REASONS[code]}`;
};
