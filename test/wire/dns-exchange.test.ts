// Questions to upstreams over real sockets: what leaves, what is believed, and how failing upstreams are borne.
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import packet from 'dns-packet';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createExchange } from '../../src/egress/exchange.ts';
import type { Ask, Exchange, ExchangeOptions } from '../../src/egress/exchange.ts';
import { systemClock } from '../../src/lib/clock.ts';
import { nameOctets } from '../../src/lib/dns-message.ts';
import type { DnsUpstream } from '../../src/lib/upstream-address.ts';
import { plainAnswer, startUpstream } from '../support/dns-upstream.ts';
import type { RecordingUpstream } from '../support/dns-upstream.ts';

const A = 1;
function question(text: string, more: Partial<Ask> = {}): Ask {
  const name = nameOctets(text);
  if (name === undefined) throw new Error(`no name: ${text}`);
  return { vm: 'vm-a', name, text, type: A, dnssecOk: false, checkingDisabled: false, ...more };
}
const at = (upstream: { port: number }, transport: 'udp' | 'tcp' = 'udp'): DnsUpstream => ({
  transport,
  address: '127.0.0.1',
  port: upstream.port,
});

let first: RecordingUpstream;
let second: RecordingUpstream;
let exchange: Exchange | undefined;
beforeEach(async () => {
  first = await startUpstream();
  second = await startUpstream();
});
afterEach(async () => {
  expect(exchange?.inFlight ?? 0).toBe(0);
  exchange?.close();
  exchange = undefined;
  await Promise.all([first.close(), second.close()]);
});
function start(options: Partial<ExchangeOptions> = {}): Exchange['ask'] {
  const own = createExchange({
    upstreams: [at(first)],
    zones: [],
    clock: systemClock,
    tryMs: 150,
    ...options,
  });
  exchange = own;
  return (asked) => own.ask(asked);
}
const addressIn = (answered: Awaited<ReturnType<Exchange['ask']>>): string => {
  if (!answered.ok) return answered.error;
  const record = packet.decode(answered.message).answers?.[0];
  return record?.type === 'A' ? record.data : 'none';
};
function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('not listening');
  return address.port;
}
const wait = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });

describe('a query that goes out', () => {
  it('is built by us: a new id, RD, the name in lower case, an OPT of 1232 octets without options', async () => {
    const ask = start();
    await ask(question('www.example.com', { dnssecOk: true, checkingDisabled: true }));
    await ask(question('www.example.com'));
    const [with_, without] = first.asked.map(({ message }) => packet.decode(message));
    expect(with_).toMatchObject({ flag_rd: true, flag_cd: true, flag_ad: false, questions: [{ type: 'A' }] });
    expect(with_?.additionals).toMatchObject([
      { type: 'OPT', udpPayloadSize: 1232, flag_do: true, options: [] },
    ]);
    expect(without).toMatchObject({ flag_cd: false, additionals: [{ flag_do: false }] });
    expect(with_?.id).not.toBe(without?.id);
  });

  it('has an id and a source port that nobody can foresee', async () => {
    const ask = start({ asksPerVmMax: 4096 });
    for (let round = 0; round < 20; round += 1) {
      await Promise.all(Array.from({ length: 50 }, (_, i) => ask(question(`n${i}.r${round}.example`))));
    }
    const ids = first.asked.map(({ id }) => id);
    expect(ids.length).toBe(1000);
    expect(new Set(ids).size).toBeGreaterThan(970);
    for (let bit = 0; bit < 16; bit += 1) {
      const ones = ids.filter((id) => ((id >>> bit) & 1) === 1).length;
      expect(ones, `bit ${bit}`).toBeGreaterThan(400);
      expect(ones, `bit ${bit}`).toBeLessThan(600);
    }
    const steps = new Set(ids.slice(1).map((id, i) => (id - (ids[i] ?? 0)) & 0xffff));
    expect(steps.size).toBeGreaterThan(950);
    const ports = first.asked.map(({ port }) => port);
    expect(new Set(ports).size).toBeGreaterThanOrEqual(30);
    const repeats = ports.slice(1).filter((port, i) => port === ports[i]).length;
    expect(repeats).toBeLessThan(120);
  });

  it('has a source port of its own when queries are rare', async () => {
    let nowMs = 1000;
    const ask = start({ clock: { now: () => nowMs, wall: () => nowMs } });
    for (let i = 0; i < 40; i += 1) {
      await ask(question(`n${i}.example`));
      nowMs += 1000;
    }
    expect(new Set(first.asked.map(({ port }) => port)).size).toBeGreaterThan(35);
  });
});

