// DNS queries as events. Pure: builds facts, judges nothing.
import { dnsQuery } from '../rail/index.ts';
import type { EventOf, Subject } from '../rail/index.ts';
import type { Query } from './wire.ts';

export type Transport = 'udp' | 'tcp';

export const queryEvent = (subject: Subject, query: Query, transport: Transport): EventOf<'dns.query'> =>
  dnsQuery(subject, query.question.text, query.qtype, transport);

/** `detail` must be words of ours, never octets of the client's. */
export const malformedEvent = (subject: Subject, detail: string): EventOf<'wire.malformed'> => ({
  type: 'wire.malformed',
  ...subject,
  'wire.protocol': 'dns',
  'wire.detail': detail,
});
