// Patience and room of the HTTP side: back-pressure, slow and absent peers, connection limits, the stop.
import { afterEach, describe, expect, it } from 'vitest';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { open, parseAnswer, sendRaw } from '../support/http-client.ts';
import { FakeRail, refused } from '../support/fake-rail.ts';
import { createStage, startHttp } from '../support/http-bench.ts';
import type { BenchOptions, HttpBench } from '../support/http-bench.ts';
import { until } from '../support/weir.ts';

const MIB = 1_048_576;
const stage = createStage();
afterEach(() => stage.close());
const { raw, origin } = stage;
/** Every event has a ticket: closing the stage fails when one is left open. */
const bench = (options: BenchOptions): Promise<HttpBench> => stage.bench(options, () => FakeRail.ticket());
const pause = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
/** Waits until a count stands still, and returns it. */
async function settled(count: () => number): Promise<number> {
  let before = -1;
  while (before !== count()) {
    before = count();
    await pause(250);
  }
  return before;
}
const get = (port: number, path = '/', more = ''): string =>
  `GET http://127.0.0.1:${port}${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\n${more}\r\n`;

describe('back-pressure', () => {
  it('holds up an origin whose client does not read, and goes on when it does', async () => {
    const total = 192 * MIB;
    const chunk = Buffer.alloc(65_536, 120);
    let sent = 0;
    const to = await origin((_request, response) => {
      response.writeHead(200, { 'content-length': total });
      const fill = (): void => {
        while (sent < total) {
          sent += chunk.length;
          if (!response.write(chunk)) return;
        }
        response.end();
      };
      response.on('drain', fill);
      fill();
    });
    const weir = await bench({ ports: [to.port] });
    const socket = open({ proxy: weir.port });
    socket.write(get(to.port));
    await until('it began', () => sent > 0);
    socket.pause();
    expect(await settled(() => sent)).toBeLessThan(64 * MIB);
    let got = 0;
    socket.on('data', (part) => (got += part.length));
    socket.resume();
    await until('all of it', () => got > total, 30_000);
    socket.destroy();
    await until('the line', () => weir.traffic.lines.length === 1);
    expect(weir.traffic.lines).toMatchObject([{ octets_down: total, status: 200 }]);
    expect(weir.traffic.lines[0]).not.toHaveProperty('error');
  });

  it('holds up a client whose origin does not read, and frees both though the client left unseen', async () => {
    const to = await raw((socket) => socket.pause());
    const weir = await bench({ ports: [to.port], handler: { uploadIdleMs: 1500 } });
    const chunk = Buffer.alloc(65_536, 120);
    let sent = 0;
    const socket = open({ proxy: weir.port });
    const fill = (): void => {
      while (sent < 192 * MIB) {
        sent += chunk.length;
        if (!socket.write(chunk)) return;
      }
    };
    socket.write(
      `PUT http://127.0.0.1:${to.port}/ HTTP/1.1\r\nHost: 127.0.0.1:${to.port}\r\nContent-Length: ${192 * MIB}\r\n\r\n`,
    );
    socket.on('drain', fill);
    fill();
    expect(await settled(() => sent)).toBeLessThan(64 * MIB);
    socket.destroy();
    await until('the line', () => weir.traffic.lines.length === 1);
    expect(weir.traffic.lines).toMatchObject([{ error: 'connection_write_timeout', status: 504 }]);
    await until('both are free', () => weir.server.connections === 0, 10_000);
  });
});

