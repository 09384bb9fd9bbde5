// The main job on real traffic: one rail for DNS and HTTP, seen from the upstream, the origin and the client.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { execFileSync } from 'node:child_process';
import { ask } from '../support/dns-client.ts';
import { startUpstream } from '../support/dns-upstream.ts';
import type { RecordingUpstream } from '../support/dns-upstream.ts';
import { connectTunnel, get } from '../support/http-client.ts';
import { startOrigin } from '../support/http-origin.ts';
import type { Origin } from '../support/http-origin.ts';
import { startWeir, until, VM_A, VM_B } from '../support/weir.ts';
import type { RunningWeir } from '../support/weir.ts';

/** The shipped burst rule with a hold short enough for a test, and nothing else. */
const SHORT_HOLD = `
- id: dns-new-name-burst
  title: Many new names
  event: dns.query
  count: new(dns.qname)
  by: [vm, dns.suffix]
  limit: { max: 60, window: 2s }
  hold: { for: 2s, factor: 2, max: 1m }`;

let upstream: RecordingUpstream;
let origin: Origin;
beforeAll(async () => {
  upstream = await startUpstream();
  origin = await startOrigin();
});
afterAll(async () => {
  await upstream.close();
  origin.close();
});

const reached = (suffix: string): string[] =>
  [...upstream.names()].filter((name) => name.endsWith(`.${suffix}`));
const names = (count: number, suffix: string): string[] =>
  Array.from({ length: count }, (_, i) => `n${i}.${suffix}`);

describe('a burst of new names with the shipped rules', () => {
  let weir: RunningWeir;
  beforeAll(async () => {
    weir = await startWeir({
      upstreamPort: upstream.port,
      config: { egress: { allow: ['127.0.0.0/8'], ports: [origin.port] } },
    });
  });
  afterAll(async () => {
    expect(await weir.stop()).toBe(0);
  });

  for (const tcp of [false, true]) {
    it(`over ${tcp ? 'TCP' : 'UDP'}: exactly the first 60 reach the upstream, the rest are NXDOMAIN with EDE 15`, async () => {
      const suffix = tcp ? 'tcp-burst.example' : 'udp-burst.example';
      const via = { port: weir.dns, from: VM_A, tcp };
      for (const [i, name] of names(200, suffix).entries()) {
        const answer = await ask(name, via);
        expect(answer.rcode, name).toBe(i < 60 ? 'NOERROR' : 'NXDOMAIN');
        if (i >= 60)
          expect(answer.ede).toMatchObject({
            code: 15,
            text: expect.stringMatching(/^rule=dns-new-name-burst id=\w{26}: too many/),
          });
      }
      expect(reached(suffix)).toEqual(names(60, suffix));
      expect((await ask(`n3.${suffix}`, via)).rcode).toBe('NOERROR');
      expect((await ask('www.other.example', via)).rcode).toBe('NOERROR');
      expect((await ask(`n100.${suffix}`, { ...via, from: VM_B })).rcode).toBe('NOERROR');
      expect((await ask(`n150.${suffix}`, via)).rcode).toBe('NXDOMAIN');
    });
  }

  it('is shown by dig with its EDE, and its id finds the line in the log', () => {
    const seen = execFileSync(
      'dig',
      ['@127.0.0.1', '-p', String(weir.dns), '-b', VM_A, '+edns', 'n199.udp-burst.example'],
      { encoding: 'utf8' },
    );
    expect(seen).toContain('status: NXDOMAIN');
    expect(seen).toMatch(
      /EDE: 15 \(Blocked\): \(rule=dns-new-name-burst id=\w{26}: too many new names under udp-burst\.example\)/,
    );
    const id = /id=(\w{26})/.exec(seen)?.[1];
    const line = weir.lines.find((l) => l['kind'] === 'detection' && l['event'] === id);
    expect(line).toMatchObject({
      rule: 'dns-new-name-burst',
      state: 'blocked',
      vm: 'vm-a',
      mode: 'enforce',
      key: 'vm=vm-a dns.suffix=udp-burst.example',
    });
  });

  it('spread over UDP, TCP, requests and CONNECTs is one burst: the upstream sees exactly 60 names', async () => {
    const suffix = 'spread.example';
    const statuses: number[] = [];
    for (const [i, name] of names(200, suffix).entries()) {
      if (i % 4 < 2) await ask(name, { port: weir.dns, from: VM_A, tcp: i % 4 === 1 });
      else if (i % 4 === 2)
        statuses.push((await get(`http://${name}:${origin.port}/`, { proxy: weir.http, from: VM_A })).status);
      else {
        const tunnel = await connectTunnel(`${name}:${origin.port}`, { proxy: weir.http, from: VM_A });
        tunnel.socket.destroy();
        statuses.push(tunnel.status);
      }
    }
    expect(reached(suffix)).toEqual(names(60, suffix));
    expect(new Set(statuses.slice(0, 30))).toEqual(new Set([200]));
    expect(new Set(statuses.slice(30))).toEqual(new Set([429]));
  });
});

