// CONNECT through the HTTP side: what a tunnel carries, how it ends, and that each end is told exactly once.
import { afterEach, describe, expect, it } from 'vitest';
import { ALLOW } from '../../src/rail/index.ts';
import { connectTunnel, open, parseAnswer, sendRaw } from '../support/http-client.ts';
import { FakeRail, refused } from '../support/fake-rail.ts';
import { createStage, startHttp } from '../support/http-bench.ts';
import type { BenchOptions, HttpBench } from '../support/http-bench.ts';
import { until } from '../support/weir.ts';

const stage = createStage();
afterEach(() => stage.close());
const { raw } = stage;
/** Every tunnel has a ticket: closing the stage fails when one is left open. */
const bench = (options: BenchOptions): Promise<HttpBench> =>
  stage.bench(options, (event) => (event.type === 'tunnel.open' ? FakeRail.ticket() : ALLOW));
const connectHead = (authority: string): string =>
  `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`;
const BOTH = ['tunnel.open', 'tunnel.close'];

describe('a tunnel', () => {
  it('carries what was sent behind the CONNECT, at once', async () => {
    const to = await raw((socket) => socket.on('data', (chunk) => socket.write(chunk)));
    const weir = await bench({ ports: [to.port] });
    const socket = open({ proxy: weir.port });
    let got = '';
    socket.on('data', (chunk) => (got += chunk.toString()));
    socket.write(`${connectHead(`127.0.0.1:${to.port}`)}early`);
    await until('the echo', () => got.endsWith('\r\n\r\nearly'));
    expect(got.startsWith('HTTP/1.1 200 Connection Established\r\n')).toBe(true);
    expect(got).not.toMatch(/content-length|transfer-encoding/i);
    expect(to.received()).toBe('early');
    socket.destroy();
  });

  it('ignores a Content-Length of the CONNECT', async () => {
    const to = await raw();
    const weir = await bench({ ports: [to.port] });
    const socket = open({ proxy: weir.port });
    socket.write(`CONNECT 127.0.0.1:${to.port} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabcdef`);
    await until('all of it', () => to.received() === 'abcdef');
    socket.destroy();
  });

  for (const side of ['client', 'origin'] as const) {
    it(`half-closed by the ${side} still carries the other direction, and is told of with exact counts`, async () => {
      const to = await raw((socket) => {
        if (side === 'origin') setTimeout(() => socket.end('bye from origin'), 100);
        socket.on('end', () => side === 'client' && socket.end('late answer'));
      });
      const weir = await bench({ ports: [to.port] });
      const { socket } = await connectTunnel(`127.0.0.1:${to.port}`, { proxy: weir.port });
      let got = '';
      let ended = false;
      socket.on('data', (chunk) => (got += chunk.toString()));
      socket.on('end', () => (ended = true));
      if (side === 'client') socket.end('question');
      await until('the origin’s words and its end', () => ended && got !== '');
      if (side === 'origin') socket.end('last words');
      await until('both sides are gone', () => to.connections() === 0 && weir.server.connections === 0);
      await until('the line', () => weir.traffic.lines.length === 1);
      const up = side === 'client' ? 'question' : 'last words';
      const down = side === 'client' ? 'late answer' : 'bye from origin';
      expect(to.received()).toBe(up);
      expect(weir.types()).toEqual(BOTH);
      expect(weir.rail.events[1]).toMatchObject({ octets_up: up.length, octets_down: down.length });
      expect(weir.traffic.lines).toMatchObject([
        { kind: 'tunnel', octets_up: up.length, octets_down: down.length, verdict: 'allow', status: 200 },
      ]);
      expect(weir.traffic.lines[0]).not.toHaveProperty('error');
    });
  }

  it('reset by the client resets the origin, and is told of', async () => {
    let reset = false;
    const to = await raw((socket) => socket.on('error', () => (reset = true)));
    const weir = await bench({ ports: [to.port] });
    const { socket } = await connectTunnel(`127.0.0.1:${to.port}`, { proxy: weir.port });
    socket.write('x');
    await until('the origin has it', () => to.received() === 'x');
    socket.resetAndDestroy();
    await until('the origin is reset', () => reset && to.connections() === 0);
    expect(weir.types()).toEqual(BOTH);
    expect(weir.traffic.lines).toMatchObject([{ error: 'client_reset', octets_up: 1 }]);
  });

  it('reset by the origin ends the client, and is told of', async () => {
    const to = await raw((socket) => socket.on('data', () => socket.resetAndDestroy()));
    const weir = await bench({ ports: [to.port] });
    const { socket } = await connectTunnel(`127.0.0.1:${to.port}`, { proxy: weir.port });
    socket.write('x');
    await until('the client is gone', () => weir.server.connections === 0 && socket.destroyed);
    expect(weir.types()).toEqual(BOTH);
    expect(weir.traffic.lines).toMatchObject([{ error: 'upstream_reset' }]);
  });

  it('that nothing passes through is cut after the idle limit, one that is used is not', async () => {
    const to = await raw((socket) => socket.on('data', (chunk) => socket.write(chunk)));
    const weir = await bench({ ports: [to.port], handler: { idleMs: 400 } });
    const { socket } = await connectTunnel(`127.0.0.1:${to.port}`, { proxy: weir.port });
    socket.resume();
    for (let i = 0; i < 8; i += 1) {
      socket.write('tick');
      await new Promise((resolve) => {
        setTimeout(resolve, 100);
      });
    }
    expect(weir.types()).toEqual(['tunnel.open']);
    await until('it is cut', () => weir.server.connections === 0 && to.connections() === 0);
    expect(weir.traffic.lines).toMatchObject([{ error: 'idle', octets_up: 32, octets_down: 32 }]);
  });

  it('holds little for a side that does not read', async () => {
    const chunk = Buffer.alloc(65_536, 1);
    let sent = 0;
    const to = await raw((socket) => {
      const fill = (): void => {
        while (sent < 256 * 1_048_576) {
          sent += chunk.length;
          if (!socket.write(chunk)) return;
        }
      };
      socket.on('drain', fill);
      fill();
    });
    const weir = await bench({ ports: [to.port] });
    const { socket } = await connectTunnel(`127.0.0.1:${to.port}`, { proxy: weir.port });
    socket.pause();
    let before = -1;
    await until(
      'the origin is held up',
      async () => {
        const still = sent === before;
        before = sent;
        await new Promise((resolve) => {
          setTimeout(resolve, 200);
        });
        return still;
      },
      10_000,
    );
    // What the kernel's buffers of four sockets take, and no more.
    expect(sent).toBeLessThan(64 * 1_048_576);
    socket.destroy();
    await until('the origin is left', () => to.connections() === 0);
  });

  it('open at a stop is ended, told of, and its ticket finished before the stop is over', async () => {
    const to = await raw();
    const weir = await startHttp({ ports: [to.port] });
    weir.rail.script = () => FakeRail.ticket();
    const { socket } = await connectTunnel(`127.0.0.1:${to.port}`, { proxy: weir.port });
    weir.rail.script = () => ALLOW;
    await weir.close(50);
    expect(weir.types()).toEqual(BOTH);
    expect(weir.traffic.lines).toMatchObject([{ kind: 'tunnel', error: 'stopped' }]);
    socket.destroy();
  });
});

