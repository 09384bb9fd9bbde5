// Which addresses a sandbox may reach by default. Pure; owns the list of ranges (IANA special-purpose registries), and the rule
// that an address inside another address is judged by what it really reaches.
import { inRange, parseIp, parseRange, unmap } from '../lib/ip.ts';
import type { Ip, IpRange } from '../lib/ip.ts';

/** `metadata`: a cloud's instance metadata or its wire server; never reachable, whatever the configuration says. */
export type AddressClass = 'public' | 'private' | 'metadata';

const ranges = (...texts: string[]): readonly IpRange[] =>
  texts.map((text) => {
    const range = parseRange(text);
    if (range === undefined) throw new Error(`bad range ${text}`);
    return range;
  });

const METADATA = ranges(
  '169.254.169.254',
  '169.254.170.2',
  '169.254.170.23',
  '100.100.100.200',
  '192.0.0.192',
  '168.63.129.16',
  'fd00:ec2::254',
  'fd00:ec2::23',
  'fd20:ce::254',
);

const PRIVATE_V4 = ranges(
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
);

const PRIVATE_V6 = ranges(
  '::/128',
  '::1/128',
  '64:ff9b:1::/48',
  '100::/64',
  '2001::/32',
  '2001:2::/48',
  '2001:10::/28',
  '2001:20::/28',
  '2001:db8::/32',
  '3fff::/20',
  '5f00::/16',
  'fc00::/7',
  'fe80::/10',
  'fec0::/10',
  'ff00::/8',
  '::ffff:0:0:0/96',
);

const [NAT64] = ranges('64:ff9b::/96');
const [SIX_TO_FOUR] = ranges('2002::/16');
const [TEREDO] = ranges('2001::/32');
const [NAT64_LOCAL] = ranges('64:ff9b:1::/48');
/** v4-compatible and SIIT: nothing is reachable by them, but what they hold in their last 32 bits may be metadata. */
const HOLDING_V4 = ranges('::/96', '::ffff:0:0:0/96');

/** Names under which clouds serve instance metadata: refused before they are looked up, for a resolver may lie about them. */
const METADATA_NAMES: ReadonlySet<string> = new Set([
  'metadata',
  'metadata.google.internal',
  'metadata.goog',
  'instance-data',
  'instance-data.ec2.internal',
]);

/** `host`: a lower-case name without trailing dot. */
export const isMetadataName = (host: string): boolean => METADATA_NAMES.has(host);

const v4 = (word: number): Ip => ({ family: 4, words: [0, 0, 0, word >>> 0] });
const within = (ip: Ip, range: IpRange | undefined): boolean => range !== undefined && inRange(ip, range);

/** The IPv4 address that packets to a routable transition address end at. */
function reached(ip: Ip): Ip | undefined {
  const [a, b, , d] = ip.words;
  if (within(ip, NAT64)) return v4(d);
  return within(ip, SIX_TO_FOUR) ? v4(((a & 0xffff) << 16) | (b >>> 16)) : undefined;
}

/** IPv4 addresses that a refused IPv6 address holds: it stays refused, and for good if one of them is metadata. */
function held(ip: Ip): Ip[] {
  const [, b, c, d] = ip.words;
  // ISATAP (RFC 5214): an interface identifier under any prefix, …:0:5efe:a.b.c.d or …:200:5efe:a.b.c.d.
  if (c === 0x5efe || c === 0x0200_5efe || HOLDING_V4.some((range) => inRange(ip, range))) return [v4(d)];
  // Teredo (RFC 4380): the server, then the client with every bit turned.
  if (within(ip, TEREDO)) return [v4(b), v4(~d)];
  // RFC 6052 puts the address behind the /48, around octet 8, or at the end of a /96 inside it.
  if (within(ip, NAT64_LOCAL)) return [v4(d), v4(((b & 0xffff) << 16) | ((c >>> 8) & 0xffff))];
  return [];
}

/** Classifies an address in any canonical text. What isn't an address at all is private. */
export function classify(address: string): AddressClass {
  const parsed = parseIp(address);
  return parsed === undefined ? 'private' : classOf(unmap(parsed));
}

function classOf(ip: Ip): AddressClass {
  if (METADATA.some((range) => inRange(ip, range))) return 'metadata';
  if (ip.family === 4) return PRIVATE_V4.some((range) => inRange(ip, range)) ? 'private' : 'public';
  const inner = reached(ip);
  if (inner !== undefined) return classOf(inner);
  const holds = held(ip);
  if (holds.some((one) => classOf(one) === 'metadata')) return 'metadata';
  return holds.length > 0 || PRIVATE_V6.some((range) => inRange(ip, range)) ? 'private' : 'public';
}
