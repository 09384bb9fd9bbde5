// One DNS query to an upstream over TCP (RFC 7766). Owns the framing and the time-out; a connection serves one query.
import { connect } from 'node:net';
import { answers } from './udp-pool.ts';
import type { Attempt } from './udp-pool.ts';
import type { DnsUpstream } from '../lib/upstream-address.ts';

/** Never rejects. `query` must carry a random id. */
export function askTcp(upstream: DnsUpstream, query: Buffer, timeoutMs: number): Promise<Attempt> {
  return new Promise((resolve) => {
    const socket = connect({ host: upstream.address, port: upstream.port, noDelay: true });
    let received: Buffer = Buffer.alloc(0);
    const done = (attempt: Attempt): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(attempt);
    };
    const timer = setTimeout(() => done({ ok: false, error: 'timeout' }), timeoutMs);
    const frame = Buffer.alloc(2);
    frame.writeUInt16BE(query.length);
    socket.on('error', () => done({ ok: false, error: 'unreachable' }));
    socket.on('close', () => done({ ok: false, error: 'unreachable' }));
    socket.on('connect', () => socket.write(Buffer.concat([frame, query])));
    socket.on('data', (chunk: Buffer) => {
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
      if (received.length < 2) return;
      const length = received.readUInt16BE(0);
      if (received.length < 2 + length) return;
      const message = received.subarray(2, 2 + length);
      done(answers(message, query) ? { ok: true, message } : { ok: false, error: 'unreachable' });
    });
  });
}