describe('a CONNECT that is refused', () => {
  it('by the rail closes, and what an eager client sent behind it is not read', async () => {
    const to = await raw();
    const weir = await bench({ ports: [to.port] });
    weir.rail.script = () => refused({ reason: 'too_many', rule: 'tunnels-at-once' });
    const host = `127.0.0.1:${to.port}`;
    const got = await sendRaw(`${connectHead(host)}GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\n\r\n`, {
      proxy: weir.port,
    });
    const answer = parseAnswer(got);
    expect(answer.status).toBe(429);
    expect(answer.headers.get('connection')).toBe('close');
    expect(answer.headers.has('retry-after')).toBe(false);
    expect(answer.headers.get('proxy-status')).toContain('error=connection_limit_reached');
    expect(got.match(/HTTP\/1\.1/g)).toHaveLength(1);
    expect(weir.types()).toEqual(['tunnel.open']);
    expect(to.connections()).toBe(0);
    await until('the connection is gone', () => weir.server.connections === 0);
  });

  it('does not stay open for a client that goes on sending', async () => {
    const weir = await bench({});
    weir.rail.script = () => refused();
    const socket = open({ proxy: weir.port });
    socket.write(connectHead('a.example:443'));
    const sending = setInterval(() => socket.writable && socket.write('more'), 50);
    await until('the connection is gone', () => weir.server.connections === 0);
    clearInterval(sending);
    socket.destroy();
  });

  it.each([
    ['a.example:22', 403, 'port_not_allowed'],
    ['a.example:25', 403, 'port_not_allowed'],
    ['10.1.2.3:443', 403, 'destination_ip_prohibited'],
    ['private.example:443', 403, 'destination_ip_prohibited'],
    ['metadata.google.internal:443', 403, 'destination_ip_prohibited'],
    ['nowhere.example:443', 502, 'dns_error'],
    ['slow.example:443', 504, 'dns_timeout'],
  ])('to %s is %i %s, and is told of once', async (authority, status, error) => {
    const weir = await bench({
      ports: [443],
      allow: [],
      names: {
        'private.example': ['192.168.7.7'],
        'nowhere.example': { ok: false, error: 'nxdomain', rcode: 'NXDOMAIN' },
        'slow.example': { ok: false, error: 'timeout' },
      },
    });
    const got = parseAnswer(await sendRaw(connectHead(authority), { proxy: weir.port }));
    expect(got.status).toBe(status);
    expect(got.headers.get('x-weir-reason')).toBe(error);
    await until('the line', () => weir.traffic.lines.length === 1);
    expect(weir.types()).toEqual(BOTH);
    expect(weir.traffic.lines).toMatchObject([{ status, error, octets_up: 0, octets_down: 0 }]);
  });

  it('for its name by a DNS rule says which rule', async () => {
    const weir = await bench({
      ports: [443],
      names: {
        'many.example': { ok: false, refused: refused({ rule: 'dns-new-name-burst', retryAfterMs: 59_001 }) },
      },
    });
    const got = parseAnswer(await sendRaw(connectHead('many.example:443'), { proxy: weir.port }));
    expect(got.status).toBe(429);
    expect(got.headers.get('x-weir-reason')).toBe('dns-new-name-burst');
    expect(got.headers.get('retry-after')).toBe('60');
    expect(weir.types()).toEqual(BOTH);
  });
});

