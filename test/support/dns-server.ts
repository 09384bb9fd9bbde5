// The DNS side alone, in this process: real sockets and a real exchange between a client and a scripted upstream, a fake rail.
import { execFile } from 'node:child_process';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { createDnsHandler } from '../../src/dns/handler.ts';
import { createDnsServer } from '../../src/dns/server.ts';
import type { DnsEndpoint, DnsServer, DnsServerOptions } from '../../src/dns/server.ts';
import { createExchange } from '../../src/egress/exchange.ts';
import type { Exchange, ExchangeOptions } from '../../src/egress/exchange.ts';
import { systemClock } from '../../src/lib/clock.ts';
import type { Subject } from '../../src/rail/index.ts';
import { FakeRail, fakeIdentity, FakeTraffic } from './fake-rail.ts';

export interface DnsSide {
  readonly rail: FakeRail;
  readonly traffic: FakeTraffic;
  readonly exchange: Exchange;
  readonly server: DnsServer;
  readonly endpoints: readonly DnsEndpoint[];
  /** Port of the first endpoint. */
  readonly port: number;
}

export async function startDnsSide(options: {
  readonly upstreamPort: number;
  readonly listen?: readonly DnsEndpoint[];
  readonly tcp?: DnsServerOptions['tcp'];
  readonly exchange?: Partial<ExchangeOptions>;
  readonly identities?: ReadonlyMap<string, Subject>;
}): Promise<DnsSide> {
  const rail = new FakeRail();
  const traffic = new FakeTraffic();
  const exchange = createExchange({
    upstreams: [{ transport: 'udp', address: '127.0.0.1', port: options.upstreamPort }],
    zones: [],
    clock: systemClock,
    ...options.exchange,
  });
  const identity = fakeIdentity(options.identities);
  const handler = createDnsHandler({ rail, traffic, exchange, identity, clock: systemClock });
  const server = createDnsServer({
    listen: options.listen ?? [{ address: '127.0.0.1', port: 0 }],
    handler,
    ...(options.tcp === undefined ? {} : { tcp: options.tcp }),
  });
  const endpoints = await server.listening();
  return { rail, traffic, exchange, server, endpoints, port: endpoints[0]?.port ?? 0 };
}

/** What dig or kdig prints. Their exit code is not an error here: they complain of SERVFAIL too. */
export const run = (program: 'dig' | 'kdig', ...args: string[]): Promise<string> =>
  new Promise((resolve) => {
    execFile(program, args, { encoding: 'utf8', timeout: 20_000 }, (_error, out) => resolve(out));
  });

/** A TCP client that frames what it is told to, octet by octet if need be. */
export class RawClient {
  readonly messages: Buffer[] = [];
  readonly socket: Socket;
  readonly closed: Promise<void>;
  #buffered = Buffer.alloc(0);
  #hear = (): void => {};

  constructor(port: number, localAddress = '127.0.0.1') {
    this.socket = connect({ host: '127.0.0.1', port, localAddress, noDelay: true, allowHalfOpen: true });
    this.socket.on('error', () => this.socket.destroy());
    this.closed = new Promise((resolve) => {
      this.socket.once('close', () => resolve());
    });
    this.socket.on('end', () => this.socket.end());
    this.socket.on('data', (chunk: Buffer) => {
      this.#buffered = Buffer.concat([this.#buffered, chunk]);
      while (this.#buffered.length >= 2 && this.#buffered.length >= 2 + this.#buffered.readUInt16BE(0)) {
        const end = 2 + this.#buffered.readUInt16BE(0);
        this.messages.push(this.#buffered.subarray(2, end));
        this.#buffered = this.#buffered.subarray(end);
      }
      this.#hear();
    });
  }

  static framed(...messages: Buffer[]): Buffer {
    return Buffer.concat(
      messages.flatMap((message) => [Buffer.from([message.length >>> 8, message.length & 255]), message]),
    );
  }

  /** Resolves with all messages once there are so many; rejects when the connection ends before. */
  async received(count: number): Promise<Buffer[]> {
    let over = false;
    void this.closed.then(() => {
      over = true;
      this.#hear();
    });
    while (this.messages.length < count) {
      if (over) throw new Error(`closed after ${this.messages.length} of ${count} messages`);
      await new Promise<void>((resolve) => {
        this.#hear = resolve;
      });
    }
    return this.messages;
  }
}
