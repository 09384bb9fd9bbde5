// The one place that builds a dns.query event, so that a name is the same event whichever side asks for it.
import { nameParts } from '../lib/suffix.ts';
import type { EventOf, Subject } from './event.ts';

export type DnsTransport = 'udp' | 'tcp' | 'proxy';

/**
 * `name` must be lower case, without trailing dot, "." for the root; `qtype` a type's name or TYPE<n>.
 * Port 53 stands for the destination port: the sandbox asks for a name, not for a server.
 */
export function dnsQuery(
  subject: Subject,
  name: string,
  qtype: string,
  transport: DnsTransport,
): EventOf<'dns.query'> {
  const parts = nameParts(name);
  return {
    type: 'dns.query',
    ...subject,
    'dest.host': name,
    'dest.suffix': parts.suffix,
    'dest.port': 53,
    'dns.qname': name,
    'dns.qtype': qtype,
    'dns.suffix': parts.suffix,
    'dns.icann_suffix': parts.icannSuffix,
    'dns.subdomain': parts.subdomain,
    'dns.reverse': parts.reverse,
    'dns.cached': false,
    'dns.transport': transport,
  };
}
