// A request's body on its way out. Owns back-pressure, the count, and the patience with either side; never touches the request
// before the first read, so that a body which no origin has begun to take can still go to another.
import type { IncomingMessage } from 'node:http';
import { Readable } from 'node:stream';

export interface Upload {
  readonly body: Readable;
  readonly octets: () => number;
  /** Who stopped in the middle, if one did: a client that sends nothing, or an origin that takes nothing. */
  readonly stuck: () => 'client' | 'origin' | undefined;
}

/**
 * `idleMs`: how long the client may take for the next octets, and the origin for those it was given. Without the second, a client
 * that left would not be missed: nobody reads from it while the origin is full.
 */
export function uploadOf(request: IncomingMessage, idleMs: number): Upload {
  let octets = 0;
  let stuck: 'client' | 'origin' | undefined;
  let attached = false;
  let timer: NodeJS.Timeout | undefined;

  const onData = (chunk: Buffer): void => {
    octets += chunk.length;
    if (body.push(chunk)) timer?.refresh();
    else {
      wait('origin');
      request.pause();
    }
  };
  const onEnd = (): void => {
    detach();
    body.push(null);
  };
  const onGone = (): void => {
    body.destroy(new Error('the client left in the middle of its request'));
  };
  function wait(on: 'client' | 'origin'): void {
    clearTimeout(timer);
    timer = setTimeout(() => {
      stuck = on;
      body.destroy(new Error(`the ${on} stopped in the middle of the request`));
    }, idleMs);
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
      wait('client');
      if (!attached) attach();
      request.resume();
    },
    destroy(error, done) {
      detach();
      if (attached) request.pause();
      done(error);
    },
  });
  return { body, octets: () => octets, stuck: () => stuck };
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
