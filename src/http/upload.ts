// A request's body on its way out. Owns back-pressure, the count, and the patience with a silent client; never touches the request
// before the first read, so that a body which no origin has begun to take can still go to another.
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';

export interface Upload {
  readonly body: Readable;
  readonly octets: () => number;
  /** Whether the client stopped sending in the middle. */
  readonly silent: () => boolean;
}

/** `idleMs`: how long the client may take for the next octets while the origin is ready for them. */
export function uploadOf(request: IncomingMessage, idleMs: number): Upload {
  let octets = 0;
  let silent = false;
  let attached = false;
  let timer: NodeJS.Timeout | undefined;

  const onData = (chunk: Buffer): void => {
    octets += chunk.length;
    if (body.push(chunk)) timer?.refresh();
    else pause();
  };
  const onEnd = (): void => {
    detach();
    body.push(null);
  };
  const onGone = (): void => {
    body.destroy(new Error('the client left in the middle of its request'));
  };
  function pause(): void {
    clearTimeout(timer);
    timer = undefined;
    request.pause();
  }
  function attach(): void {
    attached = true;
    request.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone);
  }
  /** The 'error' listener stays: an abort of the client must find one. */
  function detach(): void {
    clearTimeout(timer);
    request.off('data', onData).off('end', onEnd).off('close', onGone);
  }
  const body = new Readable({
    read() {
      timer ??= setTimeout(() => {
        silent = true;
        body.destroy(new Error('the client stopped in the middle of its request'));
      }, idleMs);
      if (!attached) attach();
      request.resume();
    },
    destroy(error, done) {
      detach();
      if (attached) request.pause();
      done(error);
    },
  });
  return { body, octets: () => octets, silent: () => silent };
}

/** Reads and drops what is left of a request, for `ms` at most, so that an answer given early isn't lost to a reset. */
export function drain(request: IncomingMessage, ms: number): void {
  if (request.complete || request.destroyed) return;
  const timer = setTimeout(() => request.destroy(), ms);
  request.once('close', () => clearTimeout(timer));
  request.once('end', () => clearTimeout(timer));
  request.on('error', () => {});
  request.resume();
}