describe('a client', () => {
  it('that leaves while the last octets are on their way to it has its ticket finished', async () => {
    const to = await origin((_request, response) => response.end(Buffer.alloc(16 * MIB, 120)));
    const weir = await bench({ ports: [to.port] });
    const socket = open({ proxy: weir.port });
    socket.pause();
    socket.write(get(to.port));
    await until('it is asked for', () => to.requests.length === 1);
    await pause(300);
    socket.destroy();
    await until('the ticket is finished', () => weir.rail.open.size === 0);
    expect(weir.traffic.lines).toMatchObject([{ error: 'client_left' }]);
  });

  it('that leaves while the origin thinks frees it, and is no failure of the origin', async () => {
    const to = await raw((socket) => socket.on('end', () => socket.end()));
    const weir = await bench({ ports: [to.port] });
    const socket = open({ proxy: weir.port });
    socket.write(get(to.port));
    await until('it is asked', () => to.received() !== '');
    socket.resetAndDestroy();
    await until('the origin is left', () => to.connections() === 0 && weir.rail.open.size === 0);
    expect(weir.traffic.lines).toMatchObject([{ error: 'client_left', status: 0 }]);
  });

  it('whose chunks stop making sense is told so, and its origin is left with no end of the request', async () => {
    const to = await raw((socket) => socket.on('end', () => socket.end()));
    const weir = await bench({ ports: [to.port] });
    const got = await sendRaw(
      `POST http://127.0.0.1:${to.port}/ HTTP/1.1\r\nHost: 127.0.0.1:${to.port}\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n`,
      { proxy: weir.port },
      4000,
    );
    expect(parseAnswer(got).status).toBe(400);
    expect(weir.types()).toEqual(['http.request', 'wire.malformed']);
    await until('the origin is left', () => to.connections() === 0);
    expect(to.received()).not.toContain('\r\n0\r\n');
  });

  it('whose octets stop making sense behind an answer that has begun gets nothing written into it', async () => {
    const to = await raw((socket) =>
      socket.on('data', () => socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun')),
    );
    const weir = await bench({ ports: [to.port] });
    const socket = open({ proxy: weir.port });
    let got = '';
    socket.on('data', (chunk) => (got += chunk.toString()));
    socket.write(get(to.port));
    await until('it began', () => got.endsWith('begun'));
    socket.write('\0\0\0 no HTTP\r\n\r\n');
    await until('it is cut', () => weir.server.connections === 0);
    expect(got.endsWith('begun')).toBe(true);
    expect(weir.types()).toEqual(['http.request', 'wire.malformed']);
  });

  it('that is slow with its headers, or sends none, is closed', async () => {
    const weir = await bench({ server: { headersMs: 500 } });
    const [slow, none] = await Promise.all([
      sendRaw('GET http://a.example/ HTTP/1.1\r\nX-', { proxy: weir.port }, 5000),
      sendRaw('', { proxy: weir.port }, 5000),
    ]);
    expect(parseAnswer(slow).status).toBe(408);
    expect(parseAnswer(none).status).toBe(408);
    await until('both are gone', () => weir.server.connections === 0);
  });

  it('that sends too far ahead is stopped', async () => {
    const to = await raw();
    const weir = await bench({ ports: [to.port] });
    await sendRaw(get(to.port).repeat(500), { proxy: weir.port });
    expect(weir.types().filter((type) => type === 'http.request')).toHaveLength(64);
    expect(weir.types().filter((type) => type === 'wire.malformed')).toHaveLength(1);
  });
});

describe('connections', () => {
  it('past the limit of their source get 429, past the limit of all 503, and room comes back', async () => {
    const weir = await bench({ server: { connections: 3, connectionsPerSource: 2 } });
    const held = [open({ proxy: weir.port }), open({ proxy: weir.port })];
    await until('two are in', () => weir.server.connections === 2);
    const third = parseAnswer(await sendRaw('', { proxy: weir.port }));
    expect(third.status).toBe(429);
    expect(JSON.parse(third.body)).toMatchObject({ status: 429, code: 'connection_limit_reached' });
    held.push(open({ proxy: weir.port, from: '127.0.0.2' }));
    await until('three are in', () => weir.server.connections === 3);
    const fourth = parseAnswer(await sendRaw('', { proxy: weir.port, from: '127.0.0.3' }));
    expect(fourth.status).toBe(503);
    expect(JSON.parse(fourth.body)).toMatchObject({ status: 503 });
    for (const socket of held) socket.destroy();
    await until('there is room', () => weir.server.connections === 0);
    const again = parseAnswer(await sendRaw('GET / HTTP/1.1\r\nHost: x\r\n\r\n', { proxy: weir.port }));
    expect(again.status).toBe(400);
    expect(weir.types()).toEqual(['wire.malformed']);
  });

  it('that can’t be had fail the start with the address', async () => {
    const weir = await bench({});
    await expect(
      startHttp({ server: { listen: [{ address: '127.0.0.1', port: weir.port }] } }),
    ).rejects.toThrow(`127.0.0.1:${weir.port}: EADDRINUSE`);
  });
});

describe('a stop', () => {
  it('lets a request end within the grace, and cuts one that does not', async () => {
    const to = await origin((request, response) => {
      if (request.url === '/soon') setTimeout(() => response.end('done'), 200);
    });
    const weir = await startHttp({ ports: [to.port] });
    weir.rail.script = () => FakeRail.ticket();
    const soon = sendRaw(get(to.port, '/soon'), { proxy: weir.port }, 5000);
    const never = sendRaw(get(to.port, '/never'), { proxy: weir.port }, 5000);
    await until('both are asked', () => to.requests.length === 2);
    const from = performance.now();
    await weir.close(600);
    expect(performance.now() - from).toBeLessThan(2000);
    expect(parseAnswer(await soon)).toMatchObject({ status: 200, body: 'done' });
    expect(await never).toBe('');
    expect(weir.rail.open.size).toBe(0);
    expect(weir.traffic.lines).toHaveLength(2);
  });
});

describe('curl', () => {
  const run = promisify(execFile);
  const curl = async (proxy: number, ...args: string[]): Promise<{ status: string; out: string }> => {
    const common = ['--silent', '--max-time', '10', '--noproxy', '', '--proxy', `http://127.0.0.1:${proxy}`];
    const { stdout } = await run('curl', [
      ...common,
      '--write-out',
      '\n%{http_code} %{http_connect}',
      ...args,
    ]).catch((error: { stdout: string }) => error);
    const lines = stdout.split('\n');
    return { status: lines.at(-1) ?? '', out: lines.slice(0, -1).join('\n') };
  };

  it('gets, posts, uploads and tunnels', async () => {
    const to = await origin((request, response) => {
      let length = 0;
      request.on('data', (chunk: Buffer) => (length += chunk.length));
      request.on('end', () => response.end(`${request.method} ${length}`));
    });
    const weir = await bench({ ports: [to.port], names: { 'shop.example': ['127.0.0.1'] } });
    const url = `http://shop.example:${to.port}/a?b`;
    expect(await curl(weir.port, url)).toEqual({ status: '200 000', out: 'GET 0' });
    expect(await curl(weir.port, '--data', 'hello', url)).toEqual({ status: '200 000', out: 'POST 5' });
    const expecting = ['--header', 'Expect: 100-continue', '--data', 'x'.repeat(100_000)];
    expect(await curl(weir.port, ...expecting, url)).toEqual({ status: '200 000', out: 'POST 100000' });
    expect(await curl(weir.port, '--head', url)).toMatchObject({ status: '200 000' });
    expect(await curl(weir.port, '--proxytunnel', url)).toEqual({ status: '200 200', out: 'GET 0' });
    await until('all are told of', () => weir.rail.open.size === 0);
  });

  it('is shown refusals of requests and of CONNECTs', async () => {
    const weir = await bench({ ports: [80] });
    weir.rail.script = () => refused({ retryAfterMs: 900 });
    const request = await curl(weir.port, '--include', 'http://shop.example/');
    expect(request.status).toBe('429 000');
    expect(request.out).toMatch(/retry-after: 1\r/i);
    const upload = await curl(weir.port, '--data', 'x'.repeat(100_000), 'http://shop.example/');
    expect(upload.status).toBe('429 000');
    const tunnel = await curl(weir.port, '--proxytunnel', 'http://shop.example/');
    expect(tunnel.status).toBe('000 429');
  });
});
