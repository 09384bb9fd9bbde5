// DNS over TCP connections (RFC 7766). Owns framing, pipelining and every limit that keeps one client from holding what others need.
import type { Socket } from 'node:net';
import type { DnsHandler } from './handler.ts';

export interface TcpLimits {
  /** A connection without a whole query for so long is closed. */
  readonly idleMs: number;
  readonly connections: number;
  readonly connectionsPerSource: number;
  /** Queries of one connection being answered; more wait unread. */
  readonly inFlight: number;
}

const LIMITS: TcpLimits = { idleMs: 10_000, connections: 1024, connectionsPerSource: 64, inFlight: 64 };
const HEADER_OCTETS = 12;
/** An unread answer backlog of a client that doesn't read; then it is cut off. */
const BACKLOG_OCTETS = 1024 * 1024;

export interface TcpService {
  accept(socket: Socket): void;
  readonly inFlight: number;
  destroy(): void;
}

export function serveTcp(handler: DnsHandler, limits: Partial<TcpLimits>): TcpService {
  const most = { ...LIMITS, ...limits };
  const open = new Map<Socket, string>();
  let inFlight = 0;

  function full(source: string): boolean {
    if (open.size >= most.connections) return true;
    let own = 0;
    for (const other of open.values()) if (other === source) own += 1;
    return own >= most.connectionsPerSource;
  }
  function accept(socket: Socket): void {
    const source = socket.remoteAddress ?? '';
    socket.on('error', () => socket.destroy());
    if (full(source)) {
      socket.destroy();
      return;
    }
    open.set(socket, source);
    socket.on('close', () => open.delete(socket));
    socket.setTimeout(most.idleMs, () => socket.destroy());
    serve(socket, source);
  }
  function serve(socket: Socket, source: string): void {
    let buffered: Buffer = Buffer.alloc(0);
    let asked = 0;
    let ended = false;
    const finish = (): void => {
      if (ended && asked === 0) socket.end();
    };
    const take = (): void => {
      while (buffered.length >= 2 && asked < most.inFlight) {
        const length = buffered.readUInt16BE(0);
        if (length < HEADER_OCTETS) {
          void handler(buffered.subarray(2, 2), source, 'tcp');
          socket.destroy();
          return;
        }
        if (buffered.length < 2 + length) break;
        const message = Buffer.from(buffered.subarray(2, 2 + length));
        buffered = buffered.subarray(2 + length);
        asked += 1;
        inFlight += 1;
        void handler(message, source, 'tcp').then((reply) => {
          asked -= 1;
          inFlight -= 1;
          if (reply !== undefined) answer(socket, reply);
          take();
          finish();
        });
      }
      if (asked >= most.inFlight) socket.pause();
      else socket.resume();
    };
    socket.on('data', (chunk: Buffer) => {
      buffered = buffered.length === 0 ? chunk : Buffer.concat([buffered, chunk]);
      take();
    });
    socket.on('end', () => {
      ended = true;
      finish();
    });
  }
  return {
    accept,
    get inFlight() {
      return inFlight;
    },
    destroy() {
      for (const socket of open.keys()) socket.destroy();
    },
  };
}

function answer(socket: Socket, reply: Buffer): void {
  if (socket.destroyed || !socket.writable) return;
  const frame = Buffer.alloc(2 + reply.length);
  frame.writeUInt16BE(reply.length);
  reply.copy(frame, 2);
  socket.write(frame);
  if (socket.writableLength > BACKLOG_OCTETS) socket.destroy();
}
