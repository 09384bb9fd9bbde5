// The composition root of the data thread: every object is made here, once, in order. Owns the wiring and nothing else.
import type { Config } from './config/load.ts';
import type { RecordFeed } from './control/record-feed.ts';
import type { Endpoint } from './control/record-feed.ts';
import { createDnsHandler } from './dns/handler.ts';
import { createDnsServer } from './dns/server.ts';
import { createDialer } from './egress/dial.ts';
import { createExchange } from './egress/exchange.ts';
import { createResolver } from './egress/resolve.ts';
import { createHttpHandler } from './http/handler.ts';
import { createHttpServer } from './http/server.ts';
import type { Clock } from './lib/clock.ts';
import { KeyedHash } from './lib/siphash.ts';
import { createIdentity } from './rail/identity.ts';
import { compilePolicy } from './rail/program.ts';
import { createRail } from './rail/rail.ts';
import { Transitions } from './rail/record.ts';
import type { Policy } from './rail/rule.ts';
import { createState } from './state/state.ts';
import type { SharedTotals } from './state/totals.ts';

export interface AppOptions {
  readonly config: Config;
  readonly policy: Policy;
  readonly stateKey: Uint8Array;
  readonly clock: Clock;
  readonly totals: SharedTotals;
  readonly feed: RecordFeed;
  /** Told of a bug that made the rail fail closed. */
  readonly onError: (error: unknown) => void;
}

export interface App {
  /** Binds every listener; rejects naming the one that can't be bound, with nothing left open. */
  start(): Promise<readonly Endpoint[]>;
  /** Must be called about once a second: interval lines, releases, gauges. */
  tick(): void;
  /** Takes nothing new, lets what is open end for `graceMs`, then closes all. */
  stop(graceMs: number): Promise<void>;
}

export function createApp(options: AppOptions): App {
  const { config, clock, totals, feed } = options;
  const transitions = new Transitions({
    clock,
    intervalMs: config.log.intervalMs,
    sink: (line) => {
      totals.add(`detections_${line.state}`, 1);
      feed.detection(line);
    },
  });
  const profiles = compilePolicy(options.policy);
  const { keysPerVm } = config.state;
  const state = createState({ profiles, keysPerVm, vmsMax: config.identity.vmsMax, counts: totals });
  const hash = new KeyedHash(options.stateKey);
  const onError = (error: unknown): void => {
    totals.add('rail_errors', 1);
    options.onError(error);
  };
  const rail = createRail({ profiles, state, hash, clock, transitions, totals, onError });
  const identity = createIdentity({ vms: config.vms, unknown: config.identity.unknown, profile: 'balanced' });

  const own: Endpoint[] = [];
  const exchange = createExchange({ ...config.dns, clock });
  const resolver = createResolver({ rail, exchange });
  const dialer = createDialer({
    resolver,
    allow: config.egress.allow,
    ports: config.egress.ports,
    own: () => own,
  });

  const dnsHandler = createDnsHandler({ rail, identity, exchange, traffic: feed, clock });
  const dns = createDnsServer({ listen: config.dns.listen, handler: dnsHandler });
  const httpHandler = createHttpHandler({ rail, identity, dialer, traffic: feed, clock });
  const http = createHttpServer({ listen: config.http.listen, handler: httpHandler });

  async function stop(graceMs: number): Promise<void> {
    await Promise.all([dns.close(graceMs), http.close(graceMs)]);
    exchange.close();
    transitions.flush();
  }
  return {
    async start() {
      try {
        for (const endpoint of await dns.listening()) own.push({ name: 'dns', ...endpoint });
        for (const endpoint of await http.listening()) own.push({ name: 'http', ...endpoint });
      } catch (error) {
        await stop(0);
        throw error;
      }
      own.push(...config.admin.listen.map((endpoint) => ({ name: 'admin', ...endpoint })));
      return own.filter(({ name }) => name !== 'admin');
    },
    tick() {
      transitions.sweep();
      totals.set('vms', state.vms);
      totals.set('open_keys', transitions.openKeys);
      totals.set('heartbeat_ms', clock.wall());
    },
    stop,
  };
}
