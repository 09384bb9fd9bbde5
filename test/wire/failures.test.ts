// Must-show 7: whatever fails on the other side, the client gets a clear answer in time, and every socket is given back.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readdirSync, readlinkSync } from 'node:fs';
import { ask, exchange, encodeQuery } from '../support/dns-client.ts';
import { plainAnswer, startUpstream } from '../support/dns-upstream.ts';
import type { RecordingUpstream } from '../support/dns-upstream.ts';
import { connectTunnel, get, open, parseAnswer, sendRaw } from '../support/http-client.ts';
import { startOrigin, startRawOrigin } from '../support/http-origin.ts';
import { startWeir, until, VM_A } from '../support/weir.ts';
import type { RunningWeir } from '../support/weir.ts';

let upstream: RecordingUpstream;
let weir: RunningWeir;
let baseline: number;
/** Origins are anywhere on loopback, on any port: one entry for each test's port. */
const ports: number[] = [];

const sockets = (): number => {
  const folder = `/proc/${weir.child.pid}/fd`;
  return readdirSync(folder).filter((fd) => {
    try {
      return readlinkSync(`${folder}/${fd}`).startsWith('socket:');
    } catch {
      return false;
    }
  }).length;
};
const a = (): { proxy: number; from: string } => ({ proxy: weir.http, from: VM_A });
const resetting = await startRawOrigin((socket) => {
  socket.on('data', () => {
    socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nthe first octets');
    setTimeout(() => socket.resetAndDestroy(), 50);
  });
});
const silent = await startRawOrigin((socket) => socket.on('end', () => socket.end()));
const broken = new Map<string, string>([
  ['a status of 099', 'HTTP/1.1 099 Odd\r\n\r\n'],
  ['a status of 1000', 'HTTP/1.1 1000 Odd\r\n\r\n'],
  ['no HTTP', 'SSH-2.0-OpenSSH_9.2\r\n'],
  ['two content-lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!'],
  [
    'a content-length with chunks',
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
  ],
  ['100 KB of headers', `HTTP/1.1 200 OK\r\n${'X-A: '.padEnd(1000, 'a')}\r\n`.repeat(100)],
  ['101 unasked', 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n'],
  ['nothing, and closes', ''],
]);
let brokenAnswer = '';
const odd = await startRawOrigin((socket) => socket.on('data', () => socket.end(brokenAnswer)));
const good = await startOrigin((request, response) => {
  if (request.url === '/slow') {
    response.write('x');
    return;
  }
  request.resume();
  request.on('end', () => response.end('ok'));
});

beforeAll(async () => {
  upstream = await startUpstream();
  ports.push(resetting.port, silent.port, odd.port, good.port, 1);
  weir = await startWeir({
    upstreamPort: upstream.port,
    config: { egress: { allow: ['127.0.0.0/8'], ports } },
  });
  // Sockets to the upstream are kept for the next query, up to a number: all of them are open before anything is counted.
  for (let i = 0; i < 400; i += 1) await ask('warm.example', { port: weir.dns });
  await get(`http://127.0.0.1:${good.port}/`, a());
  baseline = sockets();
});
afterAll(async () => {
  await until(`sockets are back to ${baseline}`, () => sockets() <= baseline, 15_000);
  expect(await weir.stop()).toBe(0);
  for (const origin of [resetting, silent, odd, good]) origin.close();
  await upstream.close();
});

describe('a DNS upstream', () => {
  it('that is silent: SERVFAIL with EDE 22 before the client gives up', async () => {
    upstream.script = () => undefined;
    const from = performance.now();
    const answer = await ask('silent.example', { port: weir.dns, from: VM_A });
    expect(answer).toMatchObject({ rcode: 'SERVFAIL', ede: { code: 22 } });
    expect(performance.now() - from).toBeLessThan(5000);
  });

  it('that is dead: SERVFAIL with EDE 23 at once', async () => {
    const dead = await startWeir({ upstreamPort: 9 });
    const answer = await ask('dead.example', { port: dead.dns });
    expect(answer.rcode).toBe('SERVFAIL');
    expect([22, 23]).toContain(answer.ede?.code);
    expect(await dead.stop()).toBe(0);
  });

  it('that lies first (wrong id, wrong question) is heard only when it tells the truth', async () => {
    upstream.script = (_asked, query) => {
      const truth = plainAnswer(query);
      const wrongId = Buffer.from(truth);
      wrongId.writeUInt16BE((truth.readUInt16BE(0) + 1) % 65_536, 0);
      const question = query.questions?.[0] ?? { name: '', type: 'A' as const };
      const other = plainAnswer({ ...query, questions: [{ ...question, name: 'evil.example' }] });
      return [wrongId, other, truth];
    };
    expect(await ask('truth.example', { port: weir.dns, from: VM_A })).toMatchObject({
      rcode: 'NOERROR',
      addresses: ['127.0.0.1'],
    });
  });

  it('that truncates is asked again over TCP', async () => {
    upstream.asked.length = 0;
    upstream.script = (asked, query) =>
      asked.transport === 'udp' ? plainAnswer(query, { flags: 0x380, answers: [] }) : plainAnswer(query);
    expect((await ask('cut.example', { port: weir.dns, from: VM_A })).addresses).toEqual(['127.0.0.1']);
    expect(upstream.asked.map(({ transport }) => transport)).toEqual(['udp', 'tcp']);
    upstream.script = (_asked, query) => plainAnswer(query);
  });

  it('is asked with ids and ports of chance, in lower case, without anything of the client’s EDNS', async () => {
    upstream.asked.length = 0;
    await Promise.all(
      Array.from({ length: 50 }, (_, i) =>
        exchange(encodeQuery(`RaNd${i}.example.com`), { port: weir.dns, from: VM_A }),
      ),
    );
    expect(new Set(upstream.asked.map(({ id }) => id)).size).toBeGreaterThan(45);
    expect(new Set(upstream.asked.map(({ port }) => port)).size).toBeGreaterThan(1);
    expect(upstream.asked.every(({ name }) => name === name.toLowerCase())).toBe(true);
  });
});

describe('an origin', () => {
  it('that refuses the connection: 502 connection_refused, for requests and CONNECTs', async () => {
    const answer = await get('http://127.0.0.1:1/', a());
    expect(answer.status).toBe(502);
    expect(answer.headers.get('proxy-status')).toContain('error=connection_refused');
    const tunnel = await connectTunnel('127.0.0.1:1', a());
    expect(tunnel.status).toBe(502);
    tunnel.socket.destroy();
  });

  it('that resets mid-body: the client’s connection is cut, not left hanging', async () => {
    const raw = await sendRaw(
      `GET http://127.0.0.1:${resetting.port}/ HTTP/1.1\r\nHost: 127.0.0.1:${resetting.port}\r\n\r\n`,
      a(),
      4000,
    );
    expect(raw).toContain('the first octets');
    expect(parseAnswer(raw).body.length).toBeLessThan(100_000);
    await until('a line says so', () =>
      weir.lines.some((l) => l['kind'] === 'request' && l['error'] === 'origin_reset'),
    );
  });

  for (const [what, text] of broken) {
    it(`that answers ${what}: 502, and the process lives`, async () => {
      brokenAnswer = text;
      const answer = await get(`http://127.0.0.1:${odd.port}/`, a());
      expect(answer.status).toBe(502);
      expect(answer.headers.get('proxy-status')).toContain('weir; error=');
    });
  }
});

describe('a client', () => {
  it('that leaves while an origin is silent frees the upstream', async () => {
    const before = silent.connections();
    const socket = open(a());
    socket.write(`GET http://127.0.0.1:${silent.port}/ HTTP/1.1\r\nHost: 127.0.0.1:${silent.port}\r\n\r\n`);
    await until('the origin has it', () => silent.connections() > before);
    socket.destroy();
    await until('the origin is left', () => silent.connections() === before);
  });

  it('that leaves mid-body, up or down, frees the upstream', async () => {
    const host = `127.0.0.1:${silent.port}`;
    const before = silent.connections();
    const up = open(a());
    up.write(`POST http://${host}/ HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 1000000\r\n\r\nsome octets`);
    await until('the origin has it', () => silent.received().includes('some octets'));
    up.destroy();
    await until('the origin is left', () => silent.connections() === before);
    const down = open(a());
    down.write(`GET http://127.0.0.1:${good.port}/slow HTTP/1.1\r\nHost: 127.0.0.1:${good.port}\r\n\r\n`);
    await until('the body began', () => down.bytesRead > 0 || down.readableLength > 0);
    const open2 = good.connections();
    down.destroy();
    await until('the origin is left', () => good.connections() < open2);
  });

  it('of a tunnel: half-close goes on to the other side, and the close line has the octets', async () => {
    const echo = await startRawOrigin((socket) => socket.on('end', () => socket.end('goodbye')));
    const own = await startWeir({
      upstreamPort: upstream.port,
      config: { egress: { allow: ['127.0.0.0/8'], ports: [echo.port] } },
    });
    const tunnel = await connectTunnel(`127.0.0.1:${echo.port}`, { proxy: own.http, from: VM_A });
    let got = '';
    tunnel.socket.on('data', (chunk) => (got += chunk.toString()));
    tunnel.socket.end('hello');
    await until('the origin’s last words', () => got === 'goodbye');
    await until('the line', () =>
      own.lines.some((l) => l['kind'] === 'tunnel' && l['octets_up'] === 5 && l['octets_down'] === 7),
    );
    expect((await own.metrics()).get('weir_events_total{type="tunnel.close",verdict="allow"}')).toBe(1);
    expect(echo.connections()).toBe(0);
    expect(await own.stop()).toBe(0);
    echo.close();
  });

  it('that is reset in a tunnel takes the upstream with it', async () => {
    const before = silent.connections();
    const tunnel = await connectTunnel(`127.0.0.1:${silent.port}`, a());
    await until('the origin has it', () => silent.connections() > before);
    tunnel.socket.resetAndDestroy();
    await until('the origin is left', () => silent.connections() === before);
  });
});
