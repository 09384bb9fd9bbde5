// Names to addresses for the HTTP side. Owns the promise that no name is looked up before the rail has judged it as a dns.query
// event of the same VM.
import packet from 'dns-packet';
import { nameOctets } from '../lib/dns-message.ts';
import { dnsQuery } from '../rail/index.ts';
import type { Rail, Refused, Subject } from '../rail/index.ts';
import { formatIp, parseIp } from '../lib/ip.ts';
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

const TYPES = [
  { name: 'A', number: 1 },
  { name: 'AAAA', number: 28 },
] as const;
const CHAIN_MAX = 16;

export function createResolver(options: { readonly rail: Rail; readonly exchange: Exchange }): Resolver {
  return {
    async resolve(subject, host) {
      const name = nameOctets(host);
      if (name === undefined || host === 'localhost' || host.endsWith('.localhost')) {
        return { ok: false, error: 'nxdomain', rcode: 'NXDOMAIN' };
      }
      for (const type of TYPES) {
        const decision = options.rail.decide(dnsQuery(subject, host, type.name, 'proxy'));
        if (decision.verdict !== 'allow') return { ok: false, refused: decision };
      }
      const ask = { name, text: host, dnssecOk: false, checkingDisabled: false };
      const answers = await Promise.all(
        TYPES.map((type) => options.exchange.ask({ ...ask, type: type.number })),
      );
      const read = answers.map((answer) => (answer.ok ? readAddresses(answer.message, host) : answer.error));
      const addresses = read.flatMap((one) => (typeof one === 'string' ? [] : one.addresses));
      if (addresses.length > 0) return { ok: true, addresses };
      return failure(read);
    },
  };
}

type Read =
  | { readonly addresses: readonly string[]; readonly rcode: string }
  | 'timeout'
  | 'unreachable'
  | 'busy'
  | 'invalid';

function failure(read: readonly Read[]): Resolved {
  const rcodes = read.flatMap((one) => (typeof one === 'string' ? [] : [one.rcode]));
  if (rcodes.includes('NXDOMAIN')) return { ok: false, error: 'nxdomain', rcode: 'NXDOMAIN' };
  if (rcodes.includes('NOERROR')) return { ok: false, error: 'no_address', rcode: 'NOERROR' };
  if (read.includes('timeout')) return { ok: false, error: 'timeout' };
  return { ok: false, error: 'server_failure', rcode: rcodes[0] ?? 'SERVFAIL' };
}

/** The addresses at the end of the CNAME chain that starts at `host`, within this answer alone. */
function readAddresses(message: Buffer, host: string): Read {
  let decoded: ReturnType<typeof packet.decode>;
  try {
    decoded = packet.decode(message);
  } catch {
    return 'invalid';
  }
  const rcode = (decoded as { rcode?: string }).rcode ?? 'SERVFAIL';
  const records = decoded.answers ?? [];
  let at = host;
  for (let i = 0; i < CHAIN_MAX; i += 1) {
    const alias = records.find((record) => record.type === 'CNAME' && record.name.toLowerCase() === at);
    if (alias === undefined || alias.type !== 'CNAME') break;
    at = alias.data.toLowerCase();
  }
  const addresses = records.flatMap((record) => {
    if ((record.type !== 'A' && record.type !== 'AAAA') || record.name.toLowerCase() !== at) return [];
    const ip = parseIp(record.data);
    return ip === undefined ? [] : [formatIp(ip)];
  });
  return { addresses, rcode };
}
