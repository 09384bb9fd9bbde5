// From a refusal to HTTP: the one table of DESIGN.md section 6 for this protocol, and the one shape of every answer that weir itself
// gives. Pure; a new reason doesn't compile until it has a row here.
import type { EgressFailure } from '../egress/dial.ts';
import type { RefusalReason, Refused, Subject } from '../rail/index.ts';

/** An answer of weir's own. */
export interface OwnAnswer {
  readonly status: number;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: string;
  /** The word for the log. */
  readonly error: string;
}

interface Row {
  readonly status: number;
  readonly code: string;
  readonly title: string;
  /** RFC 9209. */
  readonly proxyError: string;
  readonly retry: boolean;
}

const TABLE = {
  blocked: {
    status: 403,
    code: 'blocked',
    title: 'Blocked by a rule',
    proxyError: 'http_request_denied',
    retry: false,
  },
  rate_limited: {
    status: 429,
    code: 'rate_limited',
    title: 'Rate limit exceeded',
    proxyError: 'http_request_error',
    retry: true,
  },
  budget_exhausted: {
    status: 403,
    code: 'budget_exhausted',
    title: 'Budget exhausted',
    proxyError: 'http_request_denied',
    retry: false,
  },
  too_many: {
    status: 429,
    code: 'too_many',
    title: 'Too many at once',
    proxyError: 'connection_limit_reached',
    retry: false,
  },
  state_full: {
    status: 503,
    code: 'state_full',
    title: 'No room to count this',
    proxyError: 'proxy_internal_error',
    retry: false,
  },
  unknown_vm: {
    status: 403,
    code: 'unknown_vm',
    title: 'Unknown source',
    proxyError: 'http_request_denied',
    retry: false,
  },
  rail_error: {
    status: 503,
    code: 'rail_error',
    title: 'Internal error',
    proxyError: 'proxy_internal_error',
    retry: false,
  },
} as const satisfies Record<RefusalReason, Row>;

/** RFC 9457 problem types that have a registered meaning (draft-ietf-httpapi-ratelimit-headers). */
const QUOTA_EXCEEDED = 'https://iana.org/assignments/http-problem-types#quota-exceeded';

/** Text as a structured-field string (RFC 9651): printable ASCII, quotes and backslashes escaped. */
const quoted = (text: string): string =>
  `"${text.replaceAll(/[^\x20-\x7e]/g, '?').replaceAll(/["\\]/g, '\\$&')}"`;

const proxyStatus = (error: string, details: string, more = ''): [string, string] => [
  'Proxy-Status',
  `weir; error=${error}${more}; details=${quoted(details)}`,
];

function answer(
  status: number,
  problem: Readonly<Record<string, unknown>>,
  headers: readonly (readonly [string, string])[],
  error: string,
): OwnAnswer {
  const body = `${JSON.stringify(problem)}\n`;
  const common: [string, string][] = [
    ['Content-Type', 'application/problem+json'],
    ['Content-Length', String(Buffer.byteLength(body))],
    ['Cache-Control', 'no-store'],
  ];
  return { status, headers: [...common, ...headers], body, error };
}

/** The answer to a request or CONNECT that the rail refused. Retry-After is rounded up: waiting that long succeeds. */
export function refusalAnswer(refused: Refused, subject: Subject): OwnAnswer {
  const row = TABLE[refused.reason];
  const status = refused.answer?.http ?? row.status;
  const retryS =
    refused.retryAfterMs === undefined ? undefined : Math.max(1, Math.ceil(refused.retryAfterMs / 1000));
  const headers: [string, string][] = [
    proxyStatus(row.proxyError, `rule ${refused.rule}`),
    ['X-Weir-Reason', refused.rule],
    ['X-Weir-Id', refused.id],
  ];
  if (row.retry && retryS !== undefined) {
    headers.push(['Retry-After', String(retryS)]);
    if (refused.limit !== undefined) {
      const { max, windowMs } = refused.limit;
      headers.push([
        'RateLimit-Policy',
        `${quoted(refused.rule)};q=${Math.floor(max)};w=${Math.ceil(windowMs / 1000)}`,
      ]);
      headers.push(['RateLimit', `${quoted(refused.rule)};r=0;t=${retryS}`]);
    }
  }
  const problem = {
    type: row.retry ? QUOTA_EXCEEDED : 'about:blank',
    title: row.title,
    status,
    detail: refused.message,
    code: row.code,
    rule: refused.rule,
    ...(row.retry ? { 'violated-policies': refused.determinedBy } : {}),
    vm: subject.vm,
    id: refused.id,
    ...(row.retry && refused.retryAfterMs !== undefined ? { retry_after_ms: refused.retryAfterMs } : {}),
  };
  return answer(status, problem, headers, row.code);
}

