import { describe, expect, it } from 'vitest';
import {
  parseAuthority,
  parseConnect,
  parseTarget,
  requestHeaders,
  responseHeaders,
} from '../../../src/http/wire.ts';

const head = (url: string, ...rawHeaders: string[]): Parameters<typeof parseTarget>[0] => ({
  method: 'GET',
  url,
  httpVersion: '1.1',
  rawHeaders,
});
const hostOf = (authority: string): string => {
  const parsed = parseAuthority(authority, 80);
  return parsed.ok ? parsed.destination.host : `refused: ${parsed.detail}`;
};

describe('a target', () => {
  it.each([
    ['2130706433', '127.0.0.1'],
    ['0x7f000001', '127.0.0.1'],
    ['0177.0.0.1', '127.0.0.1'],
    ['127.1', '127.0.0.1'],
    ['127.0.0.1.', '127.0.0.1'],
    ['①②⑦.⓪.⓪.①', '127.0.0.1'],
    ['[::FFFF:127.0.0.1]', '127.0.0.1'],
    ['EXAMPLE.com.', 'example.com'],
    ['bücher.example', 'xn--bcher-kva.example'],
    ['under_score.example', 'under_score.example'],
  ])('%s is read as %s, before anything judges it', (written, read) => expect(hostOf(written)).toBe(read));

  it.each([
    '',
    'a b',
    'a%41',
    'a@b',
    'a\\b',
    '[::1%25lo]',
    '[bad',
    'a..b',
    'a'.repeat(300),
    '1.2.3.4.5',
    '256.1.1.1',
  ])('%j is refused', (written) => expect(hostOf(written)).toMatch(/^refused/));

  it('keeps its path to the octet', () => {
    for (const path of ['/', '//a//b', '/a/../b', '/%2e%2e/', '/a;b?c=d&e', '/a\\b', '/ü'.normalize()]) {
      const parsed = parseTarget(head(`http://h.example${path}`, 'Host', 'h.example'));
      expect(parsed.ok && parsed.target.path).toBe(path);
    }
    const bare = parseTarget(head('http://h.example?q', 'Host', 'h.example'));
    expect(bare.ok && bare.target.path).toBe('/?q');
  });

  it('of a CONNECT needs its port', () => {
    expect(parseConnect(head('h.example', 'Host', 'h.example'))).toMatchObject({
      ok: false,
      detail: 'a port is missing',
    });
    expect(parseConnect(head('[2001:db8::1]:443', 'Host', 'x'))).toEqual({
      ok: true,
      destination: { host: '2001:db8::1', port: 443 },
    });
    expect(parseConnect(head('[2001:db8::1]', 'Host', 'x'))).toMatchObject({ ok: false });
  });
});

describe('headers', () => {
  const target = { host: 'h.example', port: 8080, path: '/' };

  it('for the origin lose what is hop by hop, what Connection names and what can be forged, and keep order and case', () => {
    const raw = [
      'HOST',
      'h.example:8080',
      'Proxy-Authorization',
      'Basic x',
      'X-First',
      '1',
      'Connection',
      'close, X-Named',
      'X-Named',
      'gone',
      'TE',
      'trailers',
      'Trailer',
      'X',
      'Keep-Alive',
      '5',
      'Upgrade',
      'h2c',
      'X-Forwarded-For',
      '10.0.0.1',
      'Forwarded',
      'for=x',
      'Expect',
      '100-continue',
      'Proxy-Connection',
      'keep-alive',
      'x-first',
      '2',
      'Content-Length',
      '0',
    ];
    expect(requestHeaders(head('', ...raw), target, 'weir-1')).toEqual([
      'Host',
      'h.example:8080',
      'X-First',
      '1',
      'x-first',
      '2',
      'Content-Length',
      '0',
      'Via',
      '1.1 weir-1',
    ]);
  });

  it('that a message can’t do without are kept, though Connection names them', () => {
    const raw = [
      'Connection',
      'host, content-length, authorization, X-Gone',
      'Content-Length',
      '5',
      'Authorization',
      'a',
      'X-Gone',
      '1',
    ];
    expect(requestHeaders(head('', ...raw), target, 'weir-1')).toEqual([
      'Host',
      'h.example:8080',
      'Content-Length',
      '5',
      'Authorization',
      'a',
      'Via',
      '1.1 weir-1',
    ]);
  });

  it('for the client lose what is hop by hop', () => {
    const raw = [
      'Transfer-Encoding',
      'chunked',
      'Set-Cookie',
      'a',
      'Set-Cookie',
      'b',
      'Proxy-Authenticate',
      'x',
      'Keep-Alive',
      '1',
    ];
    expect(responseHeaders(raw, 'weir-1')).toEqual([
      'Set-Cookie',
      'a',
      'Set-Cookie',
      'b',
      'Via',
      '1.1 weir-1',
    ]);
  });
});