describe('a client that leaves before its tunnel stands', () => {
  it('during the look-up has its ticket finished at once', async () => {
    const locate = (): Promise<never> => new Promise(() => {});
    const dial = (): Promise<never> => Promise.reject(new Error('nobody expected a connection'));
    const stuck = await bench({ handler: { dialer: { locate, dial } } });
    const socket = open({ proxy: stuck.port });
    socket.write(connectHead('a.example:443'));
    await until('it is looked up', () => stuck.rail.open.size === 1);
    socket.resetAndDestroy();
    await until('the ticket is finished', () => stuck.rail.open.size === 0);
    expect(stuck.types()).toEqual(BOTH);
    expect(stuck.traffic.lines).toMatchObject([{ error: 'client_left', status: 0 }]);
  });
});

describe('no way in', () => {
  const NOTATIONS = [
    '2130706433',
    '0x7f000001',
    '0x7f.1',
    '0177.0.0.1',
    '127.1',
    '127.0.0.1.',
    '127.0.0.1',
    '[::1]',
    '[::ffff:127.0.0.1]',
    '[::ffff:7f00:1]',
    '[::127.0.0.1]',
    '[64:ff9b::7f00:1]',
    '[2002:7f00:1::]',
    '[fe80::5efe:127.0.0.1]',
    '[fd12::5efe:8.8.8.8]',
    '0.0.0.0',
    '[::]',
    '169.254.169.254',
    '2852039166',
    '[::ffff:a9fe:a9fe]',
    '168.63.129.16',
    '100.64.0.1',
  ];
  it.each(NOTATIONS)('%s is refused by request and by CONNECT, and nobody is dialled', async (host) => {
    const to = await raw();
    const weir = await bench({ ports: [to.port], allow: [] });
    const authority = `${host}:${to.port}`;
    const tunnel = parseAnswer(await sendRaw(connectHead(authority), { proxy: weir.port }));
    const request = parseAnswer(
      await sendRaw(`GET http://${authority}/ HTTP/1.1\r\nHost: ${authority}\r\nConnection: close\r\n\r\n`, {
        proxy: weir.port,
      }),
    );
    for (const answer of [tunnel, request]) {
      expect(answer.status).toBe(403);
      expect(answer.headers.get('proxy-status')).toContain('error=destination_ip_prohibited');
    }
    expect(to.connections()).toBe(0);
    const metadata = /metadata/.test(tunnel.body);
    expect(tunnel.body.includes('egress.allow')).toBe(!metadata);
  });

  it.each(['127.0.0.1', '0.0.0.0', '[::ffff:127.0.0.1]', 'me.example'])(
    'leads to weir’s own listener by %s, though egress.allow and egress.ports would have it',
    async (host) => {
      const ports: number[] = [];
      const allow = ['127.0.0.0/8', '0.0.0.0/8', 'me.example'];
      const weir = await bench({ ports, allow, names: { 'me.example': ['::ffff:127.0.0.1'] } });
      ports.push(weir.port);
      const got = parseAnswer(await sendRaw(connectHead(`${host}:${weir.port}`), { proxy: weir.port }));
      expect(got.status).toBe(403);
      expect(got.body).toContain('a listener of weir itself');
    },
  );
});
