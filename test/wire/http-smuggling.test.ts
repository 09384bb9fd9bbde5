// Requests whose end two readers could see at different places, sent to an origin that records octets: nothing that the rail did not
// judge may ever arrive as a request. And what the log must never hold.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sendRaw } from '../support/http-client.ts';
import { startHttp } from '../support/http-bench.ts';
import type { HttpBench } from '../support/http-bench.ts';
import { startRawOrigin } from '../support/http-origin.ts';
import type { RawOrigin } from '../support/http-origin.ts';

let origin: RawOrigin;
let weir: HttpBench;
beforeAll(async () => {
  origin = await startRawOrigin((socket) =>
    socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')),
  );
  weir = await startHttp({ ports: [origin.port] });
});
afterAll(async () => {
  await weir.close();
  origin.close();
});

const SMUGGLED = 'GET /smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n';
const CHUNKS = `0\r\n\r\n${SMUGGLED}`;
const POISON: [what: string, headers: string, rest: string][] = [
  ['CL.TE', 'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n', CHUNKS],
  ['TE.CL', 'Transfer-Encoding: chunked\r\nContent-Length: 4\r\n', CHUNKS],
  ['TE.TE', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n', CHUNKS],
  ['TE with a tab', 'Transfer-Encoding:\tchunked\r\nContent-Length: 4\r\n', CHUNKS],
  ['TE in capitals with CL', 'TRANSFER-ENCODING: chunked\r\nContent-Length: 4\r\n', CHUNKS],
  ['TE identity', 'Transfer-Encoding: identity\r\nContent-Length: 4\r\n', CHUNKS],
  ['TE chunked twice in one line', 'Transfer-Encoding: chunked, chunked\r\n', CHUNKS],
  ['TE with a quote', 'Transfer-Encoding: "chunked"\r\n', CHUNKS],
  ['TE behind a blank', 'Transfer-Encoding : chunked\r\n', CHUNKS],
  ['TE behind a vertical tab', 'Transfer-Encoding:\x0bchunked\r\n', CHUNKS],
  ['TE folded', 'Transfer-Encoding:\r\n chunked\r\n', CHUNKS],
  ['TE behind a bare line feed', 'X: y\nTransfer-Encoding: chunked\r\n', CHUNKS],
  ['TE behind a bare carriage return', 'X: y\rTransfer-Encoding: chunked\r\n', CHUNKS],
  ['two lengths', 'Content-Length: 0\r\nContent-Length: 44\r\n', SMUGGLED],
  ['a length with a sign', 'Content-Length: +0\r\n', SMUGGLED],
  ['a length in hex', 'Content-Length: 0x0\r\n', SMUGGLED],
  ['a length of two values', 'Content-Length: 0, 44\r\n', SMUGGLED],
  ['an endless length', `Content-Length: ${'9'.repeat(40)}\r\n`, SMUGGLED],
  ['a negative length', 'Content-Length: -1\r\n', SMUGGLED],
];

describe('an ambiguous request', () => {
  for (const method of ['GET', 'POST', 'DELETE', 'OPTIONS']) {
    it.each(POISON)(
      `${method} with %s is refused whole: neither it nor what hides in it arrives`,
      async (_, headers, rest) => {
        const before = origin.received().length;
        const events = weir.rail.events.length;
        const host = `127.0.0.1:${origin.port}`;
        const got = await sendRaw(
          `${method} http://${host}/ HTTP/1.1\r\nHost: ${host}\r\n${headers}\r\n${rest}`,
          { proxy: weir.port },
        );
        expect([...got.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => match[1])).toEqual(['400']);
        expect(origin.received().slice(before)).toBe('');
        expect(weir.types().slice(events)).toEqual(['wire.malformed']);
      },
    );
  }

  it.each([
    ['a chunk size that overflows', 'ffffffffffffffffff\r\nabc'],
    ['a chunk without its end', '3\r\nabcXX0\r\n\r\n'],
    ['a chunk size with a sign', '-3\r\nabc\r\n'],
    ['a chunk size in words', 'three\r\nabc\r\n'],
    ['a chunk extension without end', `3;${'x'.repeat(70_000)}`],
    ['a chunk ended by a bare line feed', '3\nabc\n0\n\n'],
  ])('with %s never ends at the origin', async (_, chunks) => {
    const before = origin.received().length;
    const host = `127.0.0.1:${origin.port}`;
    await sendRaw(
      `POST http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}${SMUGGLED}`,
      { proxy: weir.port },
      1000,
    );
    const arrived = origin.received().slice(before);
    expect(arrived).not.toContain('/smuggled');
    expect(arrived).not.toContain('\r\n0\r\n\r\n');
    expect(arrived.match(/HTTP\/1\.1\r\n/g)?.length ?? 0).toBeLessThanOrEqual(1);
  });
});

describe('the log', () => {
  it('holds no query, no header, no credentials, and no octet that could act on a terminal', async () => {
    const host = `127.0.0.1:${origin.port}`;
    weir.traffic.lines.length = 0;
    const secret = 's3cr3t';
    await sendRaw(
      `GET http://${host}/a\tb?key=${secret} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
      { proxy: weir.port },
    );
    await sendRaw(
      `GET http://${host}/${'p'.repeat(1000)}?key=${secret} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: ${secret}\r\nCookie: ${secret}\r\nProxy-Authorization: Basic ${secret}\r\nConnection: close\r\n\r\n`,
      { proxy: weir.port },
    );
    await sendRaw(`GET http://u:${secret}@${host}/ HTTP/1.1\r\nHost: ${host}\r\n\r\n`, { proxy: weir.port });
    await sendRaw(`CONNECT u:${secret}@${host} HTTP/1.1\r\nHost: ${host}\r\n\r\n`, { proxy: weir.port });
    const text = JSON.stringify(weir.traffic.lines);
    expect(text).not.toContain(secret);
    const acting = [...text].filter((c) => c < ' ' || (c >= '\u007f' && c <= '\u009f'));
    expect(acting).toEqual([]);
    const paths = weir.traffic.lines.flatMap((line) =>
      typeof line['path'] === 'string' ? [line['path']] : [],
    );
    expect(paths.every((path) => path.length <= 260)).toBe(true);
    expect(JSON.stringify(weir.rail.events.slice(-4))).not.toContain(secret);
  });
});
