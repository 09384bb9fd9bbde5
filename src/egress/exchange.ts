// Questions to DNS upstreams. Owns which upstream is asked, how often and how long; builds the query itself, so that nothing
// of a client's message but name, type and two flags ever goes out.
import { randomInt } from 'node:crypto';
import { CLASS_IN, HEADER_OCTETS, TYPE_OPT } from '../lib/dns-message.ts';
import type { Clock } from '../lib/clock.ts';
import { formatEndpoint } from '../lib/ip.ts';
import type { DnsUpstream } from '../lib/upstream-address.ts';
import { createTcpAsks } from './tcp-query.ts';
import { createUdpPool } from './udp-pool.ts';
import type { Attempt, UdpPool } from './udp-pool.ts';

export interface Ask {
  /** Who asks. No VM may keep so many questions open that others get none through. */
  readonly vm: string;
  /** Name octets, lower case, and their text for choosing a zone. */
  readonly name: Buffer;
  readonly text: string;
  readonly type: number;
  readonly dnssecOk: boolean;
  readonly checkingDisabled: boolean;
}

export type Answered =
  | { readonly ok: true; readonly message: Buffer }
  | {
      readonly ok: false;
      /** `busy`: too much is under way, nothing was sent; `invalid`: an answer to something else. */
      readonly error: 'timeout' | 'unreachable' | 'invalid' | 'busy';
      /** The last one asked. */
      readonly upstream?: DnsUpstream;
    };

export interface Exchange {
  /** Answers within 4.5 s by default (`totalMs`). Never rejects; the message matches the question, but has not been decoded. */
  ask(ask: Ask): Promise<Answered>;
  readonly inFlight: number;
  /** Datagrams from upstreams that answered no open question (RFC 5452, 9.2): a sign of spoofing, or of late answers. */
  readonly mismatched: number;
  /** Fails what is open, and closes every socket. */
  close(): void;
}

export interface ExchangeOptions {
  readonly upstreams: readonly DnsUpstream[];
  readonly zones: readonly { readonly zone: string; readonly upstreams: readonly DnsUpstream[] }[];
  readonly clock: Clock;
  /** One try; three are made. */
  readonly tryMs?: number;
  /** All tries together, TCP after a truncated answer included. */
  readonly totalMs?: number;
  /** Questions open at once: of all, and of one VM. */
  readonly asksMax?: number;
  readonly asksPerVmMax?: number;
}

/** At most so many sends for one question, however many upstreams (RFC 9520, 3.1). */
const TRIES = 3;
const TRY_MS = 1500;
/** A client gives up after 5 s. */
const TOTAL_MS = 4500;
/** How long an upstream that failed is asked last. */
const SICK_MS = 5000;
const ASKS_MAX = 4096;
const ASKS_PER_VM_MAX = 1024;
const TCP_ASKS_MAX = 256;
const OUR_UDP_OCTETS = 1232;

