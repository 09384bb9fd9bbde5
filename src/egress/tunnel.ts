// Two sockets joined. Owns the moving of octets both ways with back-pressure, half-close, the idle limit and the counts. Looks at
// nothing that passes.
import type { Socket } from 'node:net';

export interface TunnelEnd {
  readonly octetsUp: number;
  readonly octetsDown: number;
  /** Absent when both sides closed in order; `stopped`: weir itself closed one. */
  readonly error?: 'idle' | 'stopped' | 'client_reset' | 'upstream_reset';
}

export interface TunnelOptions {
  readonly client: Socket;
  readonly upstream: Socket;
  /** Octets that the client sent before the tunnel stood. */
  readonly head: Buffer;
  readonly idleMs: number;
}

/** Resolves once, when both sides are closed. Never rejects. */
export function joinTunnel(options: TunnelOptions): Promise<TunnelEnd> {
  const { client, upstream, head, idleMs } = options;
  let octetsUp = 0;
  let octetsDown = 0;
  let error: TunnelEnd['error'];
  const gone = new Set<Socket>();
  return new Promise((resolve) => {
    const cut = (why: NonNullable<TunnelEnd['error']>): void => {
      error ??= why;
      // A reset goes on as a reset: an end would say that all had arrived.
      for (const socket of [client, upstream]) if (!socket.destroyed) socket.resetAndDestroy();
    };
    const closed = (socket: Socket): void => {
      gone.add(socket);
      // Both directions of a side that closed in order have ended: the other has only to write what it still holds.
      if (!socket.readableEnded || !socket.writableFinished) cut('stopped');
      if (gone.size === 2) resolve({ octetsUp, octetsDown, ...(error === undefined ? {} : { error }) });
    };
    const wire = (
      from: Socket,
      to: Socket,
      count: (octets: number) => void,
      reset: 'client_reset' | 'upstream_reset',
    ): void => {
      from.on('data', (chunk: Buffer) => {
        count(chunk.length);
        if (to.destroyed || to.write(chunk)) return;
        from.pause();
        to.once('drain', () => from.resume());
      });
      from.on('end', () => to.end());
      from.on('error', () => cut(reset));
      from.on('close', () => closed(from));
      // What passes either way is a read of one side and a write of the other: idle is when neither has any.
      from.setTimeout(idleMs, () => cut('idle'));
      from.resume();
    };
    if (head.length > 0) {
      octetsUp += head.length;
      upstream.write(head);
    }
    wire(client, upstream, (n) => (octetsUp += n), 'client_reset');
    wire(upstream, client, (n) => (octetsDown += n), 'upstream_reset');
    for (const socket of [client, upstream]) if (socket.closed) closed(socket);
  });
}
