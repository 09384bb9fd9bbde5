// HTTP clients for the proxy: requests in absolute-form, CONNECTs, and octets of any kind, from any loopback address.
import { connect } from 'node:net';
import type { Socket } from 'node:net';

export interface ProxyOptions {
  readonly proxy: number;
  readonly from?: string;
}

export interface RawAnswer {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
  readonly raw: string;
}

export function parseAnswer(raw: string): RawAnswer {
  const end = raw.indexOf('\r\n\r\n');
  const [first = '', ...lines] = raw.slice(0, end).split('\r\n');
  const headers = new Map(
    lines.map((l) => [l.slice(0, l.indexOf(':')).toLowerCase(), l.slice(l.indexOf(':') + 1).trim()]),
  );
  return { status: Number(first.split(' ')[1]), headers, body: raw.slice(end + 4), raw };
}

export function open(options: ProxyOptions): Socket {
  const socket = connect({
    host: '127.0.0.1',
    port: options.proxy,
    localAddress: options.from ?? '127.0.0.1',
    allowHalfOpen: true,
  });
  socket.on('error', () => socket.destroy());
  return socket;
}

/** Sends octets and reads until the proxy closes, or `ms` after the last octet came. */
export function sendRaw(text: string | Buffer, options: ProxyOptions, ms = 1500): Promise<string> {
  return new Promise((resolve) => {
    const socket = open(options);
    let got = '';
    const done = (): void => {
      socket.destroy();
      resolve(got);
    };
    socket.setTimeout(ms, done);
    socket.on('data', (chunk) => (got += chunk.toString('latin1')));
    socket.on('end', done);
    socket.on('close', done);
    socket.on('connect', () => socket.write(text));
  });
}

/** A GET in absolute-form on a connection of its own. */
export async function get(url: string, options: ProxyOptions): Promise<RawAnswer> {
  const { host } = new URL(url);
  return parseAnswer(
    await sendRaw(`GET ${url} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`, options, 8000),
  );
}

export interface Tunnel {
  readonly status: number;
  readonly answer: RawAnswer;
  readonly socket: Socket;
}

/** Opens a tunnel; the socket is the caller's to close. */
export function connectTunnel(authority: string, options: ProxyOptions): Promise<Tunnel> {
  return new Promise((resolve, reject) => {
    const socket = open(options);
    let got = '';
    const hear = (chunk: Buffer): void => {
      got += chunk.toString('latin1');
      if (!got.includes('\r\n\r\n')) return;
      socket.removeListener('data', hear);
      const answer = parseAnswer(got);
      resolve({ status: answer.status, answer, socket });
    };
    socket.on('data', hear);
    socket.setTimeout(8000, () => reject(new Error(`no answer to CONNECT ${authority}`)));
    socket.on('connect', () => socket.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`));
  });
}
