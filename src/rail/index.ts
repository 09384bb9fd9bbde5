// The door of the rail: what protocol code and the composition root may use.
export type {
  Allowed,
  Answer,
  Decision,
  DnsAnswer,
  Reason,
  RefusalReason,
  Refused,
  Ticket,
  Verdict,
} from './decision.ts';
export type { EventOf, SecurityEvent, Subject } from './event.ts';
export type { EventType, FieldName } from './fields.ts';
export type { Identity, UnknownPolicy, VmIdentity } from './identity.ts';
export type { Rail, Totals, Traffic, TrafficLine } from './ports.ts';
export { ALLOW } from './decision.ts';
export { dnsQuery } from './dns-query.ts';
export { createIdentity } from './identity.ts';
