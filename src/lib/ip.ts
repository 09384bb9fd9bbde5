// IP addresses and ranges as numbers. Owns parsing and canonical text; never resolves anything.

/** An address: `family` 4 or 6, and its bits, most significant 32 first (v4 uses only `words[3]`). */
export interface Ip {
  readonly family: 4 | 6;
  readonly words: readonly [number, number, number, number];
}

/** A range: the first `bits` bits of `base` (v4: 0 to 32, v6: 0 to 128). */
export interface IpRange {
  readonly base: Ip;
  readonly bits: number;
}

const DECIMAL_OCTET = /^(?:0|[1-9]\d{0,2})$/;

function parseV4Word(text: string): number | undefined {
  const parts = text.split('.');
  if (parts.length !== 4) return undefined;
  let word = 0;
  for (const part of parts) {
    if (!DECIMAL_OCTET.test(part)) return undefined;
    const octet = Number(part);
    if (octet > 255) return undefined;
    word = word * 256 + octet;
  }
  return word;
}

/** `ends`: whether the address ends with these groups, which may then end in dotted decimal. */
function parseGroups(text: string, ends: boolean): number[] | undefined {
  if (text === '') return [];
  const groups: number[] = [];
  const parts = text.split(':');
  for (let i = 0; i < parts.length; i += 1) {
    const part = parts[i] ?? '';
    if (part.includes('.')) {
      const word = ends && i === parts.length - 1 ? parseV4Word(part) : undefined;
      if (word === undefined) return undefined;
      groups.push(Math.floor(word / 65536), word % 65536);
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined;
      groups.push(Number.parseInt(part, 16));
    }
  }
  return groups;
}

function parseV6(text: string): Ip | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0] ?? '', halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1] ?? '', true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const g = [...head, ...Array.from({ length: missing }, () => 0), ...tail];
  const word = (i: number): number => (g[i] ?? 0) * 65536 + (g[i + 1] ?? 0);
  return { family: 6, words: [word(0), word(2), word(4), word(6)] };
}

/**
 * Reads dotted-decimal IPv4 or RFC 4291 IPv6 text. Must refuse every other notation (octal, hex, short forms,
 * zone ids): undefined then. An IPv4-mapped IPv6 address stays IPv6; see `unmap`.
 */
export function parseIp(text: string): Ip | undefined {
  if (text.length > 45) return undefined;
  if (text.includes(':')) return parseV6(text);
  const word = parseV4Word(text);
  return word === undefined ? undefined : { family: 4, words: [0, 0, 0, word] };
}

/** The IPv4 address inside ::ffff:0:0/96, which is how a dual-stack socket shows a v4 peer; else the address itself. */
export function unmap(ip: Ip): Ip {
  const [a, b, c, d] = ip.words;
  return ip.family === 6 && a === 0 && b === 0 && c === 0xffff ? { family: 4, words: [0, 0, 0, d] } : ip;
}

const octets = (word: number): string =>
  `${word >>> 24}.${(word >>> 16) & 255}.${(word >>> 8) & 255}.${word & 255}`;

/** Canonical text: dotted decimal, or RFC 5952. */
export function formatIp(ip: Ip): string {
  if (ip.family === 4) return octets(ip.words[3]);
  const groups = ip.words.flatMap((w) => [w >>> 16, w & 0xffff]);
  let best = -1;
  let bestLength = 1;
  for (let i = 0; i < 8; i += 1) {
    let n = 0;
    while (i + n < 8 && groups[i + n] === 0) n += 1;
    if (n > bestLength) {
      best = i;
      bestLength = n;
    }
  }
  const hex = (part: number[]): string => part.map((x) => x.toString(16)).join(':');
  if (best < 0) return hex(groups);
  return `${hex(groups.slice(0, best))}::${hex(groups.slice(best + bestLength))}`;
}

/** Reads `address` or `address/bits`. Undefined for anything else, and for a range with bits set behind its length. */
export function parseRange(text: string): IpRange | undefined {
  const slash = text.indexOf('/');
  const base = parseIp(slash < 0 ? text : text.slice(0, slash));
  if (base === undefined) return undefined;
  const most = base.family === 4 ? 32 : 128;
  const tail = slash < 0 ? String(most) : text.slice(slash + 1);
  if (!/^\d{1,3}$/.test(tail) || Number(tail) > most) return undefined;
  const range = { base, bits: Number(tail) };
  return sameIp(maskIp(base, range.bits), base) ? range : undefined;
}

const sameIp = (a: Ip, b: Ip): boolean => a.family === b.family && a.words.every((w, i) => w === b.words[i]);

/** The address with every bit behind the first `bits` cleared. */
export function maskIp(ip: Ip, bits: number): Ip {
  const skip = ip.family === 4 ? 96 : 0;
  const words = ip.words.map((word, i) => {
    const kept = Math.min(32, Math.max(0, bits + skip - i * 32));
    return kept === 0 ? 0 : (word & (-1 << (32 - kept))) >>> 0;
  });
  return { family: ip.family, words: [words[0] ?? 0, words[1] ?? 0, words[2] ?? 0, words[3] ?? 0] };
}

/** Whether the address lies in the range. Families never match each other; unmap first. */
export function inRange(ip: Ip, range: IpRange): boolean {
  return ip.family === range.base.family && sameIp(maskIp(ip, range.bits), range.base);
}

/** A socket address as text, with brackets for IPv6. */
export function formatEndpoint(address: string, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** Reads `address:port` or `[v6]:port`; port 0 to 65535. */
export function parseEndpoint(text: string): { address: string; port: number } | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text);
  const ip = parseIp(match?.[1] ?? match?.[2] ?? '');
  const port = Number(match?.[3]);
  if (match === null || ip === undefined || port > 65535) return undefined;
  if ((ip.family === 6) !== (match[1] !== undefined)) return undefined;
  return { address: formatIp(ip), port };
}
