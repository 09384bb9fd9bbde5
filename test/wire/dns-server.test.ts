// DNS listeners over real sockets: TCP framing and its limits, failing upstreams, binding and draining.
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Subject } from '../../src/rail/index.ts';
import { ask, decodeAnswer, encodeQuery, exchange } from '../support/dns-client.ts';
import { RawClient, run, startDnsSide } from '../support/dns-server.ts';
import type { DnsSide } from '../support/dns-server.ts';
import { plainAnswer, startUpstream } from '../support/dns-upstream.ts';
import type { RecordingUpstream } from '../support/dns-upstream.ts';
import { SUBJECT } from '../support/fake-rail.ts';
import { until } from '../support/weir.ts';

type Options = Omit<Parameters<typeof startDnsSide>[0], 'upstreamPort'>;
let upstream: RecordingUpstream;
let dns: DnsSide | undefined;
beforeEach(async () => {
  upstream = await startUpstream();
});
afterEach(async () => {
  expect(dns?.exchange.inFlight ?? 0).toBe(0);
  expect(dns?.server.inFlight ?? 0).toBe(0);
  await dns?.server.close(500);
  expect(dns?.server.connections ?? 0).toBe(0);
  dns?.exchange.close();
  dns = undefined;
  await upstream.close();
});
async function start(options: Options = {}): Promise<DnsSide> {
  dns = await startDnsSide({ upstreamPort: upstream.port, ...options });
  return dns;
}
const wait = (ms: number): Promise<void> =>
  new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
/** Upstream answers wait for this. */
function gate(): { open(): void; readonly passed: Promise<void> } {
  let open = (): void => {};
  const passed = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { open: () => open(), passed };
}
const idOf = (message: Buffer): number => message.readUInt16BE(0);
const VM_B: Subject = { ...SUBJECT, vm: 'vm-b', source: '127.0.0.3' };
const OTHERS = new Map([['127.0.0.3', VM_B]]);

describe('a TCP connection', () => {
  it('may bring its queries octet by octet, or several in one piece', async () => {
    const { port } = await start();
    const client = new RawClient(port);
    for (const octet of RawClient.framed(encodeQuery('a.example'), encodeQuery('b.example'))) {
      client.socket.write(Buffer.from([octet]));
      await wait(1);
    }
    client.socket.write(RawClient.framed(encodeQuery('c.example'), encodeQuery('d.example')));
    await client.received(4);
    expect([...upstream.names()]).toEqual(['a.example', 'b.example', 'c.example', 'd.example']);
    client.socket.end();
    await client.closed;
  });

  it('gets answers as they come, not in the order of the queries', async () => {
    const { port } = await start();
    const slow = gate();
    upstream.script = async (asked, query) => {
      if (asked.name === 'n0.example') await slow.passed;
      return plainAnswer(query);
    };
    const queries = Array.from({ length: 10 }, (_, i) => encodeQuery(`n${i}.example`));
    const client = new RawClient(port);
    client.socket.write(RawClient.framed(...queries));
    await client.received(9);
    slow.open();
    const answers = await client.received(10);
    expect(new Set(answers.map(idOf))).toEqual(new Set(queries.map(idOf)));
    expect(answers.at(-1)?.readUInt16BE(0)).toBe(queries[0]?.readUInt16BE(0));
    client.socket.destroy();
  });

  it('that stops sending still gets its answers, then is closed', async () => {
    const { port } = await start();
    const slow = gate();
    upstream.script = async (_asked, query) => {
      await slow.passed;
      return plainAnswer(query);
    };
    const client = new RawClient(port);
    client.socket.end(RawClient.framed(encodeQuery('a.example'), encodeQuery('b.example')));
    await until('both are asked', () => upstream.asked.length === 2);
    slow.open();
    expect(await client.received(2)).toHaveLength(2);
    await client.closed;
  });

  for (const length of [0, 1, 11, 4097, 65_535]) {
    it(`that announces ${length} octets is closed, as a malformed event, and the others live on`, async () => {
      const { port, rail } = await start();
      const other = new RawClient(port);
      const client = new RawClient(port);
      client.socket.write(Buffer.from([length >>> 8, length & 255, ...Buffer.alloc(Math.min(length, 20))]));
      await client.closed;
      expect(rail.events).toMatchObject([{ type: 'wire.malformed', 'wire.detail': 'bad length' }]);
      other.socket.write(RawClient.framed(encodeQuery('a.example')));
      expect(await other.received(1)).toHaveLength(1);
      other.socket.destroy();
    });
  }

  it('with a malformed query gets its answer and may go on', async () => {
    const { port } = await start();
    const two = encodeQuery('a.example');
    two.writeUInt16BE(2, 4);
    const client = new RawClient(port);
    client.socket.write(RawClient.framed(two, encodeQuery('b.example')));
    const answers = await client.received(2);
    expect(answers.map((message) => decodeAnswer(message).rcode)).toEqual(['FORMERR', 'NOERROR']);
    client.socket.destroy();
  });

  it('without a whole query is closed after the idle time, octets now and then notwithstanding', async () => {
    const { port } = await start({ tcp: { idleMs: 200 } });
    const silent = new RawClient(port);
    const trickling = new RawClient(port);
    trickling.socket.write(Buffer.from([8, 0]));
    const drip = setInterval(() => trickling.socket.write(Buffer.from([0])), 20);
    const from = performance.now();
    const livedMs = await Promise.all(
      [silent, trickling].map((client) => client.closed.then(() => performance.now() - from)),
    );
    clearInterval(drip);
    for (const ms of livedMs) {
      expect(ms).toBeGreaterThan(150);
      expect(ms).toBeLessThan(1500);
    }
  });

  it('is not idle while an answer is on its way', async () => {
    const { port } = await start({ tcp: { idleMs: 100 } });
    upstream.script = async (_asked, query) => {
      await wait(400);
      return plainAnswer(query);
    };
    const client = new RawClient(port);
    client.socket.write(RawClient.framed(encodeQuery('a.example')));
    expect(await client.received(1)).toHaveLength(1);
    await client.closed;
  });

  it('has only so many queries under way; the rest waits, and all are answered', async () => {
    const { port, server } = await start({ tcp: { inFlight: 4 } });
    let most = 0;
    upstream.script = async (_asked, query) => {
      most = Math.max(most, server.inFlight);
      await wait(5);
      return plainAnswer(query);
    };
    const client = new RawClient(port);
    client.socket.end(
      RawClient.framed(...Array.from({ length: 100 }, (_, i) => encodeQuery(`n${i}.example`))),
    );
    expect(await client.received(100)).toHaveLength(100);
    expect(most).toBe(4);
    await client.closed;
  });

  it('that never reads is cut off before its answers fill the memory', async () => {
    const { port, server } = await start();
    const data = Buffer.alloc(60_000, 1);
    upstream.script = (asked, query) => {
      if (asked.transport === 'udp') return plainAnswer(query, { flags: 0x0380 });
      const answers = [{ type: 'NULL' as const, name: 'x.example', ttl: 1, data }];
      return plainAnswer(query, { answers });
    };
    const client = new RawClient(port);
    client.socket.pause();
    client.socket.on('drain', () => {});
    let sent = 0;
    const query = RawClient.framed(encodeQuery('x.example'));
    while (server.connections === 1 || sent === 0) {
      client.socket.write(query);
      sent += 1;
      await wait(2);
      if (sent > 2000) throw new Error('it was never cut off');
    }
    client.socket.destroy();
    await until('nothing is under way', () => server.inFlight === 0);
  });
});

