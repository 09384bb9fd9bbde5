// DNS listeners: UDP and TCP on the same address and port. Owns sockets and their limits; hands octets to the handler and writes
// what comes back. Judges nothing.
import { createSocket } from 'node:dgram';
import type { Socket as UdpSocket } from 'node:dgram';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { formatEndpoint } from '../lib/ip.ts';
import type { DnsHandler } from './handler.ts';
import { serveTcp } from './tcp.ts';
import type { Counter, TcpLimits } from './tcp.ts';

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
  /** Resolves once all endpoints are bound, with the ports that the system chose. Rejects naming the one that isn't; none stays bound then. */
  listening(): Promise<readonly DnsEndpoint[]>;
  /** Queries being answered. The exchange bounds them: past its limit it fails at once, and the answer is SERVFAIL. */
  readonly inFlight: number;
  /** Open TCP connections. */
  readonly connections: number;
  /** Takes no further query, answers those in flight, and closes; what isn't done after `graceMs` is cut. */
  close(graceMs: number): Promise<void>;
}

/** With port 0 UDP chooses and TCP must get the same number: rarely it is taken. */
const PORT_TRIES = 20;
const RECEIVE_OCTETS = 4 * 1024 * 1024;

interface Bound {
  readonly udp: UdpSocket;
  readonly tcp: Server;
  readonly endpoint: DnsEndpoint;
}

export function createDnsServer(options: DnsServerOptions): DnsServer {
  const { handler } = options;
  const bound: Bound[] = [];
  const busy = createCounter();
  const tcp = serveTcp(handler, options.tcp ?? {}, busy);
  let closing = false;

  const receive = (udp: UdpSocket) => (message: Buffer, peer: { address: string; port: number }) => {
    if (closing) return;
    busy.up();
    void handler.handle(message, { source: peer.address, transport: 'udp' }).then((reply) => {
      if (reply !== undefined) send(udp, reply, peer);
      busy.down();
    });
  };
  async function open(endpoint: DnsEndpoint): Promise<Bound> {
    for (let tries = 1; ; tries += 1) {
      const udp = await bindUdp(endpoint);
      const { port } = udp.address();
      try {
        const server = await bindTcp({ address: endpoint.address, port }, (socket) => tcp.accept(socket));
        udp.on('message', receive(udp));
        return { udp, tcp: server, endpoint: { address: endpoint.address, port } };
      } catch (error) {
        udp.close();
        if (endpoint.port !== 0 || tries >= PORT_TRIES) throw bindError(endpoint, 'tcp', error);
      }
    }
  }
  async function close(graceMs: number): Promise<void> {
    closing = true;
    const stopped = bound.map((b) => new Promise<void>((resolve) => b.tcp.close(() => resolve())));
    const ended = tcp.drain();
    await atMost(graceMs, Promise.all([busy.idle(), ended]));
    tcp.destroy();
    await Promise.all([ended, ...stopped, ...bound.map((b) => closeUdp(b.udp))]);
    bound.length = 0;
  }
  return {
    async listening() {
      try {
        for (const endpoint of options.listen) bound.push(await open(endpoint));
      } catch (error) {
        await close(0);
        throw error;
      }
      return bound.map((b) => b.endpoint);
    },
    get inFlight() {
      return busy.count;
    },
    get connections() {
      return tcp.connections;
    },
    close,
  };
}

/** Counts what is under way, and tells when nothing is. */
function createCounter(): Counter & { readonly count: number; idle(): Promise<void> } {
  let count = 0;
  const waiting: (() => void)[] = [];
  return {
    up() {
      count += 1;
    },
    down() {
      count -= 1;
      if (count === 0) for (const resolve of waiting.splice(0)) resolve();
    },
    get count() {
      return count;
    },
    idle: () => (count === 0 ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve))),
  };
}

/** Waits for the promise, but no longer than this. */
async function atMost(timeoutMs: number, promise: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeoutMs);
  });
  await Promise.race([promise, late]);
  clearTimeout(timer);
}

const closeUdp = (udp: UdpSocket): Promise<void> => new Promise((resolve) => udp.close(() => resolve()));

function send(udp: UdpSocket, reply: Buffer, peer: { address: string; port: number }): void {
  try {
    udp.send(reply, peer.port, peer.address, () => {});
  } catch {
    // The socket was closed while the answer was on its way, or the peer's port is 0: nobody is there to be told.
  }
}

function bindUdp(endpoint: DnsEndpoint): Promise<UdpSocket> {
  const type = endpoint.address.includes(':') ? 'udp6' : 'udp4';
  const udp = createSocket({ type, recvBufferSize: RECEIVE_OCTETS });
  return new Promise((resolve, reject) => {
    udp.once('error', (error) => {
      udp.close();
      reject(bindError(endpoint, 'udp', error));
    });
    udp.bind(endpoint.port, endpoint.address, () => {
      udp.removeAllListeners('error');
      udp.on('error', () => {});
      resolve(udp);
    });
  });
}

function bindTcp(endpoint: DnsEndpoint, accept: (socket: Socket) => void): Promise<Server> {
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

const ADVICE: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program uses it: stop that, or change dns.listen',
  EACCES: 'ports below 1024 need CAP_NET_BIND_SERVICE, or a higher port in dns.listen',
  EADDRNOTAVAIL: 'no interface of this machine has that address: change dns.listen',
};

function bindError(endpoint: DnsEndpoint, transport: 'udp' | 'tcp', error: unknown): Error {
  const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
  const name = formatEndpoint(endpoint.address, endpoint.port);
  return new Error(
    `dns: cannot listen on ${name} (${transport}): ${code}: ${ADVICE[code] ?? 'see dns.listen'}`,
  );
}
