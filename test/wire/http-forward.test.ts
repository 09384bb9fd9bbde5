// One request through the HTTP side to an origin and back, octet by octet where it matters.
import { afterEach, describe, expect, it } from 'vitest';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { open, parseAnswer, sendRaw } from '../support/http-client.ts';
import { FakeRail, refused } from '../support/fake-rail.ts';
import { createStage } from '../support/http-bench.ts';
import { until } from '../support/weir.ts';

const OK = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';
const stage = createStage();
afterEach(() => stage.close());
const { bench, raw, origin } = stage;
/** A port that nobody listens on. */
async function deadPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => {
    server.close(resolve);
  });
  return port;
}

describe('what the origin gets', () => {
  const CHUNKED = '1c\r\nGET /smuggled HTTP/1.1\r\nA: b\r\n0\r\n\r\n';
  const bodies: [name: string, headers: string, body: string, seen: RegExp][] = [
    ['no body', '', '', /\r\n\r\n$/],
    ['a length', 'Content-Length: 5\r\n', 'HELLO', /content-length: 5\r\n\r\nHELLO$/i],
    [
      'a chunk that looks like a request',
      'Transfer-Encoding: chunked\r\n',
      CHUNKED,
      /transfer-encoding: chunked\r\n\r\n1c\r\nGET \/smuggled HTTP\/1\.1\r\nA: b\r\n0\r\n\r\n$/i,
    ],
  ];
  for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND']) {
    for (const [name, headers, body, seen] of bodies) {
      it(`of ${method} with ${name} is framed, and is one request`, async () => {
        const to = await raw((socket) => socket.on('data', () => setTimeout(() => socket.end(OK), 50)));
        const weir = await bench({ ports: [to.port] });
        const host = `127.0.0.1:${to.port}`;
        const answer = parseAnswer(
          await sendRaw(
            `${method} http://${host}/x HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n${headers}\r\n${body}`,
            { proxy: weir.port },
          ),
        );
        expect(answer.status).toBe(200);
        const got = to.received();
        expect(got.startsWith(`${method} /x HTTP/1.1\r\n`)).toBe(true);
        expect(got).toMatch(seen);
        expect(weir.types()).toEqual(['http.request']);
      });
    }
  }

  it('is the path to the octet, and the headers in order and case', async () => {
    const to = await raw((socket) => socket.on('data', () => socket.end(OK)));
    const weir = await bench({ ports: [to.port] });
    const host = `127.0.0.1:${to.port}`;
    const path = "//a/../b\\c;d/%2e%2e/%C3%BC?q=1&r=//'";
    await sendRaw(
      Buffer.from(
        `GET http://${host}${path} HTTP/1.1\r\nHost: ${host}\r\nX-B: 1\r\nProxy-Authorization: Basic c2VjcmV0\r\nx-A: \xfc\r\nX-B: 2\r\nConnection: close, x-named\r\nX-Named: 1\r\n\r\n`,
        'latin1',
      ),
      { proxy: weir.port },
    );
    const [first, ...lines] = to.received().split('\r\n');
    expect(first).toBe(`GET ${path} HTTP/1.1`);
    const own = lines.filter((line) => !/^(connection|host|via):/i.test(line) && line !== '');
    expect(own).toEqual(['X-B: 1', 'x-A: \xfc', 'X-B: 2']);
    expect(lines.find((line) => /^host:/i.test(line))?.toLowerCase()).toBe(`host: ${host}`);
    expect(lines.filter((line) => /^via:/i.test(line))).toHaveLength(1);
    expect(weir.rail.events[0]).toMatchObject({
      'http.path': '//a/../b\\c;d/%2e%2e/%C3%BC',
      'dest.host': '127.0.0.1',
      'dest.suffix': '127.0.0.1',
    });
  });

  it('comes from a connection that no other VM uses', async () => {
    const sources: (number | undefined)[] = [];
    const to = await origin((request, response) => {
      sources.push(request.socket.remotePort);
      response.end('ok');
    });
    const rail = new FakeRail();
    const of = (address: string): { vm: string; profile: string; source: string } => ({
      vm: address,
      profile: 'balanced',
      source: address,
    });
    const weir = await bench({ ports: [to.port], handler: { rail, identity: { of } } });
    const ask = (from: string): Promise<string> =>
      sendRaw(
        `GET http://127.0.0.1:${to.port}/ HTTP/1.1\r\nHost: 127.0.0.1:${to.port}\r\nConnection: close\r\n\r\n`,
        { proxy: weir.port, from },
      );
    for (const from of ['127.0.0.2', '127.0.0.2', '127.0.0.3', '127.0.0.2']) await ask(from);
    expect(new Set(sources).size).toBe(2);
    expect(sources[0]).toBe(sources[1]);
    expect(sources[2]).not.toBe(sources[0]);
    expect(sources[3]).toBe(sources[0]);
  });
});