describe('TCP connections', () => {
  it('are bounded for each VM, whatever its addresses, and another VM still gets its own', async () => {
    const { port } = await start({ tcp: { connectionsPerVm: 2 }, identities: OTHERS });
    const own = [new RawClient(port, '127.0.0.1'), new RawClient(port, '127.0.0.2')];
    await until('both are there', () => dns?.server.connections === 2);
    const third = new RawClient(port, '127.0.0.4');
    await third.closed;
    const other = new RawClient(port, '127.0.0.3');
    other.socket.write(RawClient.framed(encodeQuery('a.example')));
    expect(await other.received(1)).toHaveLength(1);
    own[0]?.socket.destroy();
    await until('one is gone', () => dns?.server.connections === 2);
    expect((await ask('b.example', { port, tcp: true })).rcode).toBe('NOERROR');
    for (const client of [...own, other]) client.socket.destroy();
  });

  it('are bounded in all', async () => {
    const { port, server } = await start({ tcp: { connections: 3 } });
    const open = Array.from({ length: 3 }, () => new RawClient(port));
    await until('three are there', () => server.connections === 3);
    await new RawClient(port).closed;
    expect(server.connections).toBe(3);
    for (const client of open) client.socket.destroy();
  });
});

describe('an upstream', () => {
  const dig = (port: number, ...args: string[]): Promise<string> =>
    run('dig', '@127.0.0.1', '-p', String(port), '+tries=1', '+timeout=10', 'www.example.com', ...args);

  it('that is dead makes SERVFAIL with EDE 23 at once', async () => {
    const spare = await startUpstream();
    await spare.close();
    const { port } = await start({
      exchange: { upstreams: [{ transport: 'udp', address: '127.0.0.1', port: spare.port }] },
    });
    const from = performance.now();
    const out = await dig(port);
    expect(out).toContain('status: SERVFAIL');
    expect(out).toContain(`EDE: 23 (Network Error): (upstream 127.0.0.1:${spare.port} udp: unreachable)`);
    expect(performance.now() - from).toBeLessThan(1000);
  });

  it('that is silent makes SERVFAIL with EDE 22 before a client gives up', async () => {
    const { port } = await start();
    upstream.script = () => undefined;
    const from = performance.now();
    const out = await dig(port);
    expect(out).toContain('status: SERVFAIL');
    expect(out).toContain('EDE: 22 (No Reachable Authority)');
    expect(performance.now() - from).toBeGreaterThan(4000);
    expect(performance.now() - from).toBeLessThan(5000);
  });

  it('that lies makes SERVFAIL with EDE 24', async () => {
    const { port } = await start();
    upstream.script = (_asked, query) => Buffer.concat([plainAnswer(query), Buffer.from('more')]);
    const out = await dig(port);
    expect(out).toContain('status: SERVFAIL');
    expect(out).toContain('EDE: 24 (Invalid Data)');
  });

  it('that is busy beyond the bound makes SERVFAIL at once, not silence', async () => {
    const { port } = await start({ exchange: { asksPerVmMax: 1 } });
    const slow = gate();
    upstream.script = async (_asked, query) => {
      await slow.passed;
      return plainAnswer(query);
    };
    const first = ask('a.example', { port });
    await until('one is asked', () => upstream.asked.length === 1);
    expect(await ask('b.example', { port })).toMatchObject({ rcode: 'SERVFAIL', ede: { code: 14 } });
    slow.open();
    expect((await first).rcode).toBe('NOERROR');
  });
});