describe('a hold', () => {
  it('ends by itself, then new names pass again; a second trip holds twice as long', async () => {
    const weir = await startWeir({ upstreamPort: upstream.port, rules: SHORT_HOLD });
    const via = { port: weir.dns, from: VM_A };
    const trip = async (round: number, count: number): Promise<number> => {
      for (let i = 0; i < count; i += 1)
        expect((await ask(`r${round}-${i}.hold.example`, via)).rcode).toBe('NOERROR');
      expect((await ask(`r${round}-over.hold.example`, via)).rcode).toBe('NXDOMAIN');
      const from = performance.now();
      await until(
        'new names pass again',
        async () => (await ask(`r${round}-after-${performance.now()}.hold.example`, via)).rcode === 'NOERROR',
        10_000,
      );
      return performance.now() - from;
    };
    const first = await trip(1, 60);
    const second = await trip(2, 59);
    expect(first).toBeGreaterThan(1800);
    expect(second).toBeGreaterThan(3800);
    expect(await weir.stop()).toBe(0);
  });
});

describe('octets of new names', () => {
  for (const [shape, label] of [
    ['one letter', 1],
    ['30 octets', 30],
    ['a full label', 63],
    ['three full labels', 191],
  ] as const) {
    it(`of ${shape} each: at most 1,024 get out under one domain, at any rate`, async () => {
      const rules = (await import('node:fs')).readFileSync(
        new URL('../../config/rules/dns.yaml', import.meta.url),
        'utf8',
      );
      const weir = await startWeir({
        upstreamPort: upstream.port,
        rules: rules.replace('max: 60, window: 60s', 'max: 100000, window: 60s'),
      });
      const suffix = `shape${label}.example`;
      const rest = label > 63 ? `${'b'.repeat(63)}.${'c'.repeat(63)}.` : '';
      for (let i = 0; i < (label < 10 ? 400 : 120); i += 1) {
        const own = label > 63 ? 63 : label;
        const text =
          label === 1
            ? String.fromCharCode(97 + (i % 26)) + (i < 26 ? '' : i.toString(36))
            : i.toString(36).padStart(own, 'a');
        await ask(`${text}.${rest}${suffix}`, { port: weir.dns, from: VM_A });
      }
      const out = reached(suffix).reduce((sum, name) => sum + name.length - suffix.length - 1, 0);
      expect(out).toBeLessThanOrEqual(1024 + 4);
      expect(out).toBeGreaterThan(label === 1 ? 256 : 1024 - 192);
      expect(reached(suffix).length).toBeLessThanOrEqual(257);
      await weir.stop();
    });
  }
});

describe('requests to one host', () => {
  it('number 601 gets 429 with a true Retry-After; the origin saw exactly 600; others are not touched', async () => {
    const rules = `
- { id: http-host-requests, title: Many requests, event: [http.request, tunnel.open], by: [vm, dest.host], limit: { max: 600, window: 6s } }`;
    const weir = await startWeir({
      upstreamPort: upstream.port,
      rules,
      config: {
        egress: {
          allow: [
            '127.0.0.0/8',
            `127.0.0.1:${origin.port}`,
            `127.0.0.4:${origin.port}`,
            `busy.example:${origin.port}`,
            `calm.example:${origin.port}`,
          ],
        },
      },
    });
    const before = origin.requests.length;
    const url = `http://busy.example:${origin.port}/`;
    const a = { proxy: weir.http, from: VM_A };
    for (let i = 0; i < 590; i += 10) {
      const wave = await Promise.all(Array.from({ length: 10 }, () => get(url, a)));
      for (const answer of wave) expect(answer.status).toBe(200);
    }
    for (let i = 0; i < 10; i += 1) {
      const tunnel = await connectTunnel(`busy.example:${origin.port}`, a);
      expect(tunnel.status).toBe(200);
      tunnel.socket.destroy();
    }
    const refused = await get(url, a);
    const at = performance.now();
    expect(refused.status).toBe(429);
    expect(refused.headers.get('x-weir-reason')).toBe('http-host-requests');
    expect(refused.headers.get('content-type')).toBe('application/problem+json');
    expect(refused.headers.get('proxy-status')).toContain('weir; error=http_request_error');
    expect(refused.headers.get('ratelimit-policy')).toBe('"http-host-requests";q=600;w=6');
    expect(JSON.parse(refused.body)).toMatchObject({
      status: 429,
      code: 'rate_limited',
      rule: 'http-host-requests',
      vm: 'vm-a',
    });
    const connect = await connectTunnel(`busy.example:${origin.port}`, a);
    expect(connect.status).toBe(429);
    expect(connect.answer.headers.get('connection')).toBe('close');
    connect.socket.destroy();
    expect((await get(`http://calm.example:${origin.port}/`, a)).status).toBe(200);
    expect((await get(url, { ...a, from: VM_B })).status).toBe(200);
    expect(origin.requests.length - before).toBe(590 + 2);
    const seconds = Number(refused.headers.get('retry-after'));
    expect(seconds).toBeGreaterThan(0);
    expect(seconds).toBeLessThanOrEqual(7);
    await new Promise((resolve) => {
      setTimeout(resolve, Math.max(0, seconds * 1000 - (performance.now() - at)));
    });
    expect((await get(url, a)).status).toBe(200);
    expect(await weir.stop()).toBe(0);
  });
});
