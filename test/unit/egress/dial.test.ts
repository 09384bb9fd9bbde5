import { describe, expect, it } from 'vitest';
import { createDialer } from '../../../src/egress/dial.ts';
import type { Dialer } from '../../../src/egress/dial.ts';
import { parseAllow } from '../../../src/lib/egress-allow.ts';
import { refused, SUBJECT } from '../../support/fake-rail.ts';
import { FakeResolver } from '../../support/http-bench.ts';

const NAMES = {
  'public.example': ['9.9.9.9', '2606:4700::1111'],
  'mixed.example': ['10.0.0.1', '9.9.9.9', '127.0.0.1', '169.254.169.254'],
  'gitlab.corp.example': ['10.0.5.7'],
  'imds.example': ['169.254.169.254'],
  'many.example': Array.from({ length: 50 }, (_, i) => `9.9.9.${i}`),
  'blocked.example': { ok: false as const, refused: refused() },
  'gone.example': { ok: false as const, error: 'nxdomain' as const, rcode: 'NXDOMAIN' },
  'empty.example': { ok: false as const, error: 'no_address' as const },
};
function dialer(
  allow: readonly string[] = [],
  own: readonly { address: string; port: number }[] = [],
): Dialer & { asked: string[] } {
  const resolver = new FakeResolver(NAMES);
  const entries = allow.map((text) => {
    const parsed = parseAllow(text);
    if (!parsed.ok) throw new Error(parsed.detail);
    return parsed.allow;
  });
  const made = createDialer({ resolver, allow: entries, ports: [80, 443], own: () => own });
  return { ...made, asked: resolver.asked };
}
const failure = (error: string, detail?: string): object => ({
  ok: false,
  failure: { error, ...(detail === undefined ? {} : { detail: expect.stringContaining(detail) as string }) },
});

describe('a destination', () => {
  it('by address is never looked up', async () => {
    const egress = dialer();
    expect(await egress.locate(SUBJECT, '9.9.9.9', 443)).toEqual({ ok: true, addresses: ['9.9.9.9'] });
    expect(await egress.locate(SUBJECT, '::ffff:10.0.0.1', 443)).toMatchObject(
      failure('destination_ip_prohibited'),
    );
    expect(egress.asked).toEqual([]);
  });

  it('by name is looked up once, and loses its private addresses', async () => {
    const egress = dialer();
    expect(await egress.locate(SUBJECT, 'mixed.example', 80)).toEqual({ ok: true, addresses: ['9.9.9.9'] });
    expect(egress.asked).toEqual(['mixed.example']);
  });

  it('with many addresses is tried at four of them', async () => {
    const located = await dialer().locate(SUBJECT, 'many.example', 80);
    expect(located.ok && located.addresses).toHaveLength(4);
  });

  it('that is private is refused with the very line that would allow it', async () => {
    expect(await dialer().locate(SUBJECT, 'gitlab.corp.example', 443)).toMatchObject(
      failure('destination_ip_prohibited', 'add "gitlab.corp.example:443" to egress.allow'),
    );
    expect(await dialer().locate(SUBJECT, 'fd00::1', 443)).toMatchObject(
      failure('destination_ip_prohibited', 'add "[fd00::1]:443" to egress.allow'),
    );
  });

  it.each([
    ['gitlab.corp.example:443', 443, true],
    ['gitlab.corp.example', 443, true],
    ['10.0.5.7:443', 443, true],
    ['10.0.0.0/8', 443, true],
    ['10.0.5.7:443', 80, false],
    ['gitlab.corp.example:8443', 443, false],
    ['other.corp.example', 443, false],
    ['10.0.6.0/24', 443, false],
  ])('under the line %s on port %i: %s', async (line, port, ok) => {
    expect((await dialer([line]).locate(SUBJECT, 'gitlab.corp.example', port)).ok).toBe(ok);
  });

  it.each([
    ['gitlab.corp.example:22', true],
    ['10.0.5.7:22', true],
    ['10.0.5.0/24:22', true],
    ['10.0.6.0/24:22', false],
    ['gitlab.corp.example', false],
  ])('on another port than egress.ports has under the line %s: %s', async (line, ok) => {
    expect((await dialer([line]).locate(SUBJECT, 'gitlab.corp.example', 22)).ok).toBe(ok);
  });

  it('on a port that nothing opens is refused before it is looked up', async () => {
    const egress = dialer(['10.0.0.0/8']);
    expect(await egress.locate(SUBJECT, 'gitlab.corp.example', 22)).toMatchObject(
      failure('port_not_allowed', 'add "gitlab.corp.example:22" to egress.allow'),
    );
    expect(egress.asked).toEqual([]);
  });

  it.each(['imds.example', 'metadata.google.internal', '169.254.169.254', 'metadata'])(
    '%s is metadata: refused whatever egress.allow says, and without advice',
    async (host) => {
      const egress = dialer(['0.0.0.0/0', 'imds.example', 'metadata.google.internal', 'metadata']);
      const located = await egress.locate(SUBJECT, host, 80);
      expect(located).toMatchObject(failure('destination_ip_prohibited', 'metadata'));
      expect(JSON.stringify(located)).not.toContain('add "');
    },
  );

  it.each([
    ['127.0.0.1', '127.0.0.1', false],
    ['127.0.0.1', '127.0.0.2', true],
    ['127.0.0.1', '0.0.0.0', false],
    ['0.0.0.0', '127.9.9.9', false],
    ['::', '127.0.0.1', false],
  ])('with a listener on %s may be dialled at %s: %s', async (listening, host, ok) => {
    const egress = dialer(['127.0.0.0/8', '0.0.0.0/8'], [{ address: listening, port: 443 }]);
    expect((await egress.locate(SUBJECT, host, 443)).ok).toBe(ok);
    expect((await egress.locate(SUBJECT, host, 80)).ok).toBe(true);
  });

  it('whose name the rail refuses is refused with that decision', async () => {
    expect(await dialer().locate(SUBJECT, 'blocked.example', 80)).toEqual({ ok: false, refused: refused() });
  });

  it('whose name leads nowhere says how', async () => {
    expect(await dialer().locate(SUBJECT, 'gone.example', 80)).toMatchObject({
      failure: { error: 'dns_error', rcode: 'NXDOMAIN' },
    });
    expect(await dialer().locate(SUBJECT, 'empty.example', 80)).toMatchObject(failure('dns_error'));
  });
});

describe('a connection', () => {
  it('to addresses that all refuse says so, and one given up on is not made', async () => {
    const egress = dialer();
    const never = new AbortController();
    expect(await egress.dial(['127.0.0.1', '127.0.0.2'], 1, never.signal)).toMatchObject(
      failure('connection_refused'),
    );
    never.abort();
    expect(await egress.dial(['127.0.0.1'], 1, never.signal)).toMatchObject(failure('connection_terminated'));
  });
});
