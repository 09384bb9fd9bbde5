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

const [NAT64, SIX_TO_FOUR, V4_COMPATIBLE] = ranges('64:ff9b::/96', '2002::/16', '::/96') as [
  IpRange,
  IpRange,
  IpRange,
];

const v4 = (word: number): Ip => ({ family: 4, words: [0, 0, 0, word >>> 0] });

/** The IPv4 address that a transition address leads to, if it is one. */
function embedded(ip: Ip): Ip | undefined {
  const [, b, c, d] = ip.words;
  if (inRange(ip, NAT64)) return v4(d);
  if (inRange(ip, SIX_TO_FOUR)) return v4((((ip.words[0] & 0xffff) << 16) >>> 0) + (b >>> 16));
  // ISATAP (RFC 5214): …:0:5efe:a.b.c.d or …:200:5efe:a.b.c.d
  if (c === 0x5efe || c === 0x0200_5efe) return v4(d);
  return undefined;
}

/** Classifies an address in any canonical text. What isn't an address at all is private. */
export function classify(address: string): AddressClass {
  const parsed = parseIp(address);
  return parsed === undefined ? 'private' : classOf(unmap(parsed));
}

function classOf(ip: Ip): AddressClass {
  if (METADATA.some((range) => inRange(ip, range))) return 'metadata';
  if (ip.family === 4) return PRIVATE_V4.some((range) => inRange(ip, range)) ? 'private' : 'public';
  const inner = embedded(ip);
  if (inner !== undefined) return classOf(inner);
  if (PRIVATE_V6.some((range) => inRange(ip, range))) return 'private';
  // Deprecated (RFC 4291, 2.5.5.1): nothing is reachable by it, but what it holds may be metadata.
  if (inRange(ip, V4_COMPATIBLE)) return classOf(v4(ip.words[3])) === 'metadata' ? 'metadata' : 'private';
  return 'public';
}