export function createExchange(options: ExchangeOptions): Exchange {
  const { clock, tryMs = TRY_MS, totalMs = TOTAL_MS } = options;
  const pools = new Map<string, UdpPool>();
  const upstreams = createOrder(options);
  const asks = createCounts(options.asksMax ?? ASKS_MAX, options.asksPerVmMax ?? ASKS_PER_VM_MAX);
  const overTcp = createTcpAsks(TCP_ASKS_MAX);
  let closed = false;

  const poolOf = (upstream: DnsUpstream): UdpPool => {
    const name = formatEndpoint(upstream.address, upstream.port);
    const pool = pools.get(name) ?? createUdpPool(upstream, clock);
    pools.set(name, pool);
    return pool;
  };
  /** Each step may take `tryMs`, and none may pass the deadline. */
  async function attempt(upstream: DnsUpstream, query: Buffer, untilMs: number): Promise<Attempt> {
    const left = (): number => Math.max(1, Math.min(tryMs, untilMs - clock.now()));
    if (upstream.transport === 'tcp') return overTcp.ask(upstream, withRandomId(query), left());
    const answer = await poolOf(upstream).ask(query, left());
    if (!answer.ok || (answer.message.readUInt16BE(2) & 0x0200) === 0) return answer;
    // Truncated: the whole answer comes over TCP (RFC 7766), from the same upstream.
    return overTcp.ask(upstream, withRandomId(query), left());
  }
  async function tries(ask: Ask): Promise<Answered> {
    const query = buildQuery(ask);
    const order = upstreams.of(ask.text);
    const untilMs = clock.now() + totalMs;
    let failed: Answered = { ok: false, error: 'unreachable' };
    for (let i = 0; i < TRIES; i += 1) {
      const upstream = order[i % order.length];
      if (upstream === undefined || closed || (i > 0 && clock.now() >= untilMs)) break;
      const answer = await attempt(upstream, query, untilMs);
      if (answer.ok) {
        upstreams.well(upstream);
        return answer;
      }
      failed = { ok: false, error: answer.error, upstream };
      if (answer.error === 'busy') break;
      upstreams.sick(upstream);
    }
    return failed;
  }
  return {
    get inFlight() {
      return asks.total;
    },
    get mismatched() {
      let sum = 0;
      for (const pool of pools.values()) sum += pool.mismatched;
      return sum;
    },
    async ask(ask) {
      if (closed || !asks.enter(ask.vm)) return { ok: false, error: 'busy' };
      try {
        return await tries(ask);
      } finally {
        asks.leave(ask.vm);
      }
    },
    close() {
      closed = true;
      for (const pool of pools.values()) pool.close();
      overTcp.close();
    },
  };
}

interface Order {
  /** Upstreams for a name, those that failed of late last. The longest zone that holds the name decides. */
  of(text: string): readonly DnsUpstream[];
  well(upstream: DnsUpstream): void;
  sick(upstream: DnsUpstream): void;
}

function createOrder(options: ExchangeOptions): Order {
  const zones = options.zones.toSorted((a, b) => b.zone.length - a.zone.length);
  const sickUntilMs = new Map<DnsUpstream, number>();
  return {
    of(text) {
      const zone = zones.find((z) => z.zone === '.' || text === z.zone || text.endsWith(`.${z.zone}`));
      const all = zone?.upstreams ?? options.upstreams;
      if (sickUntilMs.size === 0) return all;
      const now = options.clock.now();
      const isSick = (upstream: DnsUpstream): number => ((sickUntilMs.get(upstream) ?? 0) > now ? 1 : 0);
      return all.toSorted((a, b) => isSick(a) - isSick(b));
    },
    well(upstream) {
      sickUntilMs.delete(upstream);
    },
    sick(upstream) {
      sickUntilMs.set(upstream, options.clock.now() + SICK_MS);
    },
  };
}

/** Counts open questions, of all and of each VM. */
function createCounts(
  most: number,
  mostPerVm: number,
): { readonly total: number; enter(vm: string): boolean; leave(vm: string): void } {
  const perVm = new Map<string, number>();
  let total = 0;
  return {
    get total() {
      return total;
    },
    enter(vm) {
      const own = perVm.get(vm) ?? 0;
      if (total >= most || own >= mostPerVm) return false;
      perVm.set(vm, own + 1);
      total += 1;
      return true;
    },
    leave(vm) {
      const left = (perVm.get(vm) ?? 1) - 1;
      if (left === 0) perVm.delete(vm);
      else perVm.set(vm, left);
      total -= 1;
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
  const query = Buffer.alloc(HEADER_OCTETS + ask.name.length + 4 + 11);
  query.writeUInt16BE(0x0100 | (ask.checkingDisabled ? 0x0010 : 0), 2);
  query.writeUInt16BE(1, 4);
  query.writeUInt16BE(1, 10);
  ask.name.copy(query, HEADER_OCTETS);
  const at = HEADER_OCTETS + ask.name.length;
  query.writeUInt16BE(ask.type, at);
  query.writeUInt16BE(CLASS_IN, at + 2);
  query.writeUInt16BE(TYPE_OPT, at + 5);
  query.writeUInt16BE(OUR_UDP_OCTETS, at + 7);
  query.writeUInt16BE(ask.dnssecOk ? 0x8000 : 0, at + 11);
  return query;
}