describe('the upstream of a name', () => {
  it('is that of the longest zone that holds it', async () => {
    const ask = start({
      zones: [
        { zone: 'example', upstreams: [at(first)] },
        { zone: 'corp.example', upstreams: [at(second)] },
      ],
      upstreams: [],
    });
    await ask(question('corp.example'));
    await ask(question('a.b.corp.example'));
    await ask(question('xcorp.example'));
    expect([...second.names()]).toEqual(['corp.example', 'a.b.corp.example']);
    expect([...first.names()]).toEqual(['xcorp.example']);
    expect(await ask(question('other.test'))).toMatchObject({ ok: false, error: 'unreachable' });
  });
});

describe('what is believed', () => {
  it('is only an answer with our id and our question; what is not is ignored and counted', async () => {
    const lie = (query: packet.DecodedPacket, more: Partial<packet.Packet>): Buffer =>
      plainAnswer({ ...query, ...more }, { answers: [{ type: 'A', name: 'x.example', data: '192.0.2.66' }] });
    first.script = (_asked, query) => {
      const wrongQuestion = { questions: [{ type: 'A' as const, name: 'y.example' }] };
      const wrongType = { questions: [{ type: 'AAAA' as const, name: 'x.example' }] };
      const notAnAnswer = lie(query, {});
      notAnAnswer.writeUInt16BE(0x0100, 2);
      const noQuestion = packet.encode({ type: 'response', id: query.id ?? 0, questions: [] });
      return [
        lie(query, { id: ((query.id ?? 0) + 1) % 65_536 }),
        lie(query, wrongQuestion),
        lie(query, wrongType),
        notAnAnswer,
        noQuestion,
        Buffer.from('short'),
        Buffer.alloc(0),
        plainAnswer(query),
      ];
    };
    const ask = start();
    expect(addressIn(await ask(question('x.example')))).toBe('127.0.0.1');
    expect(exchange?.mismatched).toBe(7);
  });

  it('is only what comes from the upstream’s own address and port', async () => {
    const stranger = createSocket('udp4');
    first.script = (asked, query) => {
      stranger.send(plainAnswer(query), asked.port, '127.0.0.1');
      return undefined;
    };
    const ask = start();
    expect(await ask(question('x.example'))).toMatchObject({ ok: false, error: 'timeout' });
    expect(first.asked.length).toBe(3);
    stranger.close();
  });

  it('is the answer in any letter case of the question', async () => {
    first.script = (_asked, query) =>
      plainAnswer({ ...query, questions: [{ type: 'A', name: 'X.eXample' }] });
    expect((await start()(question('x.example'))).ok).toBe(true);
  });

  it('over TCP is likewise only an answer to the question', async () => {
    first.script = (_asked, query) => plainAnswer({ ...query, id: ((query.id ?? 0) + 1) % 65_536 });
    const ask = start({ upstreams: [at(first, 'tcp')] });
    expect(await ask(question('x.example'))).toMatchObject({ ok: false, error: 'invalid' });
  });
});

describe('a truncated answer', () => {
  it('is asked for again over TCP, from the same upstream, under a new id', async () => {
    first.script = (asked, query) =>
      asked.transport === 'udp' ? plainAnswer(query, { flags: 0x0380, answers: [] }) : plainAnswer(query);
    const ask = start();
    expect(addressIn(await ask(question('x.example')))).toBe('127.0.0.1');
    expect(first.asked.map(({ transport }) => transport)).toEqual(['udp', 'tcp']);
  });

  it('whose TCP never answers costs no more than all tries may', async () => {
    first.script = (asked, query) =>
      asked.transport === 'udp' ? plainAnswer(query, { flags: 0x0380, answers: [] }) : undefined;
    const ask = start({ tryMs: 400, totalMs: 500 });
    const from = performance.now();
    expect(await ask(question('x.example'))).toMatchObject({ ok: false, error: 'timeout' });
    expect(performance.now() - from).toBeLessThan(700);
  });
});

describe('an upstream by TCP', () => {
  it('may send its answer octet by octet', async () => {
    const server = createServer((socket) => {
      socket.on('error', () => socket.destroy());
      socket.on('data', (data: Buffer) => void trickle(socket, plainAnswer(packet.decode(data.subarray(2)))));
    });
    async function trickle(socket: Socket, message: Buffer): Promise<void> {
      const frame = Buffer.concat([Buffer.from([message.length >>> 8, message.length & 255]), message]);
      socket.setNoDelay(true);
      for (const octet of frame) {
        socket.write(Buffer.from([octet]));
        await wait(1);
      }
    }
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const port = portOf(server);
    const ask = start({ upstreams: [at({ port }, 'tcp')], tryMs: 2000 });
    expect(addressIn(await ask(question('x.example')))).toBe('127.0.0.1');
    await new Promise<void>((resolve) => server.close(() => resolve()));
  });

  it('that closes without an answer is unreachable', async () => {
    const server = createServer((socket) => socket.on('data', () => socket.destroy()));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const port = portOf(server);
    const ask = start({ upstreams: [at({ port }, 'tcp')] });
    expect(await ask(question('x.example'))).toMatchObject({ ok: false, error: 'unreachable' });
    await new Promise<void>((resolve) => server.close(() => resolve()));
  });
});

