// The HTTP side alone, in this process: real sockets, a rail and a resolver under the test's control. Everything that it opens is
// closed by `close`, which fails when a ticket is left open.
import { createDialer } from '../../src/egress/dial.ts';
import type { Resolved, Resolver } from '../../src/egress/resolve.ts';
import { createHttpHandler } from '../../src/http/handler.ts';
import type { HttpHandlerOptions } from '../../src/http/handler.ts';
import { createHttpServer } from '../../src/http/server.ts';
import type { HttpServer, HttpServerOptions } from '../../src/http/server.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { parseAllow } from '../../src/lib/egress-allow.ts';
import type { Subject } from '../../src/rail/index.ts';
import { fakeIdentity, FakeRail, FakeTraffic } from './fake-rail.ts';
import { startOrigin, startRawOrigin } from './http-origin.ts';
import type { Origin, RawOrigin } from './http-origin.ts';

/** Knows the names that it was given; any other is a failure of the test. */
export class FakeResolver implements Resolver {
  readonly asked: string[] = [];
  readonly #names: ReadonlyMap<string, Resolved>;

  constructor(names: Readonly<Record<string, Resolved | readonly string[]>> = {}) {
    this.#names = new Map(
      Object.entries(names).map(([name, known]) => [
        name,
        Array.isArray(known) ? { ok: true, addresses: known } : (known as Resolved),
      ]),
    );
  }

  resolve(_subject: Subject, host: string): Promise<Resolved> {
    this.asked.push(host);
    const known = this.#names.get(host);
    if (known === undefined) throw new Error(`nobody expected a look-up of ${host}`);
    return Promise.resolve(known);
  }
}

export interface HttpBench {
  readonly port: number;
  readonly rail: FakeRail;
  readonly traffic: FakeTraffic;
  readonly resolver: FakeResolver;
  readonly server: HttpServer;
  /** Types of the events so far, in order. */
  readonly types: () => string[];
  close(graceMs?: number): Promise<void>;
}

export interface BenchOptions {
  readonly ports?: readonly number[];
  readonly allow?: readonly string[];
  readonly names?: Readonly<Record<string, Resolved | readonly string[]>>;
  readonly handler?: Partial<HttpHandlerOptions>;
  readonly server?: Partial<HttpServerOptions>;
}

export async function startHttp(options: BenchOptions = {}): Promise<HttpBench> {
  const rail = new FakeRail();
  const traffic = new FakeTraffic();
  const resolver = new FakeResolver(options.names);
  const own: { address: string; port: number }[] = [];
  const allow = (options.allow ?? ['127.0.0.0/8']).map((text) => {
    const parsed = parseAllow(text);
    if (!parsed.ok) throw new Error(parsed.detail);
    return parsed.allow;
  });
  const dialer = createDialer({ resolver, allow, ports: options.ports ?? [], own: () => own });
  const handler = createHttpHandler({
    rail,
    identity: fakeIdentity(),
    dialer,
    traffic,
    clock: systemClock,
    ...options.handler,
  });
  const listen = [{ address: '127.0.0.1', port: 0 }];
  const server = createHttpServer({ listen, handler, ...options.server });
  own.push(...(await server.listening()));
  return {
    port: own[0]?.port ?? 0,
    rail,
    traffic,
    resolver,
    server,
    types: () => rail.events.map(({ type }) => type),
    async close(graceMs = 0) {
      await server.close(graceMs);
      if (rail.open.size > 0) throw new Error(`${rail.open.size} tickets were never finished`);
    },
  };
}

/** What one test starts, closed in the other order by `close`: call it after each test. */
export interface Stage {
  /** `script`: what the rail answers; allows everything without one. */
  readonly bench: (options: BenchOptions, script?: FakeRail['script']) => Promise<HttpBench>;
  readonly raw: (serve?: Parameters<typeof startRawOrigin>[0]) => Promise<RawOrigin>;
  readonly origin: (answer?: Parameters<typeof startOrigin>[0]) => Promise<Origin>;
  readonly close: () => Promise<void>;
}

export function createStage(): Stage {
  const closing: (() => void | Promise<void>)[] = [];
  return {
    async bench(options, script) {
      const started = await startHttp(options);
      if (script !== undefined) started.rail.script = script;
      closing.push(() => started.close());
      return started;
    },
    async raw(serve) {
      const origin = await startRawOrigin(serve);
      closing.push(() => origin.close());
      return origin;
    },
    async origin(answer) {
      const origin = await startOrigin(answer);
      closing.push(() => origin.close());
      return origin;
    },
    async close() {
      for (const close of closing.splice(0).toReversed()) await close();
    },
  };
}