interface FailureRow {
  readonly status: number;
  readonly title: string;
  readonly proxyError: string;
}

const FAILURES = {
  port_not_allowed: { status: 403, title: 'Port not allowed', proxyError: 'http_request_denied' },
  destination_ip_prohibited: {
    status: 403,
    title: 'Destination address refused',
    proxyError: 'destination_ip_prohibited',
  },
  dns_error: { status: 502, title: 'Name not found', proxyError: 'dns_error' },
  dns_timeout: { status: 504, title: 'Name look-up timed out', proxyError: 'dns_timeout' },
  connection_refused: {
    status: 502,
    title: 'Connection refused by the destination',
    proxyError: 'connection_refused',
  },
  connection_timeout: { status: 504, title: 'Connection timed out', proxyError: 'connection_timeout' },
  connection_terminated: {
    status: 502,
    title: 'Connection ended early',
    proxyError: 'connection_terminated',
  },
  destination_ip_unroutable: {
    status: 502,
    title: 'No route to the destination',
    proxyError: 'destination_ip_unroutable',
  },
  http_response_timeout: {
    status: 504,
    title: 'The destination did not answer in time',
    proxyError: 'http_response_timeout',
  },
  http_protocol_error: {
    status: 502,
    title: 'The destination’s answer is not HTTP',
    proxyError: 'http_protocol_error',
  },
  http_response_header_section_size: {
    status: 502,
    title: 'The answer’s headers are too large',
    proxyError: 'http_response_header_section_size',
  },
  proxy_loop_detected: { status: 502, title: 'Loop', proxyError: 'proxy_loop_detected' },
  http_request_error: { status: 400, title: 'Bad request', proxyError: 'http_request_error' },
  request_timeout: { status: 408, title: 'The request took too long', proxyError: 'http_request_error' },
  connection_write_timeout: {
    status: 504,
    title: 'The destination takes no more',
    proxyError: 'connection_write_timeout',
  },
  connection_limit_reached: {
    status: 503,
    title: 'Too many connections',
    proxyError: 'connection_limit_reached',
  },
} as const satisfies Record<EgressFailure['error'], FailureRow> & Record<string, FailureRow>;

export type FailureWord = keyof typeof FAILURES;

/** The answer to a connection past the limit: of one source, or of all. */
export function crowdedAnswer(all: boolean): OwnAnswer {
  const answer = failureAnswer(
    'connection_limit_reached',
    all ? 'too many connections' : 'too many connections from this source',
  );
  // Whoever caused it gets 429, everybody else 503.
  return all ? answer : { ...answer, status: 429, body: answer.body.replace('"status":503', '"status":429') };
}

/** The answer when the destination can't be had. */
export function failureAnswer(error: FailureWord, detail: string, rcode?: string): OwnAnswer {
  const row = FAILURES[error];
  const headers = [
    proxyStatus(row.proxyError, detail, rcode === undefined ? '' : `; rcode=${quoted(rcode)}`),
  ];
  const reason: [string, string] = ['X-Weir-Reason', error];
  return answer(
    row.status,
    { type: 'about:blank', title: row.title, status: row.status, detail, code: error },
    [...headers, reason],
    error,
  );
}

const MALFORMED_TITLES: Readonly<Record<number, string>> = {
  400: 'Bad request',
  405: 'Method not served',
  408: 'The request took too long',
  417: 'Expectation not met',
  431: 'Headers too large',
  501: 'Not served',
  505: 'HTTP version not served',
};

const METHODS = 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, CONNECT';

/** The answer to a request that can't be understood, or is never served. */
export function malformedAnswer(status: number, detail: string): OwnAnswer {
  const title = MALFORMED_TITLES[status] ?? 'Bad request';
  const headers: [string, string][] = [
    proxyStatus('http_request_error', detail),
    ['X-Weir-Reason', 'malformed'],
  ];
  if (status === 405) headers.push(['Allow', METHODS]);
  return answer(
    status,
    { type: 'about:blank', title, status, detail, code: 'malformed' },
    headers,
    'malformed',
  );
}

/** An answer as octets, for a socket that has no response object: CONNECT and what the parser refused. Closes. */
export function rawAnswer(own: OwnAnswer): string {
  const head = own.headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  return `HTTP/1.1 ${own.status} ${STATUS_TEXT[own.status] ?? 'Error'}\r\n${head}Connection: close\r\n\r\n${own.body}`;
}

const STATUS_TEXT: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  403: 'Forbidden',
  405: 'Method Not Allowed',
  408: 'Request Timeout',
  417: 'Expectation Failed',
  429: 'Too Many Requests',
  431: 'Request Header Fields Too Large',
  501: 'Not Implemented',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
  505: 'HTTP Version Not Supported',
};