describe('a failing upstream', () => {
  it('that is silent is asked three times, then the question has timed out', async () => {
    first.script = () => undefined;
    const ask = start();
    const from = performance.now();
    const answered = await ask(question('x.example'));
    expect(answered).toMatchObject({ ok: false, error: 'timeout', upstream: at(first) });
    expect(performance.now() - from).toBeGreaterThan(440);
    expect(first.asked.length).toBe(3);
  });

  it('that is not there is known at once, by UDP and TCP', async () => {
    const { port } = first;
    await first.close();
    for (const transport of ['udp', 'tcp'] as const) {
      const own = createExchange({
        upstreams: [at({ port }, transport)],
        zones: [],
        clock: systemClock,
        tryMs: 2000,
      });
      const from = performance.now();
      expect(await own.ask(question('x.example'))).toMatchObject({ ok: false, error: 'unreachable' });
      expect(performance.now() - from).toBeLessThan(500);
      own.close();
    }
    first = await startUpstream();
  });

  it('is followed by the next, and asked last for a while', async () => {
    let nowMs = 1000;
    first.script = () => undefined;
    const ask = start({
      upstreams: [at(first), at(second)],
      clock: { now: () => nowMs, wall: () => nowMs },
    });
    expect((await ask(question('a.example'))).ok).toBe(true);
    expect((await ask(question('b.example'))).ok).toBe(true);
    expect([...first.names()]).toEqual(['a.example']);
    nowMs += 5000;
    first.script = (_asked, query) => plainAnswer(query);
    expect((await ask(question('c.example'))).ok).toBe(true);
    expect([...first.names()]).toEqual(['a.example', 'c.example']);
    expect([...second.names()]).toEqual(['a.example', 'b.example']);
  });

  it('that answers late answers nobody', async () => {
    first.script = async (_asked, query) => {
      await wait(200);
      return plainAnswer(query);
    };
    const ask = start({ totalMs: 150 });
    expect(await ask(question('x.example'))).toMatchObject({ ok: false, error: 'timeout' });
    await wait(150);
  });
});

describe('open questions', () => {
  it('are bounded for all and for each VM: past that the answer is "busy" at once, and nothing is sent', async () => {
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    first.script = async (_asked, query) => {
      await gate;
      return plainAnswer(query);
    };
    const ask = start({ asksMax: 5, asksPerVmMax: 3, tryMs: 3000 });
    const open = ['a', 'a', 'a', 'b', 'b'].map((vm, i) => ask(question(`n${i}.example`, { vm })));
    expect(await ask(question('more.example', { vm: 'a' }))).toMatchObject({ error: 'busy' });
    expect(await ask(question('more.example', { vm: 'b' }))).toMatchObject({ error: 'busy' });
    expect(await ask(question('more.example', { vm: 'c' }))).toMatchObject({ error: 'busy' });
    release();
    expect((await Promise.all(open)).every(({ ok }) => ok)).toBe(true);
    expect((await ask(question('again.example', { vm: 'a' }))).ok).toBe(true);
    expect(first.names().has('more.example')).toBe(false);
  });

  it('fail when the exchange closes, and so does every later one', async () => {
    first.script = () => undefined;
    second.script = () => undefined;
    const ask = start({
      tryMs: 60_000,
      zones: [{ zone: 'tcp.example', upstreams: [at(second, 'tcp')] }],
    });
    const open = [ask(question('x.example')), ask(question('x.tcp.example'))];
    await wait(50);
    exchange?.close();
    expect(await Promise.all(open)).toMatchObject([{ error: 'unreachable' }, { error: 'unreachable' }]);
    expect(await ask(question('y.example'))).toMatchObject({ error: 'busy' });
  });

  it('leave no socket behind', async () => {
    const ask = start({ upstreams: [at(first), at(second, 'tcp')] });
    const handles = (): number =>
      process.getActiveResourcesInfo().filter((name) => /UDPWrap|UdpSend|TCPWRAP|TCPSocketWrap/i.test(name))
        .length;
    const before = handles();
    await Promise.all(Array.from({ length: 300 }, (_, i) => ask(question(`n${i}.example`))));
    expect(handles()).toBeGreaterThan(before);
    exchange?.close();
    await wait(50);
    expect(handles()).toBeLessThanOrEqual(before);
  });
});
