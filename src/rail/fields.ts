// The registry of event fields: the one list that types, rule checker and docs share. Never holds behaviour.

/** Every event type of the contract that this build emits. */
export const EVENT_TYPES = [
  'dns.query',
  'http.request',
  'tunnel.open',
  'tunnel.close',
  'wire.malformed',
] as const;
export type EventType = (typeof EVENT_TYPES)[number];

/** What a field holds. Numbers are doubles, so that a condition may compare them with any literal. */
export type FieldKind = 'string' | 'number' | 'boolean';

export interface Field {
  readonly kind: FieldKind;
  /** The event types that may carry the field. */
  readonly on: readonly EventType[];
  /** Whether each of those types always carries it: only such a field can be a key or be counted. */
  readonly always: boolean;
  readonly doc: string;
}

const WITH_DESTINATION = ['dns.query', 'http.request', 'tunnel.open', 'tunnel.close'] as const;
const TUNNEL_END = ['tunnel.close'] as const;

export const FIELDS = {
  vm: { kind: 'string', on: EVENT_TYPES, always: true, doc: 'the VM, as identity found it' },
  profile: { kind: 'string', on: EVENT_TYPES, always: true, doc: 'the rule profile of the VM' },
  source: { kind: 'string', on: EVENT_TYPES, always: true, doc: 'source address of the sandbox' },
  tenant: { kind: 'string', on: EVENT_TYPES, always: false, doc: 'who the VM works for' },
  session: { kind: 'string', on: EVENT_TYPES, always: false, doc: 'session of the agent' },
  user: { kind: 'string', on: EVENT_TYPES, always: false, doc: 'user on whose behalf the agent acts' },
  agent: { kind: 'string', on: EVENT_TYPES, always: false, doc: 'name of the agent' },
  flow: { kind: 'string', on: EVENT_TYPES, always: false, doc: 'client connection or query' },
  'dest.host': {
    kind: 'string',
    on: WITH_DESTINATION,
    always: true,
    doc: 'destination: a lower-case name without trailing dot, or an address',
  },
  'dest.suffix': {
    kind: 'string',
    on: WITH_DESTINATION,
    always: true,
    doc: 'registrable domain of dest.host, or the address',
  },
  'dest.port': { kind: 'number', on: WITH_DESTINATION, always: true, doc: 'destination port' },
  'dns.qname': {
    kind: 'string',
    on: ['dns.query'],
    always: true,
    doc: 'query name, lower case, without trailing dot, "." for the root',
  },
  'dns.qtype': {
    kind: 'string',
    on: ['dns.query'],
    always: true,
    doc: 'query type by name, or TYPE<n> (RFC 3597)',
  },
  'dns.suffix': {
    kind: 'string',
    on: ['dns.query'],
    always: true,
    doc: 'registrable domain, private section of the Public Suffix List included; /24 or /48 for reverse names',
  },
  'dns.icann_suffix': {
    kind: 'string',
    on: ['dns.query'],
    always: true,
    doc: 'registrable domain by the ICANN section alone',
  },
  'dns.subdomain': {
    kind: 'string',
    on: ['dns.query'],
    always: true,
    doc: 'the query name less dns.suffix',
  },
  'dns.reverse': {
    kind: 'boolean',
    on: ['dns.query'],
    always: true,
    doc: 'whether the name lies under in-addr.arpa or ip6.arpa',
  },
  'dns.cached': {
    kind: 'boolean',
    on: ['dns.query'],
    always: true,
    doc: 'answered from the cache: nothing leaves',
  },
  'dns.transport': { kind: 'string', on: ['dns.query'], always: true, doc: 'udp, tcp or proxy' },
  'http.method': { kind: 'string', on: ['http.request'], always: true, doc: 'request method' },
  'http.scheme': { kind: 'string', on: ['http.request'], always: true, doc: 'http or https' },
  'http.path': {
    kind: 'string',
    on: ['http.request'],
    always: true,
    doc: 'path of the target, without the query',
  },
  octets_up: { kind: 'number', on: TUNNEL_END, always: true, doc: 'octets from the sandbox' },
  octets_down: { kind: 'number', on: TUNNEL_END, always: true, doc: 'octets to the sandbox' },
  duration_ms: { kind: 'number', on: TUNNEL_END, always: true, doc: 'how long it was open, in milliseconds' },
  'wire.protocol': { kind: 'string', on: ['wire.malformed'], always: true, doc: 'dns or http' },
  'wire.detail': {
    kind: 'string',
    on: ['wire.malformed'],
    always: true,
    doc: 'what was wrong, in a word or two',
  },
} as const satisfies Record<string, Field>;

export type FieldName = keyof typeof FIELDS;

/** The registry as a plain map, for look-ups by text that a person wrote. */
export const fieldByName: ReadonlyMap<string, Field> = new Map(Object.entries(FIELDS));