describe('each request on a connection', () => {
  it('that is pipelined is judged anew, and a refused one stays refused', async () => {
    const to = await raw((socket) =>
      socket.on('data', (chunk) => {
        for (const _ of chunk.toString().matchAll(/GET /g)) socket.write(OK);
      }),
    );
    const weir = await bench({ ports: [to.port] });
    weir.rail.script = (event) =>
      event.type === 'http.request' && event['http.path'] === '/no' ? refused() : FakeRail.ticket();
    const host = `127.0.0.1:${to.port}`;
    const get = (path: string, more = ''): string =>
      `GET http://${host}${path} HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`;
    const got = await sendRaw(
      get('/a') + get('/no') + get('/b') + get('/no') + get('/c', 'Connection: close\r\n'),
      {
        proxy: weir.port,
      },
    );
    expect([...got.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => match[1])).toEqual([
      '200',
      '429',
      '200',
      '429',
      '200',
    ]);
    expect(to.received()).not.toContain('/no');
    expect(weir.types()).toHaveLength(5);
  });

  it('to another host is another destination, looked up and judged by itself', async () => {
    const to = await origin();
    const weir = await bench({
      ports: [to.port],
      names: { 'a.example': ['127.0.0.1'], 'b.example': ['10.9.9.9'] },
    });
    const get = (host: string, more = ''): string =>
      `GET http://${host}:${to.port}/ HTTP/1.1\r\nHost: ${host}:${to.port}\r\n${more}\r\n`;
    const got = await sendRaw(
      get('a.example') + get('b.example') + get('A.Example.', 'Connection: close\r\n'),
      { proxy: weir.port },
    );
    expect([...got.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => match[1])).toEqual(['200', '403', '200']);
    expect(got).toContain(`add \\"b.example:${to.port}\\" to egress.allow`);
    expect(weir.rail.events.map((event) => ('dest.host' in event ? event['dest.host'] : ''))).toEqual([
      'a.example',
      'b.example',
      'a.example',
    ]);
    expect(weir.resolver.asked).toEqual(['a.example', 'b.example', 'a.example']);
    expect(to.requests.map((request) => request.headers.host)).toEqual([
      `a.example:${to.port}`,
      `a.example:${to.port}`,
    ]);
  });

  it('behind a CONNECT that was sent too early is not read: the connection ends', async () => {
    const to = await raw();
    const weir = await bench({ ports: [to.port] });
    const host = `127.0.0.1:${to.port}`;
    const got = await sendRaw(
      `GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\n\r\nCONNECT ${host} HTTP/1.1\r\nHost: ${host}\r\n\r\n`,
      { proxy: weir.port },
    );
    expect(parseAnswer(got).status).toBe(400);
    expect(weir.types()).toEqual(['http.request', 'wire.malformed']);
  });
});

describe('Expect: 100-continue', () => {
  const head = (port: number): string =>
    `POST http://127.0.0.1:${port}/ HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n`;

  it('is answered once the rail and the dialler have agreed, and never reaches the origin', async () => {
    const to = await raw((socket) =>
      socket.on('data', (chunk) => chunk.toString().endsWith('HELLO') && socket.end(OK)),
    );
    const weir = await bench({ ports: [to.port] });
    const socket = open({ proxy: weir.port });
    let got = '';
    socket.on('data', (chunk) => (got += chunk.toString()));
    socket.write(head(to.port));
    await until('the client may go on', () => got.includes('100 Continue'));
    expect(weir.types()).toEqual(['http.request']);
    socket.write('HELLO');
    await until('the answer', () => got.includes('200 OK'));
    expect(to.received().toLowerCase()).not.toContain('expect');
    socket.destroy();
  });

  it('of a refused request gets the refusal at once and the end of the connection', async () => {
    const to = await raw();
    const weir = await bench({ ports: [to.port] });
    weir.rail.script = () => refused({ retryAfterMs: 1500 });
    const got = await sendRaw(head(to.port), { proxy: weir.port });
    expect(got).not.toContain('100 Continue');
    const answer = parseAnswer(got);
    expect(answer.status).toBe(429);
    expect(answer.headers.get('retry-after')).toBe('2');
    expect(answer.headers.get('connection')).toBe('close');
    expect(to.connections()).toBe(0);
  });

  it('of another kind is 417', async () => {
    const weir = await bench({});
    const got = await sendRaw(
      'GET http://a.example/ HTTP/1.1\r\nHost: a.example\r\nExpect: miracles\r\n\r\n',
      { proxy: weir.port },
    );
    expect(parseAnswer(got).status).toBe(417);
    expect(weir.types()).toEqual(['wire.malformed']);
  });
});

