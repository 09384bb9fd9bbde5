// UDP sockets to one upstream. Owns random ids, random source ports, and the match of answers to questions (RFC 5452): a
// datagram that doesn't match is counted and ignored, so that a liar can at most lose a race it can't see.
import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { randomFillSync } from 'node:crypto';
import type { Clock } from '../lib/clock.ts';
import { HEADER_OCTETS, readQuestion } from '../lib/dns-message.ts';
import type { DnsUpstream } from '../lib/upstream-address.ts';

/**
 * A rotating pool of connected sockets, each with a source port that the kernel chose (RFC 5452, 9.2), stands in for a new
 * socket a query, which would cost more than all the rest: a query takes one of them by chance. A socket is replaced after so
 * many queries or so much time, so that no port lives long enough to be found out; at a few queries a second each has its own.
 */
const SOCKETS = 32;
const QUERIES_PER_SOCKET = 256;
const SOCKET_AGE_MS = 1000;
const PENDING_MAX = 4096;

export type Attempt =
  | { readonly ok: true; readonly message: Buffer }
  | { readonly ok: false; readonly error: 'timeout' | 'unreachable' | 'invalid' | 'busy' };

interface Pending {
  readonly query: Buffer;
  readonly done: (attempt: Attempt) => void;
}

/** One socket. It takes no new query once retired, and closes with its last pending one. */
interface Line {
  readonly socket: Socket;
  readonly pending: Map<number, Pending>;
  readonly openedMs: number;
  /** Sends that wait for the socket to be connected; undefined once it is. */
  waiting: (() => void)[] | undefined;
  asked: number;
  retired: boolean;
}

export interface UdpPool {
  /** Sends the query under an id of its own and waits for the answer that matches. Never rejects. */
  ask(query: Buffer, timeoutMs: number): Promise<Attempt>;
  readonly mismatched: number;
  readonly inFlight: number;
  /** Fails what is pending and closes all sockets. */
  close(): void;
}

const randomIds = new Uint16Array(512);
let idsUsed = randomIds.length;

function randomId(): number {
  if (idsUsed >= randomIds.length) {
    randomFillSync(randomIds);
    idsUsed = 0;
  }
  idsUsed += 1;
  return randomIds[idsUsed - 1] ?? 0;
}

export function createUdpPool(upstream: DnsUpstream, clock: Clock): UdpPool {
  const lines: (Line | undefined)[] = Array.from({ length: SOCKETS });
  const open = new Set<Line>();
  let inFlight = 0;
  let mismatched = 0;
  let closed = false;

  function retire(line: Line): void {
    line.retired = true;
    if (line.pending.size > 0 || !open.delete(line)) return;
    line.socket.close();
  }
  function fail(line: Line): void {
    line.retired = true;
    for (const { done } of line.pending.values()) done({ ok: false, error: 'unreachable' });
    retire(line);
  }
  function openLine(): Line {
    const line = connected(upstream, clock.now());
    // An ICMP error comes back on the connected socket: every query on it has failed.
    line.socket.on('error', () => fail(line));
    line.socket.on('message', (message) => {
      if (!take(line, message)) mismatched += 1;
    });
    open.add(line);
    return line;
  }
  function pick(): Line {
    const at = randomId() % SOCKETS;
    let line = lines[at];
    if (
      line !== undefined &&
      (line.asked >= QUERIES_PER_SOCKET || clock.now() - line.openedMs >= SOCKET_AGE_MS)
    )
      retire(line);
    if (line === undefined || line.retired) line = openLine();
    line.asked += 1;
    lines[at] = line;
    return line;
  }
  return {
    get mismatched() {
      return mismatched;
    },
    get inFlight() {
      return inFlight;
    },
    ask(query, timeoutMs) {
      if (closed || inFlight >= PENDING_MAX) return Promise.resolve({ ok: false, error: 'busy' });
      const line = pick();
      let id = randomId();
      while (line.pending.has(id)) id = randomId();
      const sent = Buffer.from(query);
      sent.writeUInt16BE(id, 0);
      inFlight += 1;
      return new Promise((resolve) => {
        const done = (attempt: Attempt): void => {
          clearTimeout(timer);
          if (line.pending.delete(id)) inFlight -= 1;
          if (line.retired) retire(line);
          resolve(attempt);
        };
        const timer = setTimeout(() => done({ ok: false, error: 'timeout' }), timeoutMs);
        line.pending.set(id, { query: sent, done });
        whenConnected(line, () => {
          // It may have failed while it waited, and its socket be closed.
          if (!line.pending.has(id)) return;
          line.socket.send(sent, (error) => {
            if (error !== null) done({ ok: false, error: 'unreachable' });
          });
        });
      });
    },
    close() {
      closed = true;
      for (const line of open) fail(line);
      lines.fill(undefined);
    },
  };
}

function connected(upstream: DnsUpstream, openedMs: number): Line {
  const socket = createSocket(upstream.address.includes(':') ? 'udp6' : 'udp4');
  const line: Line = { socket, pending: new Map(), openedMs, waiting: [], asked: 0, retired: false };
  socket.once('connect', () => {
    const { waiting } = line;
    line.waiting = undefined;
    for (const send of waiting ?? []) send();
  });
  socket.connect(upstream.port, upstream.address);
  return line;
}

function whenConnected(line: Line, send: () => void): void {
  if (line.waiting === undefined) send();
  else line.waiting.push(send);
}

function take(line: Line, message: Buffer): boolean {
  const pending = message.length < HEADER_OCTETS ? undefined : line.pending.get(message.readUInt16BE(0));
  if (pending === undefined || !answers(message, pending.query)) return false;
  pending.done({ ok: true, message });
  return true;
}

/** Whether a message answers the query: same id, a response to a query, same question to the octet but for letter case. */
export function answers(message: Buffer, query: Buffer): boolean {
  if (message.length < HEADER_OCTETS || message.readUInt16BE(0) !== query.readUInt16BE(0)) return false;
  if ((message.readUInt16BE(2) & 0xf800) !== 0x8000 || message.readUInt16BE(4) !== 1) return false;
  const got = readQuestion(message);
  const asked = readQuestion(query);
  if (got === undefined || asked === undefined) return false;
  return got.type === asked.type && got.class === asked.class && got.name.equals(asked.name);
}
