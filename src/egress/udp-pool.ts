// UDP sockets to one upstream. Owns random ids, random source ports, and the match of answers to questions (RFC 5452): a
// datagram that doesn't match is counted and ignored, so that a liar can at most lose a race it can't see.
import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { randomFillSync } from 'node:crypto';
import { readQuestion } from '../lib/dns-message.ts';
import type { DnsUpstream } from '../lib/upstream-address.ts';

/** Sockets open at once; each has a source port that the kernel chose. */
const SOCKETS = 8;
/** A socket is replaced after so many queries, so that no port stays long enough to be guessed. */
const QUERIES_PER_SOCKET = 2000;
const PENDING_MAX = 2048;

export type Attempt =
  | { readonly ok: true; readonly message: Buffer }
  | { readonly ok: false; readonly error: 'timeout' | 'unreachable' | 'busy' };

interface Pending {
  readonly query: Buffer;
  readonly done: (attempt: Attempt) => void;
}

interface Line {
  readonly socket: Socket;
  readonly pending: Map<number, Pending>;
  asked: number;
  retired: boolean;
}

export interface UdpPool {
  /** Sends the query under an id of its own and waits for the answer that matches. Never rejects. */
  ask(query: Buffer, timeoutMs: number): Promise<Attempt>;
  readonly mismatched: number;
  readonly inFlight: number;
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

export function createUdpPool(upstream: DnsUpstream): UdpPool {
  const lines: (Line | undefined)[] = Array.from({ length: SOCKETS });
  const retiring = new Set<Line>();
  let inFlight = 0;
  let mismatched = 0;
  let closed = false;

  function fail(line: Line): void {
    for (const { done } of line.pending.values()) done({ ok: false, error: 'unreachable' });
    line.pending.clear();
  }
  function open(): Line {
    const socket = createSocket(upstream.address.includes(':') ? 'udp6' : 'udp4');
    const line: Line = { socket, pending: new Map(), asked: 0, retired: false };
    // A refused port comes back as an error on the connected socket: every query on it has failed.
    socket.on('error', () => fail(line));
    socket.on('message', (message) => {
      if (!take(line, message)) mismatched += 1;
    });
    socket.connect(upstream.port, upstream.address);
    return line;
  }
  function take(line: Line, message: Buffer): boolean {
    const pending = message.length < 12 ? undefined : line.pending.get(message.readUInt16BE(0));
    if (pending === undefined || !answers(message, pending.query)) return false;
    pending.done({ ok: true, message });
    return true;
  }
  function settle(line: Line): void {
    if (!line.retired || line.pending.size > 0) return;
    retiring.delete(line);
    line.socket.close();
  }
  function pick(): Line {
    const at = randomId() % SOCKETS;
    let line = lines[at];
    if (line !== undefined && line.asked >= QUERIES_PER_SOCKET) {
      line.retired = true;
      retiring.add(line);
      settle(line);
      line = undefined;
    }
    line ??= open();
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
          settle(line);
          resolve(attempt);
        };
        const timer = setTimeout(() => done({ ok: false, error: 'timeout' }), timeoutMs);
        line.pending.set(id, { query: sent, done });
        const send = (): void => {
          line.socket.send(sent, (error) => {
            if (error !== null) done({ ok: false, error: 'unreachable' });
          });
        };
        whenConnected(line.socket, send);
      });
    },
    close() {
      closed = true;
      // A retired line closes its own socket once nothing is pending on it.
      for (const line of retiring) fail(line);
      for (const line of lines) {
        if (line === undefined) continue;
        fail(line);
        line.socket.close();
      }
      lines.fill(undefined);
      retiring.clear();
    },
  };
}

/** Whether a message answers the query: same id, a response to a query, same question to the octet but for letter case. */
export function answers(message: Buffer, query: Buffer): boolean {
  if (message.length < 12 || message.readUInt16BE(0) !== query.readUInt16BE(0)) return false;
  if ((message.readUInt16BE(2) & 0xf800) !== 0x8000 || message.readUInt16BE(4) !== 1) return false;
  const got = readQuestion(message);
  const asked = readQuestion(query);
  if (got === undefined || asked === undefined) return false;
  return got.type === asked.type && got.class === asked.class && got.name.equals(asked.name);
}

function whenConnected(socket: Socket, then: () => void): void {
  try {
    socket.remoteAddress();
    then();
  } catch {
    socket.once('connect', then);
  }
}