describe('an upload', () => {
  const post = (host: string, length: number): string =>
    `POST http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${length}\r\n\r\n`;

  it('to an origin that is dead is answered, and the connection serves on', async () => {
    const dead = await deadPort();
    const to = await origin();
    const weir = await bench({ ports: [dead, to.port] });
    const next = `GET http://127.0.0.1:${to.port}/ HTTP/1.1\r\nHost: 127.0.0.1:${to.port}\r\nConnection: close\r\n\r\n`;
    const got = await sendRaw(`${post(`127.0.0.1:${dead}`, 200_000)}${'x'.repeat(200_000)}${next}`, {
      proxy: weir.port,
    });
    expect([...got.matchAll(/HTTP\/1\.1 (\d+)/g)].map((match) => match[1])).toEqual(['502', '200']);
    expect(got).toContain('connection_refused');
  });

  it('that the origin answers early is answered early, not reset', async () => {
    const to = await raw((socket) =>
      socket.once('data', () =>
        socket.end('HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig'),
      ),
    );
    const weir = await bench({ ports: [to.port] });
    const got = await sendRaw(`${post(`127.0.0.1:${to.port}`, 500_000)}${'x'.repeat(300_000)}`, {
      proxy: weir.port,
    });
    expect(parseAnswer(got)).toMatchObject({ status: 413, body: 'big' });
    expect(weir.traffic.lines).toMatchObject([{ kind: 'request', status: 413 }]);
  });

  it('goes whole to the second address when the first refuses', async () => {
    const to = await raw((socket) => {
      let length = 0;
      socket.on('data', (chunk) => {
        length += chunk.length;
        if (length > 100_000) socket.end(OK);
      });
    });
    const weir = await bench({ ports: [to.port], names: { 'two.example': ['127.0.0.9', '127.0.0.1'] } });
    const got = await sendRaw(`${post(`two.example:${to.port}`, 100_000)}${'ab'.repeat(50_000)}`, {
      proxy: weir.port,
    });
    expect(parseAnswer(got).status).toBe(200);
    expect(to.received().endsWith(`\r\n\r\n${'ab'.repeat(50_000)}`)).toBe(true);
    expect(weir.resolver.asked).toEqual(['two.example']);
    expect(weir.traffic.lines).toMatchObject([{ octets_up: 100_000, octets_down: 2 }]);
  });

  it('whose client stops in the middle gets 408 and frees the origin', async () => {
    const to = await raw((socket) => socket.on('end', () => socket.end()));
    const weir = await bench({ ports: [to.port], handler: { uploadIdleMs: 200 } });
    const got = await sendRaw(`${post(`127.0.0.1:${to.port}`, 100)}some`, { proxy: weir.port });
    expect(parseAnswer(got).status).toBe(408);
    await until('the origin is left', () => to.connections() === 0);
  });
});

describe('a kept connection that the origin has closed', () => {
  it('is replaced for a GET, once, and never for a POST', async () => {
    let serving = 0;
    const to = await raw((socket) => {
      serving += 1;
      const first = serving === 1;
      let seen = 0;
      socket.on('data', () => {
        seen += 1;
        if (first && seen > 1) socket.destroy();
        else socket.write(OK);
      });
    });
    const weir = await bench({ ports: [to.port] });
    const host = `127.0.0.1:${to.port}`;
    const send = (method: string): Promise<string> =>
      sendRaw(
        `${method} http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
        { proxy: weir.port },
      );
    expect(parseAnswer(await send('GET')).status).toBe(200);
    expect(parseAnswer(await send('GET')).status).toBe(200);
    expect(serving).toBe(2);
    serving = 0;
    const other = await bench({ ports: [to.port] });
    const again = (method: string): Promise<string> =>
      sendRaw(
        `${method} http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
        { proxy: other.port },
      );
    expect(parseAnswer(await again('POST')).status).toBe(200);
    expect(parseAnswer(await again('POST')).status).toBe(502);
    expect(serving).toBe(1);
  });
});
