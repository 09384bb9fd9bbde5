// The admin listener's answers, without a socket.
import { describe, expect, it } from 'vitest';
import { METRICS } from '../../../src/admin/metrics.ts';
import type { MetricSource, Readings } from '../../../src/admin/metrics.ts';
import { createAdmin } from '../../../src/admin/routes.ts';
import type { AdminOptions } from '../../../src/admin/routes.ts';
import type { EventType } from '../../../src/rail/fields.ts';

const NUMBERS: Readonly<Partial<Record<MetricSource, number>>> = {
  evictions: 7,
  vms: 2,
  detections_blocked: 3,
};
const readings: Readings = {
  events: (type: EventType, refused: boolean) => (type === 'dns.query' ? (refused ? 140 : 60) : 0),
  get: (name) => NUMBERS[name] ?? 0,
};

const ask = (
  path: string,
  headers: Record<string, string> = { host: '127.0.0.1:9053' },
  options: Partial<AdminOptions> & { method?: string } = {},
): Response | Promise<Response> =>
  createAdmin({
    readings,
    silentMs: () => 100,
    ready: () => true,
    hosts: new Set(['localhost', '127.0.0.1', '::1', '192.0.2.7']),
    ...options,
  }).request(path, { headers, method: options.method ?? 'GET' });

const status = async (answer: Response | Promise<Response>): Promise<number> => (await answer).status;

describe('/healthz', () => {
  it('is 200 while the data thread gives signs of life, else 503 with the reason', async () => {
    const path = '/healthz';
    expect(await status(ask(path))).toBe(200);
    expect(await status(ask(path, undefined, { silentMs: () => 5000 }))).toBe(200);
    const silent = await ask(path, undefined, { silentMs: () => 5001 });
    expect(silent.status).toBe(503);
    expect(await silent.json()).toEqual({
      type: 'about:blank',
      title: 'the data thread has been silent for 5001 ms',
      status: 503,
    });
  });

  it('does not depend on readiness', async () => {
    expect(await status(ask('/healthz', undefined, { ready: () => false }))).toBe(200);
  });
});

describe('/readyz', () => {
  it('is 200 once the listeners are bound, 503 before and while stopping', async () => {
    expect(await status(ask('/readyz'))).toBe(200);
    const before = await ask('/readyz', undefined, { ready: () => false });
    expect(before.status).toBe(503);
    expect(before.headers.get('content-type')).toBe('application/problem+json');
  });
});

describe('/metrics', () => {
  it('shows the numbers of this moment in the Prometheus text format', async () => {
    const answer = await ask('/metrics');
    expect(answer.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/);
    const text = await answer.text();
    expect(text).toContain('# TYPE weir_events_total counter');
    expect(text).toContain('weir_events_total{type="dns.query",verdict="allow"} 60');
    expect(text).toContain('weir_events_total{type="dns.query",verdict="block"} 140');
    expect(text).toContain('weir_detections_total{state="blocked"} 3');
    expect(text).toContain('weir_state_evictions_total 7');
    expect(text).toContain('# TYPE weir_vms gauge');
    expect(text).toContain('weir_vms 2');
  });

  it('reads anew at each scrape, without adding up', async () => {
    let evictions = 1;
    const moving: Readings = { ...readings, get: () => evictions };
    const admin = createAdmin({
      readings: moving,
      silentMs: () => 0,
      ready: () => true,
      hosts: new Set(['a']),
    });
    const scrape = async (): Promise<string> =>
      (await admin.request('/metrics', { headers: { host: 'a' } })).text();
    expect(await scrape()).toContain('weir_state_evictions_total 1\n');
    evictions = 5;
    expect(await scrape()).toContain('weir_state_evictions_total 5\n');
    expect(await scrape()).toContain('weir_state_evictions_total 5\n');
  });

  it('is named by Prometheus’ rules and carries no host, name or VM', () => {
    for (const { name, kind, values } of METRICS) {
      expect(name).toMatch(kind === 'counter' ? /^weir_[a-z_]+_total$/ : /^weir_[a-z_]+(?<!_total)$/);
      for (const { labels } of values)
        for (const label of Object.keys(labels)) expect(['type', 'verdict', 'state']).toContain(label);
    }
    expect(new Set(METRICS.map(({ name }) => name)).size).toBe(METRICS.length);
  });
});

describe('the Host header', () => {
  for (const host of [
    'localhost',
    'LOCALHOST:9053',
    '127.0.0.1',
    '[::1]:9053',
    '[0:0::1]',
    '192.0.2.7:9053',
  ]) {
    it(`${host} is served`, async () => {
      expect(await status(ask('/healthz', { host }))).toBe(200);
    });
  }

  for (const host of [
    '',
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    '192.0.2.8',
    '::1',
  ]) {
    it(`"${host}" gets 421: a page could have been sent here by that name`, async () => {
      for (const path of ['/healthz', '/readyz', '/metrics', '/'])
        expect(await status(ask(path, { host })), path).toBe(421);
    });
  }

  it('may be any literal address when weir listens on all, for such a name can not be pointed elsewhere', async () => {
    const options = { hosts: new Set(['0.0.0.0']) };
    expect(await status(ask('/healthz', { host: '192.0.2.200:9053' }, options))).toBe(200);
    expect(await status(ask('/healthz', { host: 'evil.example' }, options))).toBe(421);
  });
});

describe('a request from a web page', () => {
  for (const origin of ['http://evil.example', 'http://127.0.0.1:9053', 'null']) {
    it(`with Origin ${origin} is refused`, async () => {
      expect(await status(ask('/metrics', { host: 'localhost', origin }))).toBe(403);
    });
  }
});

describe('everything else', () => {
  for (const [method, path] of [
    ['GET', '/'],
    ['GET', '/metrics/'],
    ['GET', '/v1/counters'],
    ['POST', '/healthz'],
    ['DELETE', '/metrics'],
    ['PUT', '/healthz'],
  ] as const) {
    it(`${method} ${path} is 404 in problem+json`, async () => {
      const answer = await ask(path, undefined, { method });
      expect(answer.status).toBe(404);
      expect(answer.headers.get('content-type')).toBe('application/problem+json');
      expect(await answer.json()).toMatchObject({ status: 404 });
    });
  }

  it('that goes wrong is 500 and says nothing of the inside', async () => {
    const answer = await ask('/healthz', undefined, {
      silentMs: () => {
        throw new Error('secret detail');
      },
    });
    expect(answer.status).toBe(500);
    expect(await answer.text()).not.toContain('secret');
  });
});

describe('every answer', () => {
  it('tells browsers to keep, guess, frame and run nothing', async () => {
    for (const [path, host] of [
      ['/healthz', 'localhost'],
      ['/metrics', 'localhost'],
      ['/nothing', 'localhost'],
      ['/healthz', 'evil.example'],
    ] as const) {
      const { headers } = await ask(path, { host });
      expect(headers.get('cache-control'), path).toBe('no-store');
      expect(headers.get('x-content-type-options'), path).toBe('nosniff');
      expect(headers.get('content-security-policy'), path).toContain("default-src 'none'");
    }
  });
});
