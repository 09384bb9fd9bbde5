// What the client gets back: an origin's answer without what is not for it, or weir's own where there is none to be had.
import { afterEach, describe, expect, it } from 'vitest';
import { parseAnswer, sendRaw } from '../support/http-client.ts';
import { createStage } from '../support/http-bench.ts';
import type { HttpBench } from '../support/http-bench.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const stage = createStage();
afterEach(() => stage.close());
const { bench, raw } = stage;

describe('an answer', () => {
  const through = async (text: string | Buffer): Promise<string> => {
    const to = await raw((socket) => socket.on('data', () => socket.end(text)));
    const weir = await bench({ ports: [to.port] });
    const host = `127.0.0.1:${to.port}`;
    return sendRaw(`GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`, {
      proxy: weir.port,
    });
  };

  it('keeps its headers in order and case, and loses what is hop by hop or poses as weir', async () => {
    const got = await through(
      'HTTP/1.1 203 Odd Phrase\r\nSet-Cookie: a\r\nX-WEIR-Reason: fake\r\nset-cookie: b\r\nKeep-Alive: timeout=5\r\nConnection: x-hop\r\nX-Hop: 1\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 2\r\n\r\nok',
    );
    const [first, ...lines] = got.slice(0, got.indexOf('\r\n\r\n')).split('\r\n');
    expect(first).toBe('HTTP/1.1 203 Odd Phrase');
    expect(lines.filter((line) => !/^(via|connection):/i.test(line))).toEqual([
      'Set-Cookie: a',
      'set-cookie: b',
      'Date: Sun, 06 Nov 1994 08:49:37 GMT',
      'Content-Length: 2',
    ]);
  });

  it('loses its interim answers and its trailers', async () => {
    const got = await through(
      'HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n\r\n2\r\nok\r\n0\r\nX-T: 1\r\n\r\n',
    );
    expect(got).not.toMatch(/Processing|Early Hints|X-T/i);
    expect(parseAnswer(got).status).toBe(200);
    expect(got).toContain('\r\n\r\n2\r\nok\r\n0\r\n\r\n');
  });

  it('that never comes for all its interim answers is 502', async () => {
    const got = await through('HTTP/1.1 102 Processing\r\n\r\n'.repeat(1000));
    expect(parseAnswer(got).status).toBe(502);
  });

  it('with a reason phrase beyond ASCII is passed on without it', async () => {
    const got = await through(Buffer.from('HTTP/1.1 200 Schön\r\nContent-Length: 0\r\n\r\n', 'utf8'));
    expect(got.split('\r\n', 1)[0]?.trim()).toBe('HTTP/1.1 200');
  });

  it('that ends with the connection is passed on whole', async () => {
    const got = await through(`HTTP/1.0 200 OK\r\n\r\n${'y'.repeat(300_000)}`);
    expect(parseAnswer(got).body.replaceAll(/[^y]/g, '')).toHaveLength(300_000);
  });

  it('that does not come in time is 504', async () => {
    const to = await raw();
    const weir = await bench({ ports: [to.port], handler: { responseMs: 300 } });
    const host = `127.0.0.1:${to.port}`;
    const got = await sendRaw(
      `GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
      { proxy: weir.port },
      5000,
    );
    expect(parseAnswer(got).status).toBe(504);
    expect(got).toContain('http_response_timeout');
  });
});

describe('a loop', () => {
  it('is 502: what comes back with our own Via is not sent around again', async () => {
    const to = await raw((socket) => socket.on('data', () => socket.end(OK)));
    const weir = await bench({ ports: [to.port] });
    const host = `127.0.0.1:${to.port}`;
    const send = (via: string): Promise<string> =>
      sendRaw(
        `GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nVia: 1.1 other, ${via}\r\nConnection: close, via\r\n\r\n`,
        { proxy: weir.port },
      );
    expect(parseAnswer(await send('1.1 another')).status).toBe(200);
    const pseudonym = /1\.1 (weir-[0-9a-f]+)/.exec(to.received())?.[1] ?? '';
    const answer = parseAnswer(await send(`1.1 ${pseudonym}`));
    expect(answer.status).toBe(502);
    expect(answer.headers.get('proxy-status')).toContain('error=proxy_loop_detected');
  });
});

describe('a protocol that is not HTTP/1.0 or 1.1', () => {
  const send = (weir: HttpBench, text: string): Promise<string> => sendRaw(text, { proxy: weir.port });

  it('offered as h2c is ignored: the request goes on without the offer', async () => {
    const to = await raw((socket) => socket.on('data', () => socket.end(OK)));
    const weir = await bench({ ports: [to.port] });
    const host = `127.0.0.1:${to.port}`;
    const got = await send(
      weir,
      `GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n`,
    );
    expect(parseAnswer(got).status).toBe(200);
    expect(to.received()).not.toMatch(/upgrade|h2c|http2-settings/i);
  });

  it.each([
    ['websocket', 501],
    ['h2c, foo/2', 501],
    ['TLS/1.0', 501],
  ])('asked for by Upgrade: %s is %i', async (protocol, status) => {
    const weir = await bench({});
    const got = await send(
      weir,
      `GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: ${protocol}\r\n\r\n`,
    );
    expect(parseAnswer(got).status).toBe(status);
    expect(weir.types()).toEqual(['wire.malformed']);
  });

  it.each([
    ['GET http://a.example/ HTTP/2.0\r\nHost: a.example\r\n\r\n', 505],
    ['GET http://a.example/ HTTP/0.9\r\nHost: a.example\r\n\r\n', 505],
    ['PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0', 400],
    ['GET http://a.example/\r\n\r\n', 505],
    ['\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03', 400],
    ['BREW http://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n', 400],
  ])('in %j is %i, counted once', async (text, status) => {
    const weir = await bench({});
    expect(parseAnswer(await send(weir, text)).status).toBe(status);
    expect(weir.types()).toEqual(['wire.malformed']);
  });

  it('but 1.0 is served, without Host and without chunks, and then the connection ends', async () => {
    const to = await raw((socket) =>
      socket.on('data', () =>
        socket.end('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n'),
      ),
    );
    const weir = await bench({ ports: [to.port] });
    const got = await send(weir, `GET http://127.0.0.1:${to.port}/ HTTP/1.0\r\n\r\n`);
    expect(parseAnswer(got)).toMatchObject({ status: 200, body: 'ok' });
    expect(to.received()).toMatch(/^GET \/ HTTP\/1\.1\r\nhost: 127\.0\.0\.1/i);
  });
});
