import { describe, expect, it } from 'vitest';
import {
  crowdedAnswer,
  failureAnswer,
  malformedAnswer,
  rawAnswer,
  refusalAnswer,
} from '../../../src/http/enforce.ts';
import type { OwnAnswer } from '../../../src/http/enforce.ts';
import { REASONS } from '../../../src/rail/decision.ts';
import type { RefusalReason } from '../../../src/rail/index.ts';
import { refused, SUBJECT } from '../../support/fake-rail.ts';

const header = (answer: OwnAnswer, name: string): string | undefined =>
  answer.headers.find(([key]) => key === name)?.[1];

describe('a refusal', () => {
  const table: Record<RefusalReason, [status: number, proxyError: string]> = {
    blocked: [403, 'http_request_denied'],
    rate_limited: [429, 'http_request_error'],
    budget_exhausted: [403, 'http_request_denied'],
    too_many: [429, 'connection_limit_reached'],
    state_full: [503, 'proxy_internal_error'],
    unknown_vm: [403, 'http_request_denied'],
    rail_error: [503, 'proxy_internal_error'],
  };
  it.each(Object.entries(table) as [RefusalReason, [number, string]][])(
    'by reason of %s has its status, its problem and its Proxy-Status',
    (reason, [status, proxyError]) => {
      const answer = refusalAnswer(refused({ reason, message: 'why' }), SUBJECT);
      expect(answer.status).toBe(status);
      expect(JSON.parse(answer.body)).toMatchObject({
        status,
        code: reason,
        detail: 'why',
        rule: 'rule-a',
        id: '01hzzzzzzzzzzzzzzzzzzzzzzz',
        vm: 'vm-a',
      });
      expect(header(answer, 'Proxy-Status')).toBe(`weir; error=${proxyError}; details="rule rule-a"`);
      expect(header(answer, 'Content-Type')).toBe('application/problem+json');
      expect(header(answer, 'Cache-Control')).toBe('no-store');
      expect(header(answer, 'X-Weir-Reason')).toBe('rule-a');
      expect(header(answer, 'Content-Length')).toBe(String(Buffer.byteLength(answer.body)));
    },
  );

  it('has a row for every reason', () => {
    expect(Object.keys(table).toSorted()).toEqual(REASONS.filter((r) => r !== 'allowed').toSorted());
  });

  it.each([
    [0, '1'],
    [1, '1'],
    [1000, '1'],
    [1001, '2'],
    [59_999, '60'],
  ])(
    'whose limit has room in %i ms says Retry-After: %s, so that waiting it succeeds',
    (retryAfterMs, text) => {
      const answer = refusalAnswer(refused({ retryAfterMs, limit: { max: 600, windowMs: 60_000 } }), SUBJECT);
      expect(header(answer, 'Retry-After')).toBe(text);
      expect(header(answer, 'RateLimit-Policy')).toBe('"rule-a";q=600;w=60');
      expect(header(answer, 'RateLimit')).toBe(`"rule-a";r=0;t=${text}`);
    },
  );

  it.each(['too_many', 'budget_exhausted', 'blocked', 'state_full'] as const)(
    'by reason of %s promises nothing about time',
    (reason) => {
      const answer = refusalAnswer(refused({ reason }), SUBJECT);
      expect(header(answer, 'Retry-After')).toBeUndefined();
    },
  );

  it('takes the status that its rule asks for', () => {
    const answer = refusalAnswer(refused({ reason: 'budget_exhausted', answer: { http: 429 } }), SUBJECT);
    expect(answer.status).toBe(429);
    expect(JSON.parse(answer.body)).toMatchObject({ status: 429 });
  });
});

describe('an answer of weir', () => {
  it('can’t be broken out of by what it quotes', () => {
    const answer = failureAnswer('dns_error', 'a "b" \\ c\r\nX-Evil: 1\u2028ü', 'X"\r\n');
    const text = header(answer, 'Proxy-Status') ?? '';
    expect(text).toBe('weir; error=dns_error; rcode="X\\"??"; details="a \\"b\\" \\\\ c??X-Evil: 1??"');
    expect(JSON.parse(answer.body)).toMatchObject({ code: 'dns_error', status: 502 });
  });

  it('as octets closes, and its length is true', () => {
    const raw = rawAnswer(malformedAnswer(400, 'an en dash – and ü'));
    const [head = '', body = ''] = raw.split('\r\n\r\n');
    expect(head.split('\r\n')[0]).toBe('HTTP/1.1 400 Bad Request');
    expect(head).toContain('\r\nConnection: close');
    expect(head).toContain(`Content-Length: ${Buffer.byteLength(body)}`);
  });

  it('to a method that is not served names those that are', () => {
    expect(header(malformedAnswer(405, 'no'), 'Allow')).toContain('CONNECT');
    expect(header(malformedAnswer(400, 'no'), 'Allow')).toBeUndefined();
  });

  it('to too many connections is 429 for who has them and 503 for the rest, of true length', () => {
    for (const [answer, status] of [
      [crowdedAnswer(false), 429],
      [crowdedAnswer(true), 503],
    ] as const) {
      expect(answer.status).toBe(status);
      expect(JSON.parse(answer.body)).toMatchObject({ status });
      expect(header(answer, 'Content-Length')).toBe(String(Buffer.byteLength(answer.body)));
    }
  });
});
