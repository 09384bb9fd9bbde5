// DNS listeners: UDP and TCP on the same address and port. Owns sockets and their limits; hands octets to the handler and writes
// what comes back. Judges nothing.
import { createSocket } from 'node:dgram';
import type { Socket as UdpSocket } from 'node:dgram';
import { createServer } from 'node:net';
import type { Server } from 'node:net';
import { formatEndpoint } from '../lib/ip.ts';
import type { DnsHandler } from './handler.ts';
import { serveTcp } from './tcp.ts';
import type { TcpLimits } from './tcp.ts';

export interface DnsEndpoint {
  readonly address: string;
  readonly port: number;
}

export interface DnsServerOptions {
  readonly listen: readonly DnsEndpoint[];
  readonly handler: DnsHandler;
  readonly tcp?: Partial<TcpLimits>;
}

export interface DnsServer {
  /** Resolves once all endpoints are bound, with the ports that the system chose. Rejects naming the endpoint that isn't. */
  listening(): Promise<readonly DnsEndpoint[]>;
  /** Queries being answered. */
  readonly inFlight: number;
  /** Stops taking queries, and ends when those in flight are answered or `graceMs` is over. */
  close(graceMs: number): Promise<void>;
}

const IN_FLIGHT_MAX = 8192;
/** With port 0 UDP chooses and TCP must get the same number: rarely it is taken. */
const PORT_TRIES = 20;
const RECEIVE_OCTETS = 4 * 1024 * 1024;

interface Bound {
  readonly udp: UdpSocket;
  readonly tcp: Server;
  readonly endpoint: DnsEndpoint;
}

export function createDnsServer(options: DnsServerOptions): DnsServer {
  const bound: Bound[] = [];
  const tcp = serveTcp(options.handler, options.tcp ?? {});
  let inFlight = 0;

  const receive = (udp: UdpSocket) => (message: Buffer, peer: { address: string; port: number }) => {
    // Over the limit nothing is answered: a resolver asks again, and memory stays bounded.
    if (inFlight >= IN_FLIGHT_MAX) return;
    inFlight += 1;
    void options.handler(message, peer.address, 'udp').then((reply) => {
      inFlight -= 1;
      if (reply !== undefined) send(udp, reply, peer);
    });
  };
  async function open(endpoint: DnsEndpoint): Promise<Bound> {
    for (let i = 0; ; i += 1) {
      const udp = await bindUdp(endpoint);
      udp.on('message', receive(udp));
      udp.on('error', () => {});
      const { port } = udp.address();
      try {
        const server = await bindTcp({ address: endpoint.address, port }, tcp.accept);
        return { udp, tcp: server, endpoint: { address: endpoint.address, port } };
      } catch (error) {
        udp.close();
        if (endpoint.port !== 0 || i >= PORT_TRIES) throw bindError(endpoint, error);
      }
    }
  }
  return {
    async listening() {
      for (const endpoint of options.listen) bound.push(await open(endpoint));
      return bound.map((b) => b.endpoint);
    },
    get inFlight() {
      return inFlight + tcp.inFlight;
    },
    async close(graceMs) {
      for (const b of bound) b.tcp.close();
      const until = graceOf(graceMs);
      while (inFlight + tcp.inFlight > 0 && !until.over) await until.step();
      tcp.destroy();
      for (const b of bound) b.udp.close();
      bound.length = 0;
    },
  };
}

/** Waits in small steps, for `graceMs` at the most. */
function graceOf(graceMs: number): { readonly over: boolean; step(): Promise<void> } {
  const STEP_MS = 20;
  let left = graceMs;
  return {
    get over() {
      return left <= 0;
    },
    step() {
      left -= STEP_MS;
      return new Promise((resolve) => {
        setTimeout(resolve, STEP_MS);
      });
    },
  };
}

function send(udp: UdpSocket, reply: Buffer, peer: { address: string; port: number }): void {
  try {
    udp.send(reply, peer.port, peer.address, () => {});
  } catch {
    // The socket was closed while the answer was on its way: the client asks again.
  }
}

function bindUdp(endpoint: DnsEndpoint): Promise<UdpSocket> {
  const type = endpoint.address.includes(':') ? 'udp6' : 'udp4';
  const udp = createSocket({ type, recvBufferSize: RECEIVE_OCTETS, ipv6Only: false });
  return new Promise((resolve, reject) => {
    udp.once('error', (error) => reject(bindError(endpoint, error)));
    udp.bind(endpoint.port, endpoint.address, () => {
      udp.removeAllListeners('error');
      resolve(udp);
    });
  });
}

function bindTcp(endpoint: DnsEndpoint, accept: Parameters<typeof createServer>[1]): Promise<Server> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, accept);
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(endpoint.port, endpoint.address, () => {
      server.removeAllListeners('error');
      server.on('error', () => {});
      resolve(server);
    });
  });
}

function bindError(endpoint: DnsEndpoint, error: unknown): Error {
  const name = formatEndpoint(endpoint.address, endpoint.port);
  const code = (error as { code?: string }).code ?? String(error);
  const advice =
    code === 'EACCES'
      ? 'ports below 1024 need CAP_NET_BIND_SERVICE'
      : 'is another program using it? see dns.listen';
  return error instanceof Error && error.message.startsWith('dns:')
    ? error
    : new Error(`dns: can't listen on ${name}: ${code}: ${advice}`);
}
