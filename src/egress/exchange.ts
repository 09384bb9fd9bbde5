// Questions to DNS upstreams. Owns which upstream is asked, how often and how long; builds the query itself, so that nothing
// of a client's message but name, type and two flags ever goes out.
import { randomInt } from 'node:crypto';
import { CLASS_IN } from '../lib/dns-message.ts';
import type { Clock } from '../lib/clock.ts';
import type { DnsUpstream } from '../lib/upstream-address.ts';
import { askTcp } from './tcp-query.ts';
import { createUdpPool } from './udp-pool.ts';
import type { Attempt, UdpPool } from './udp-pool.ts';

export interface Ask {
  /** Name octets, lower case, and their text for choosing a zone. */
  readonly name: Buffer;
  readonly text: string;
  readonly type: number;
  readonly dnssecOk: boolean;
  readonly checkingDisabled: boolean;
}

export type Answered =
  | { readonly ok: true; readonly message: Buffer }
  | { readonly ok: false; readonly error: 'timeout' | 'unreachable' | 'busy'; readonly upstream: string };

export interface Exchange {
  /** Answers within `totalMs`. Never rejects; the message matches the question, but has not been decoded. */
  ask(ask: Ask): Promise<Answered>;
  readonly inFlight: number;
  close(): void;
}

export interface ExchangeOptions {
  readonly upstreams: readonly DnsUpstream[];
  readonly zones: readonly { readonly zone: string; readonly upstreams: readonly DnsUpstream[] }[];
  readonly clock: Clock;
  /** One try; three are made, 4.5 s in all by default: a client gives up after 5. */
  readonly tryMs?: number;
}

const TRIES = 3;
const TRY_MS = 1500;
/** How long an upstream that failed is asked last. */
const SICK_MS = 5000;
const ASKS_MAX = 4096;
const OUR_UDP_OCTETS = 1232;

export function createExchange(options: ExchangeOptions): Exchange {
  const tryMs = options.tryMs ?? TRY_MS;
  const pools = new Map<string, UdpPool>();
  const sickUntilMs = new Map<DnsUpstream, number>();
  const zones = options.zones.toSorted((a, b) => b.zone.length - a.zone.length);
  let inFlight = 0;

  const poolOf = (upstream: DnsUpstream): UdpPool => {
    const name = `${upstream.address} ${upstream.port}`;
    const pool = pools.get(name) ?? createUdpPool(upstream);
    pools.set(name, pool);
    return pool;
  };
  const upstreamsFor = (text: string): readonly DnsUpstream[] => {
    const zone = zones.find((z) => text === z.zone || text.endsWith(`.${z.zone}`));
    const now = options.clock.now();
    const sick = (upstream: DnsUpstream): number => ((sickUntilMs.get(upstream) ?? 0) > now ? 1 : 0);
    return (zone?.upstreams ?? options.upstreams).toSorted((a, b) => sick(a) - sick(b));
  };
  async function attempt(upstream: DnsUpstream, query: Buffer): Promise<Attempt> {
    if (upstream.transport === 'tcp') return askTcp(upstream, withRandomId(query), tryMs);
    const answer = await poolOf(upstream).ask(query, tryMs);
    if (!answer.ok || (answer.message.readUInt16BE(2) & 0x0200) === 0) return answer;
    // Truncated: the whole answer comes over TCP (RFC 7766), from the same upstream.
    return askTcp(upstream, withRandomId(query), tryMs);
  }
  async function tries(ask: Ask): Promise<Answered> {
    const query = buildQuery(ask);
    const order = upstreamsFor(ask.text);
    let failed: Answered = { ok: false, error: 'unreachable', upstream: 'none' };
    for (let i = 0; i < TRIES; i += 1) {
      const upstream = order[i % order.length];
      if (upstream === undefined) break;
      const answer = await attempt(upstream, query);
      if (answer.ok) {
        sickUntilMs.delete(upstream);
        return answer;
      }
      failed = {
        ok: false,
        error: answer.error,
        upstream: `${upstream.address}:${upstream.port} ${upstream.transport}`,
      };
      if (answer.error === 'busy') break;
      sickUntilMs.set(upstream, options.clock.now() + SICK_MS);
    }
    return failed;
  }
  return {
    get inFlight() {
      return inFlight;
    },
    async ask(ask) {
      if (inFlight >= ASKS_MAX) return { ok: false, error: 'busy', upstream: 'all' };
      inFlight += 1;
      try {
        return await tries(ask);
      } finally {
        inFlight -= 1;
      }
    },
    close() {
      for (const pool of pools.values()) pool.close();
      pools.clear();
    },
  };
}

function withRandomId(query: Buffer): Buffer {
  const own = Buffer.from(query);
  own.writeUInt16BE(randomInt(65_536), 0);
  return own;
}

/** A query with an OPT of our own (RFC 6891: EDNS is hop by hop); its id is set by whoever sends it. */
function buildQuery(ask: Ask): Buffer {
  const query = Buffer.alloc(12 + ask.name.length + 4 + 11);
  query.writeUInt16BE(0x0100 | (ask.checkingDisabled ? 0x0010 : 0), 2);
  query.writeUInt16BE(1, 4);
  query.writeUInt16BE(1, 10);
  ask.name.copy(query, 12);
  const at = 12 + ask.name.length;
  query.writeUInt16BE(ask.type, at);
  query.writeUInt16BE(CLASS_IN, at + 2);
  query.writeUInt16BE(41, at + 5);
  query.writeUInt16BE(OUR_UDP_OCTETS, at + 7);
  query.writeUInt16BE(ask.dnssecOk ? 0x8000 : 0, at + 11);
  return query;
}
