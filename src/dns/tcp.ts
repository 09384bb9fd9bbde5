// DNS over TCP connections (RFC 7766). Owns framing, pipelining and every limit that keeps one client from holding what others need.
import type { Socket } from 'node:net';
import type { DnsHandler } from './handler.ts';

export interface TcpLimits {
  /** A connection without a whole query, and without an answer on its way, for so long is closed. */
  readonly idleMs: number;
  readonly connections: number;
  /** Of one VM, whatever its addresses. */
  readonly connectionsPerVm: number;
  /** Queries of one connection being answered; more wait unread. */
  readonly inFlight: number;
}

const LIMITS: TcpLimits = { idleMs: 10_000, connections: 1024, connectionsPerVm: 128, inFlight: 64 };
const HEADER_OCTETS = 12;
/** A query is a name and some options; whoever announces more only wants our memory. */
const QUERY_OCTETS_MAX = 4096;
/** Answers that a client leaves unread; above this it is cut off. */
const BACKLOG_OCTETS = 1024 * 1024;

export interface TcpService {
  accept(socket: Socket): void;
  readonly connections: number;
  /** Reads no further query, sends the answers that are due, and ends each connection after its own; resolves when all are gone. */
  drain(): Promise<void>;
  destroy(): void;
}

interface Connection {
  readonly socket: Socket;
  readonly vm: string;
  readonly source: string;
  idle: NodeJS.Timeout | undefined;
  /** What has been received and not been taken: at most one read and the start of one query. */
  buffered: Buffer;
  asked: number;
  ended: boolean;
}

/** Told of each query: up when it is taken, down when it is answered. */
export interface Counter {
  up(): void;
  down(): void;
}

export function serveTcp(handler: DnsHandler, limits: Partial<TcpLimits>, busy: Counter): TcpService {
  const most = { ...LIMITS, ...limits };
  const open = new Set<Connection>();
  const perVm = new Map<string, number>();
  const waiting: (() => void)[] = [];

  function accept(socket: Socket): void {
    socket.on('error', () => socket.destroy());
    const source = socket.remoteAddress;
    const vm = source === undefined ? '' : handler.ownerOf(source);
    const own = perVm.get(vm) ?? 0;
    if (source === undefined || open.size >= most.connections || own >= most.connectionsPerVm) {
      socket.destroy();
      return;
    }
    const connection: Connection = {
      socket,
      vm,
      source,
      idle: undefined,
      buffered: Buffer.alloc(0),
      asked: 0,
      ended: false,
    };
    open.add(connection);
    perVm.set(vm, own + 1);
    socket.on('close', () => forget(connection));
    socket.on('data', (chunk: Buffer) => receive(connection, chunk));
    socket.on('end', () => {
      connection.ended = true;
      finish(connection);
    });
    rest(connection);
  }
  function forget(connection: Connection): void {
    clearTimeout(connection.idle);
    open.delete(connection);
    if (open.size === 0) for (const resolve of waiting.splice(0)) resolve();
    const left = (perVm.get(connection.vm) ?? 1) - 1;
    if (left === 0) perVm.delete(connection.vm);
    else perVm.set(connection.vm, left);
  }
  /** Only whole queries and answers count as life: a client that sends an octet now and then is idle. */
  function rest(connection: Connection): void {
    clearTimeout(connection.idle);
    if (connection.socket.destroyed) return;
    connection.idle = setTimeout(() => {
      if (connection.asked > 0) rest(connection);
      else connection.socket.destroy();
    }, most.idleMs);
  }
  function receive(connection: Connection, chunk: Buffer): void {
    if (connection.ended) return;
    const { buffered } = connection;
    connection.buffered = buffered.length === 0 ? chunk : Buffer.concat([buffered, chunk]);
    take(connection);
  }
  function take(connection: Connection): void {
    const { socket } = connection;
    while (connection.asked < most.inFlight && connection.buffered.length >= 2) {
      const { buffered } = connection;
      const length = buffered.readUInt16BE(0);
      if (length < HEADER_OCTETS || length > QUERY_OCTETS_MAX) {
        connection.buffered = Buffer.alloc(0);
        ask(connection, Buffer.alloc(0));
        socket.destroy();
        return;
      }
      if (buffered.length < 2 + length) break;
      connection.buffered = buffered.subarray(2 + length);
      ask(connection, Buffer.from(buffered.subarray(2, 2 + length)));
      rest(connection);
    }
    if (connection.asked >= most.inFlight) socket.pause();
    else {
      // A copy, so that the rest of a query doesn't hold the whole read that it came in.
      if (connection.buffered.length > 0) connection.buffered = Buffer.from(connection.buffered);
      socket.resume();
    }
  }
  function ask(connection: Connection, message: Buffer): void {
    const { source } = connection;
    connection.asked += 1;
    busy.up();
    void handler.handle(message, { source, transport: 'tcp' }).then((reply) => {
      connection.asked -= 1;
      if (reply !== undefined) send(connection.socket, reply);
      rest(connection);
      take(connection);
      finish(connection);
      busy.down();
    });
  }
  return {
    accept,
    get connections() {
      return open.size;
    },
    drain() {
      for (const connection of open) {
        connection.ended = true;
        connection.buffered = Buffer.alloc(0);
        finish(connection);
      }
      return open.size === 0 ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve));
    },
    destroy() {
      for (const { socket } of open) socket.destroy();
    },
  };
}

/** A client that has stopped asking, as by closing its half, still gets what it asked for (RFC 7766, 6.2.4). */
function finish(connection: Connection): void {
  if (connection.ended && connection.asked === 0) connection.socket.end();
}

function send(socket: Socket, reply: Buffer): void {
  if (socket.destroyed || !socket.writable) return;
  const frame = Buffer.alloc(2 + reply.length);
  frame.writeUInt16BE(reply.length);
  reply.copy(frame, 2);
  socket.write(frame);
  if (socket.writableLength > BACKLOG_OCTETS) socket.destroy();
}
