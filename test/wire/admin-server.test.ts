// The admin listener on real sockets: what it binds, what it refuses before any route sees it, and what it leaves behind.
import { Hono } from 'hono';
import { createServer } from 'node:net';
import type { Server } from 'node:net';
import { connect } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { createAdminServer } from '../../src/admin/server.ts';
import type { AdminEndpoint, AdminServer } from '../../src/admin/server.ts';

const app = new Hono();
app.get('/', (c) => c.text('here'));

const opened: AdminServer[] = [];
const others: Server[] = [];
afterEach(() => {
  for (const server of opened.splice(0)) server.close();
  for (const server of others.splice(0)) server.close();
});

function open(...listen: AdminEndpoint[]): AdminServer {
  const server = createAdminServer(app, listen);
  opened.push(server);
  return server;
}

const LOOPBACK = { address: '127.0.0.1', port: 0 };

/** Port of a listener that is not ours. */
async function taken(): Promise<number> {
  const server = createServer();
  others.push(server);
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const at = server.address();
  if (typeof at !== 'object' || at === null) throw new Error('no port');
  return at.port;
}

/** Sends octets; resolves with all that came back once the server closes. */
function send(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let seen = '';
    const socket = connect(port, '127.0.0.1', () => socket.write(text));
    socket.on('data', (chunk: Buffer) => (seen += chunk.toString('latin1')));
    socket.on('error', reject);
    socket.on('close', () => resolve(seen));
  });
}

const isListening = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });

describe('the admin listener', () => {
  it('binds every endpoint and tells the ports that it got', async () => {
    const bound = await open(LOOPBACK, { address: '127.0.0.2', port: 0 }).listening();
    expect(bound.map(({ address }) => address)).toEqual(['127.0.0.1', '127.0.0.2']);
    for (const { address, port } of bound) {
      const answer = await fetch(`http://${address}:${port}/`);
      expect(await answer.text()).toBe('here');
    }
  });

  it('that can not be bound says which, why and where to change it, and leaves the others closed', async () => {
    const port = await taken();
    const free = await taken();
    others.pop()?.close();
    const server = open({ address: '127.0.0.1', port: free }, { address: '127.0.0.1', port });
    await expect(server.listening()).rejects.toThrow(
      `admin: can't listen on 127.0.0.1:${port}: EADDRINUSE: another program uses it: see admin.listen`,
    );
    expect(await isListening(free)).toBe(false);
  });

  it('on an address of another machine says so', async () => {
    await expect(open({ address: '192.0.2.1', port: 0 }).listening()).rejects.toThrow(
      "admin: can't listen on 192.0.2.1:0: EADDRNOTAVAIL: this machine has no such address: see admin.listen",
    );
  });

  it('is gone once closed, keep-alive connections included', async () => {
    const server = open(LOOPBACK);
    const [at = LOOPBACK] = await server.listening();
    const kept = send(at.port, 'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await fetch(`http://127.0.0.1:${at.port}/`);
    server.close();
    expect(await kept).toMatch(/^HTTP\/1\.1 200 /);
    expect(await isListening(at.port)).toBe(false);
  });

  const refused: readonly (readonly [what: string, request: string, status: number])[] = [
    ['headers past 8 KiB', `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(9000)}\r\n\r\n`, 431],
    ['a request without Host', 'GET / HTTP/1.1\r\n\r\n', 400],
    ['what is not HTTP', '\x16\x03\x01\x02\x00\x01\r\n\r\n', 400],
    ['a bad length', 'GET / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n', 400],
    ['CONNECT', 'CONNECT 192.0.2.1:443 HTTP/1.1\r\nHost: a\r\n\r\n', 0],
  ];
  for (const [what, request, status] of refused) {
    it(`refuses ${what} and lives`, async () => {
      const [at = LOOPBACK] = await open(LOOPBACK).listening();
      const answer = await send(at.port, request);
      expect(Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1] ?? 0)).toBe(status);
      expect((await fetch(`http://127.0.0.1:${at.port}/`)).status).toBe(200);
    });
  }

  for (const request of [
    'TRACE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
    'GET http://[bad/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
    'GET / HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n',
  ]) {
    it(`answers ${JSON.stringify(request.split('\r\n', 2).join(' '))} with an error and lives`, async () => {
      const [at = LOOPBACK] = await open(LOOPBACK).listening();
      expect(await send(at.port, request)).toMatch(/^HTTP\/1\.1 [45]/);
      expect((await fetch(`http://127.0.0.1:${at.port}/`)).status).toBe(200);
    });
  }

  it('ends a connection that does not finish its headers', async () => {
    const [at = LOOPBACK] = await open(LOOPBACK).listening();
    expect(await send(at.port, 'GET / HTTP/1.1\r\nHost: a\r\n')).toMatch(/^HTTP\/1\.1 408 /);
  });
});
