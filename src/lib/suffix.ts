// Which domain a name belongs to. Owns the Public Suffix List look-ups (tldts); never touches the network.
import { getDomain } from 'tldts';

/** What DESIGN.md section 3 derives from a query name. All lower case, without a trailing dot. */
export interface NameParts {
  /** The registrable domain, private section of the list included; /24 or /48 for reverse names; never empty. */
  readonly suffix: string;
  /** The same by the ICANN section alone. */
  readonly icannSuffix: string;
  /** The name less the suffix and the dot between them; empty when they are equal. */
  readonly subdomain: string;
  /** Whether the name lies under in-addr.arpa or ip6.arpa. */
  readonly reverse: boolean;
}

/** Zones that sites use inside and nobody can be delegated on the Internet: each name in them has a suffix of its own. */
export const PRIVATE_TLDS: ReadonlySet<string> = new Set([
  'internal',
  'local',
  'lan',
  'home',
  'corp',
  'intranet',
  'private',
  'localdomain',
]);

const WITH_PRIVATE = { allowPrivateDomains: true, validateHostname: false, extractHostname: false };
const ICANN_ONLY = { allowPrivateDomains: false, validateHostname: false, extractHostname: false };

/** The last `labels` labels of a name, or the whole name if it has fewer. */
function tail(name: string, labels: number): string {
  let at = name.length;
  for (let i = 0; i < labels && at > 0; i += 1) at = name.lastIndexOf('.', at - 1);
  return at < 0 ? name : name.slice(at + 1);
}

function reverseSuffix(name: string): string | undefined {
  if (name.endsWith('.in-addr.arpa') || name === 'in-addr.arpa') return tail(name, 5);
  if (name.endsWith('.ip6.arpa') || name === 'ip6.arpa') return tail(name, 14);
  return undefined;
}

/** Splits a lower-case query name without trailing dot; the root is ".". Total: never throws, never empty. */
export function nameParts(name: string): NameParts {
  const reverse = reverseSuffix(name);
  const suffix = reverse ?? getDomain(name, WITH_PRIVATE) ?? (name === '' ? '.' : name);
  const icannSuffix = reverse ?? getDomain(name, ICANN_ONLY) ?? suffix;
  const subdomain = suffix.length < name.length ? name.slice(0, name.length - suffix.length - 1) : '';
  return { suffix, icannSuffix, subdomain, reverse: reverse !== undefined };
}
