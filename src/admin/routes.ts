// What the admin listener serves: health, readiness, metrics. Owns the checks that keep a browser or a sandbox from using it.
import { Hono } from 'hono';
import { formatIp, parseIp } from '../lib/ip.ts';
import { createMetrics } from './metrics.ts';
import type { Readings } from './metrics.ts';

export interface AdminOptions {
  readonly readings: Readings;
  /** Milliseconds since the data thread last gave a sign of life. */
  readonly silentMs: () => number;
  readonly ready: () => boolean;
  /** Names and addresses that the Host header may have, lower case, without port; with an any-address every literal address. */
  readonly hosts: ReadonlySet<string>;
}

/** Longer than this without a sign of life and weir isn't healthy. */
const SILENT_MS_MAX = 5000;

const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
};

const problem = (status: number, title: string): Response =>
  Response.json(
    { type: 'about:blank', title, status },
    { status, headers: { ...SECURITY_HEADERS, 'content-type': 'application/problem+json' } },
  );

/** Whether the Host header names this listener. A page of another name would have that name there (DNS rebinding). */
function isServed(header: string | undefined, hosts: ReadonlySet<string>): boolean {
  const host = /^(?:\[([^\]]+)\]|([^:[\]]+))(?::\d{1,5})?$/.exec((header ?? '').toLowerCase());
  const name = host?.[1] ?? host?.[2] ?? '';
  const ip = parseIp(name);
  if (ip === undefined) return hosts.has(name);
  return hosts.has(formatIp(ip)) || hosts.has('0.0.0.0') || hosts.has('::');
}

export function createAdmin(options: AdminOptions): Hono {
  const app = new Hono();
  const metrics = createMetrics(options.readings);
  app.use(async (c, next) => {
    if (!isServed(c.req.header('host'), options.hosts))
      return problem(421, 'this host name is not served here');
    if (c.req.header('origin') !== undefined) return problem(403, 'requests from web pages are not served');
    await next();
    for (const [name, value] of Object.entries(SECURITY_HEADERS)) c.header(name, value);
    return undefined;
  });
  app.get('/healthz', (c) => {
    const silentMs = options.silentMs();
    return silentMs <= SILENT_MS_MAX
      ? c.text('ok\n')
      : problem(503, `the data thread has been silent for ${silentMs} ms`);
  });
  app.get('/readyz', (c) =>
    options.ready()
      ? c.text('ready\n')
      : problem(503, 'not ready: listeners are not bound, or weir is stopping'),
  );
  app.get('/metrics', async (c) =>
    c.body(await metrics.text(), 200, { 'content-type': metrics.contentType }),
  );
  app.notFound(() => problem(404, 'there is nothing here: see /healthz, /readyz and /metrics'));
  app.onError(() => problem(500, 'internal error'));
  return app;
}
