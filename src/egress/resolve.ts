// Names to addresses for the HTTP side. Owns the promise that no name is looked up before the rail has judged it as a dns.query
// event of the same VM.
import { CLASS_IN, nameOctets, readName, readQuestion, readRecords } from '../lib/dns-message.ts';
import type { RecordPlace } from '../lib/dns-message.ts';
import { formatIp, unmap } from '../lib/ip.ts';
import type { Ip } from '../lib/ip.ts';
import { dnsQuery } from '../rail/index.ts';
import type { Rail, Refused, Subject, Ticket } from '../rail/index.ts';
import type { Exchange } from './exchange.ts';

export type Resolved =
  | { readonly ok: true; readonly addresses: readonly string[] }
  | { readonly ok: false; readonly refused: Refused }
  | {
      readonly ok: false;
      readonly error: 'nxdomain' | 'no_address' | 'timeout' | 'server_failure';
      readonly rcode?: string;
    };

export interface Resolver {
  /** `host` must be a lower-case name without trailing dot, not an address. v4 addresses come first. Never rejects. */
  resolve(subject: Subject, host: string): Promise<Resolved>;
}

const TYPE = { a: 1, cname: 5, aaaa: 28 } as const;
const ASKED = [
  { name: 'A', number: TYPE.a },
  { name: 'AAAA', number: TYPE.aaaa },
] as const;
const CHAIN_MAX = 16;
const ADDRESSES_MAX = 32;
const RCODE_NAMES = ['NOERROR', 'FORMERR', 'SERVFAIL', 'NXDOMAIN', 'NOTIMP', 'REFUSED'] as const;

export function createResolver(options: { readonly rail: Rail; readonly exchange: Exchange }): Resolver {
  const { rail, exchange } = options;
  return {
    async resolve(subject, host) {
      const name = nameOctets(host);
      // Never asked of anyone, so that it can't be made to mean another machine (RFC 6761, 6.3).
      if (name === undefined || host === 'localhost' || host.endsWith('.localhost')) {
        return { ok: false, error: 'nxdomain', rcode: 'NXDOMAIN' };
      }
      const tickets: Ticket[] = [];
      try {
        for (const type of ASKED) {
          const decision = rail.decide(dnsQuery(subject, host, type.name, 'proxy'));
          if (decision.verdict !== 'allow') return { ok: false, refused: decision };
          if (decision.ticket !== undefined) tickets.push(decision.ticket);
        }
        const ask = { vm: subject.vm, name, text: host, dnssecOk: false, checkingDisabled: false };
        const answered = await Promise.all(ASKED.map(({ number }) => exchange.ask({ ...ask, type: number })));
        const read = answered.map((one) => (one.ok ? readAddresses(one.message) : one.error));
        const addresses = read.flatMap((one) => (typeof one === 'string' ? [] : one.addresses));
        return addresses.length > 0 ? { ok: true, addresses } : failure(read);
      } finally {
        for (const ticket of tickets) rail.finish(ticket);
      }
    },
  };
}

type Read =
  | { readonly addresses: readonly string[]; readonly rcode: string }
  | 'timeout'
  | 'unreachable'
  | 'busy'
  | 'invalid';

/** What to say when neither answer has an address: that there is none only if both say so. */
function failure(read: readonly Read[]): Resolved {
  const rcodes = read.map((one) => (typeof one === 'string' ? undefined : one.rcode));
  if (rcodes.includes('NXDOMAIN')) return { ok: false, error: 'nxdomain', rcode: 'NXDOMAIN' };
  if (read.includes('timeout')) return { ok: false, error: 'timeout' };
  const failed = rcodes.find((rcode) => rcode !== undefined && rcode !== 'NOERROR');
  if (failed !== undefined) return { ok: false, error: 'server_failure', rcode: failed };
  if (rcodes.includes(undefined)) return { ok: false, error: 'server_failure' };
  return { ok: false, error: 'no_address', rcode: 'NOERROR' };
}

/** The addresses at the end of the CNAME chain that starts at the question, within the answer section of this message alone. */
function readAddresses(message: Buffer): Read {
  const question = readQuestion(message);
  const counts = message.readUInt16BE(6) + message.readUInt16BE(8) + message.readUInt16BE(10);
  const all = question === undefined ? undefined : readRecords(message, question.end, counts);
  if (question === undefined || all === undefined) return 'invalid';
  const records: Owned[] = [];
  for (const place of all.slice(0, message.readUInt16BE(6))) {
    const owner = readName(message, place.start);
    if (owner === undefined) return 'invalid';
    if (place.class === CLASS_IN) records.push({ owner, place });
  }
  const end = chainEnd(message, question.name, records);
  const addresses = records.flatMap(({ owner, place }) => {
    const ip = owner.equals(end) ? addressAt(message, place) : undefined;
    return ip === undefined ? [] : [formatIp(unmap(ip))];
  });
  const rcode = message.readUInt16BE(2) & 15;
  return {
    addresses: [...new Set(addresses)].slice(0, ADDRESSES_MAX),
    rcode: RCODE_NAMES[rcode] ?? `RCODE${rcode}`,
  };
}

interface Owned {
  readonly owner: Buffer;
  readonly place: RecordPlace;
}

function chainEnd(message: Buffer, start: Buffer, records: readonly Owned[]): Buffer {
  let name = start;
  for (let i = 0; i < CHAIN_MAX; i += 1) {
    const alias = records.find(({ owner, place }) => place.type === TYPE.cname && owner.equals(name));
    const target = alias === undefined ? undefined : readName(message, alias.place.data);
    if (target === undefined) break;
    name = target;
  }
  return name;
}

function addressAt(message: Buffer, { type, data, end }: RecordPlace): Ip | undefined {
  if (type === TYPE.a && end - data === 4) {
    return { family: 4, words: [0, 0, 0, message.readUInt32BE(data)] };
  }
  if (type !== TYPE.aaaa || end - data !== 16) return undefined;
  const word = (i: number): number => message.readUInt32BE(data + 4 * i);
  return { family: 6, words: [word(0), word(1), word(2), word(3)] };
}
