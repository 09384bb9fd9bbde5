// What the admin listener serves: health, readiness, metrics. Owns the checks that keep a browser or a sandbox from using it.
import { Hono } from 'hono';
import { createMetrics } from './metrics.ts';
import type { Readings } from './metrics.ts';

export interface AdminOptions {
  readonly readings: Readings;
  /** Milliseconds since the data thread last gave a sign of life. */
  readonly silentMs: () => number;
  readonly ready: () => boolean;
  /** Values of the Host header that are served, lower case, without port. */
  readonly hosts: ReadonlySet<string>;
}

/** Longer than this without a sign of life and weir isn't healthy. */
const SILENT_MS_MAX = 5000;

const problem = (status: number, title: string): Response =>
  Response.json(
    { type: 'about:blank', title, status },
    { status, headers: { 'content-type': 'application/problem+json' } },
  );

const hostOf = (header: string | undefined): string =>
  (header ?? '')
    .toLowerCase()
    .replace(/:\d+$/, '')
    .replace(/^\[|\]$/g, '');

export function createAdmin(options: AdminOptions): Hono {
  const app = new Hono();
  const metrics = createMetrics(options.readings);
  app.use(async (c, next) => {
    // A page that a browser was sent to by a name of the attacker's has that name in Host (DNS rebinding).
    if (!options.hosts.has(hostOf(c.req.header('host'))))
      return problem(421, 'this host name is not served here');
    if (c.req.header('origin') !== undefined) return problem(403, 'requests from web pages are not served');
    await next();
    c.header('cache-control', 'no-store');
    c.header('x-content-type-options', 'nosniff');
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
