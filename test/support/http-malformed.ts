// The table of malformed requests, each with the status that is documented for it. `{}` stands for the origin's port.

export interface MalformedRequest {
  readonly what: string;
  readonly text: string;
  readonly status: number;
}

const request = (line: string, ...headers: string[]): string => `${[line, ...headers].join('\r\n')}\r\n\r\n`;
const HOST = 'Host: 127.0.0.1:{}';
const URL = 'http://127.0.0.1:{}/';

export const MALFORMED: readonly MalformedRequest[] = [
  { what: 'no Host', text: request(`GET ${URL} HTTP/1.1`), status: 400 },
  { what: 'two Hosts', text: request(`GET ${URL} HTTP/1.1`, HOST, HOST), status: 400 },
  { what: 'an empty Host', text: request(`GET ${URL} HTTP/1.1`, 'Host:'), status: 400 },
  {
    what: 'a Host that differs from the target',
    text: request(`GET ${URL} HTTP/1.1`, 'Host: other.example'),
    status: 400,
  },
  {
    what: 'a Host with another port',
    text: request(`GET ${URL} HTTP/1.1`, 'Host: 127.0.0.1:81'),
    status: 400,
  },
  { what: 'origin-form: this is a proxy', text: request('GET / HTTP/1.1', HOST), status: 400 },
  { what: 'asterisk-form', text: request('OPTIONS * HTTP/1.1', HOST), status: 400 },
  {
    what: 'https in cleartext',
    text: request('GET https://127.0.0.1/ HTTP/1.1', 'Host: 127.0.0.1'),
    status: 400,
  },
  { what: 'ftp', text: request('GET ftp://127.0.0.1/ HTTP/1.1', 'Host: 127.0.0.1'), status: 400 },
  { what: 'file', text: request('GET file:///etc/passwd HTTP/1.1', 'Host: 127.0.0.1'), status: 400 },
  { what: 'an open bracket', text: request('GET http://[bad/ HTTP/1.1', 'Host: bad'), status: 400 },
  { what: 'a zone id', text: request('GET http://[::1%25eth0]/ HTTP/1.1', 'Host: x'), status: 400 },
  { what: 'an empty authority', text: request('GET http:///x HTTP/1.1', 'Host: x'), status: 400 },
  {
    what: 'credentials in the target',
    text: request('GET http://user:pw@127.0.0.1:{}/ HTTP/1.1', HOST),
    status: 400,
  },
  {
    what: 'a port above 65535',
    text: request('GET http://127.0.0.1:65536/ HTTP/1.1', 'Host: 127.0.0.1:65536'),
    status: 400,
  },
  {
    what: 'a port of 0',
    text: request('GET http://127.0.0.1:0/ HTTP/1.1', 'Host: 127.0.0.1:0'),
    status: 400,
  },
  {
    what: 'a port with letters',
    text: request('GET http://127.0.0.1:80x/ HTTP/1.1', 'Host: 127.0.0.1'),
    status: 400,
  },
  {
    what: 'a percent in the host',
    text: request('GET http://127.0.0.1%00.example/ HTTP/1.1', 'Host: x'),
    status: 400,
  },
  {
    what: 'a backslash in the authority',
    text: request('GET http://127.0.0.1\\@x/ HTTP/1.1', 'Host: x'),
    status: 400,
  },
  { what: 'a fragment', text: request(`GET ${URL}#x HTTP/1.1`, HOST), status: 400 },
  { what: 'TRACE', text: request(`TRACE ${URL} HTTP/1.1`, HOST), status: 405 },
  { what: 'CONNECT without a port', text: request('CONNECT 127.0.0.1 HTTP/1.1', HOST), status: 400 },
  { what: 'CONNECT with an empty port', text: request('CONNECT 127.0.0.1: HTTP/1.1', HOST), status: 400 },
  { what: 'CONNECT with port 0', text: request('CONNECT 127.0.0.1:0 HTTP/1.1', HOST), status: 400 },
  { what: 'CONNECT with port 65536', text: request('CONNECT 127.0.0.1:65536 HTTP/1.1', HOST), status: 400 },
  { what: 'CONNECT with port 443x', text: request('CONNECT 127.0.0.1:443x HTTP/1.1', HOST), status: 400 },
  { what: 'CONNECT with a path', text: request('CONNECT 127.0.0.1:443/x HTTP/1.1', HOST), status: 400 },
  {
    what: 'CONNECT with two Hosts',
    text: request('CONNECT 127.0.0.1:443 HTTP/1.1', HOST, HOST),
    status: 400,
  },
  {
    what: 'content-length with transfer-encoding',
    text: `${request(`POST ${URL} HTTP/1.1`, HOST, 'Content-Length: 5', 'Transfer-Encoding: chunked')}0\r\n\r\n`,
    status: 400,
  },
  {
    what: 'two content-lengths',
    text: `${request(`POST ${URL} HTTP/1.1`, HOST, 'Content-Length: 5', 'Content-Length: 6')}hello`,
    status: 400,
  },
  {
    what: 'a content-length with a sign',
    text: `${request(`POST ${URL} HTTP/1.1`, HOST, 'Content-Length: +5')}hello`,
    status: 400,
  },
  {
    what: 'a list of content-lengths',
    text: `${request(`POST ${URL} HTTP/1.1`, HOST, 'Content-Length: 5, 5')}hello`,
    status: 400,
  },
  {
    what: 'a content-length in hex',
    text: `${request(`POST ${URL} HTTP/1.1`, HOST, 'Content-Length: 0x5')}hello`,
    status: 400,
  },
  {
    what: 'transfer-encoding gzip, chunked',
    text: `${request(`POST ${URL} HTTP/1.1`, HOST, 'Transfer-Encoding: gzip, chunked')}0\r\n\r\n`,
    status: 400,
  },
  {
    what: 'transfer-encoding xchunked',
    text: `${request(`POST ${URL} HTTP/1.1`, HOST, 'Transfer-Encoding: xchunked')}0\r\n\r\n`,
    status: 400,
  },
  {
    what: 'transfer-encoding twice',
    text: `${request(`POST ${URL} HTTP/1.1`, HOST, 'Transfer-Encoding: chunked', 'Transfer-Encoding: chunked')}0\r\n\r\n`,
    status: 400,
  },
  {
    what: 'transfer-encoding in HTTP/1.0',
    text: `${request(`POST ${URL} HTTP/1.0`, HOST, 'Transfer-Encoding: chunked')}0\r\n\r\n`,
    status: 400,
  },
  { what: 'a bare line feed', text: `GET ${URL} HTTP/1.1\n${HOST}\n\n`, status: 400 },
  { what: 'a folded header', text: request(`GET ${URL} HTTP/1.1`, HOST, 'X-A: 1', ' folded'), status: 400 },
  { what: 'a blank before the colon', text: request(`GET ${URL} HTTP/1.1`, 'Host : 127.0.0.1'), status: 400 },
  { what: 'a NUL in a header', text: request(`GET ${URL} HTTP/1.1`, HOST, 'X-A: a\0b'), status: 400 },
  {
    what: '64 KB of headers',
    text: request(
      `GET ${URL} HTTP/1.1`,
      HOST,
      ...Array.from({ length: 64 }, (_, i) => `X-${i}: ${'a'.repeat(1000)}`),
    ),
    status: 431,
  },
  {
    what: '300 headers',
    text: request(`GET ${URL} HTTP/1.1`, HOST, ...Array.from({ length: 300 }, (_, i) => `X-${i}: a`)),
    status: 431,
  },
  { what: 'the HTTP/2 preface', text: 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', status: 400 },
  {
    what: 'no HTTP at all',
    text: '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 tls hello\r\n\r\n',
    status: 400,
  },
  {
    what: 'a WebSocket upgrade',
    text: request(`GET ${URL} HTTP/1.1`, HOST, 'Connection: Upgrade', 'Upgrade: websocket'),
    status: 501,
  },
];