describe('binding', () => {
  it('gives UDP and TCP the same port, chosen by the system, on each endpoint', async () => {
    const listen = [
      { address: '127.0.0.1', port: 0 },
      { address: '127.0.0.2', port: 0 },
      { address: '::1', port: 0 },
    ];
    const { endpoints } = await start({ listen });
    expect(endpoints.map(({ address }) => address)).toEqual(['127.0.0.1', '127.0.0.2', '::1']);
    expect(endpoints.every(({ port }) => port > 0)).toBe(true);
    for (const tcp of [false, true])
      expect((await ask('a.example', { port: endpoints[0]?.port ?? 0, tcp })).rcode).toBe('NOERROR');
  });

  for (const transport of ['udp', 'tcp'] as const) {
    it(`to an address whose ${transport} port is taken fails with its name and advice, and leaves nothing bound`, async () => {
      const taken = transport === 'udp' ? createSocket('udp4') : createServer();
      const port = await new Promise<number>((resolve) => {
        const done = (): void => {
          const address = taken.address();
          resolve(typeof address === 'string' || address === null ? 0 : address.port);
        };
        if ('bind' in taken) taken.bind(0, '127.0.0.1', done);
        else taken.listen(0, '127.0.0.1', done);
      });
      const spare = await start();
      const free = spare.port;
      await spare.server.close(0);
      spare.exchange.close();
      const listen = [
        { address: '127.0.0.1', port: free },
        { address: '127.0.0.1', port },
      ];
      await expect(startDnsSide({ upstreamPort: 9, listen })).rejects.toThrow(
        `dns: cannot listen on 127.0.0.1:${port} (${transport}): EADDRINUSE: another program uses it`,
      );
      const again = await start({ listen: [{ address: '127.0.0.1', port: free }] });
      expect(again.port).toBe(free);
      taken.close();
    });
  }

  it('to an address that this machine does not have says so', async () => {
    const listen = [{ address: '192.0.2.1', port: 0 }];
    await expect(startDnsSide({ upstreamPort: 9, listen })).rejects.toThrow(
      'dns: cannot listen on 192.0.2.1:0 (udp): EADDRNOTAVAIL: no interface of this machine has that address',
    );
  });
});

describe('closing', () => {
  it('answers what is in flight over UDP and TCP, takes nothing new, and frees the port', async () => {
    const { port, server, rail } = await start();
    const slow = gate();
    upstream.script = async (_asked, query) => {
      await slow.passed;
      return plainAnswer(query);
    };
    const udp = ask('udp.example', { port });
    const client = new RawClient(port);
    client.socket.write(RawClient.framed(encodeQuery('tcp.example')));
    const idle = new RawClient(port);
    await until('both are asked', () => upstream.asked.length === 2);
    const closing = server.close(5000);
    client.socket.write(RawClient.framed(encodeQuery('late.example')));
    expect(await exchange(encodeQuery('late.example'), { port, timeoutMs: 200 })).toBeUndefined();
    await idle.closed;
    slow.open();
    expect((await udp).rcode).toBe('NOERROR');
    expect((await client.received(1)).map((message) => decodeAnswer(message).rcode)).toEqual(['NOERROR']);
    await closing;
    await client.closed;
    expect(rail.events).toHaveLength(2);
    const next = await startDnsSide({ upstreamPort: 9, listen: [{ address: '127.0.0.1', port }] });
    await next.server.close(0);
    next.exchange.close();
  });

  it('cuts what is not done after the grace', async () => {
    const { port, server, exchange: asking } = await start();
    upstream.script = () => undefined;
    const client = new RawClient(port);
    client.socket.write(RawClient.framed(encodeQuery('a.example')));
    await until('it is asked', () => upstream.asked.length === 1);
    const from = performance.now();
    await server.close(150);
    await client.closed;
    expect(performance.now() - from).toBeLessThan(1000);
    asking.close();
    await until('nothing is open', () => asking.inFlight === 0);
  });
});
