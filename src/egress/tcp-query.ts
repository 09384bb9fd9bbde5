// DNS queries to upstreams over TCP (RFC 7766). Owns the framing, the time-out and the number of connections; each serves one query.
import { connect } from 'node:net';
import { answers } from './udp-pool.ts';
import type { Attempt } from './udp-pool.ts';
import type { DnsUpstream } from '../lib/upstream-address.ts';

export interface TcpAsks {
  /** Never rejects. `query` must carry a random id. */
  ask(upstream: DnsUpstream, query: Buffer, timeoutMs: number): Promise<Attempt>;
  /** Fails what is open. */
  close(): void;
}

/** At most `connectionsMax` at once. */
export function createTcpAsks(connectionsMax: number): TcpAsks {
  const open = new Set<() => void>();
  return {
    async ask(upstream, query, timeoutMs) {
      if (open.size >= connectionsMax) return { ok: false, error: 'busy' };
      return new Promise((resolve) => {
        const socket = connect({ host: upstream.address, port: upstream.port, noDelay: true });
        const done = (attempt: Attempt): void => {
          clearTimeout(timer);
          open.delete(cut);
          socket.destroy();
          resolve(attempt);
        };
        const cut = (): void => done({ ok: false, error: 'unreachable' });
        open.add(cut);
        const timer = setTimeout(() => done({ ok: false, error: 'timeout' }), timeoutMs);
        socket.on('error', cut);
        socket.on('close', cut);
        socket.on('connect', () => socket.write(framed(query)));
        socket.on(
          'data',
          gather((message) => {
            done(answers(message, query) ? { ok: true, message } : { ok: false, error: 'invalid' });
          }),
        );
      });
    },
    close() {
      for (const cut of open) cut();
    },
  };
}

function framed(query: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(query.length);
  return Buffer.concat([length, query]);
}

/** Puts reads together until the first whole message is there: at most 64 KiB. */
function gather(whole: (message: Buffer) => void): (chunk: Buffer) => void {
  const chunks: Buffer[] = [];
  let octets = 0;
  let wanted = 2;
  return (chunk) => {
    chunks.push(chunk);
    octets += chunk.length;
    if (octets < wanted) return;
    const all = Buffer.concat(chunks);
    wanted = 2 + all.readUInt16BE(0);
    if (octets >= wanted) whole(all.subarray(2, wanted));
  };
}
