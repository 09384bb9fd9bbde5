// Entries of egress.allow: what an operator opens, and no more.
import { describe, expect, it } from 'vitest';
import { allows, parseAllow } from '../../../src/lib/egress-allow.ts';
import type { EgressAllow } from '../../../src/lib/egress-allow.ts';

function entry(text: string): EgressAllow {
  const parsed = parseAllow(text);
  if (!parsed.ok) throw new Error(parsed.detail);
  return parsed.allow;
}

describe('an entry', () => {
  const cases: readonly (readonly [
    text: string,
    host: string,
    address: string | undefined,
    port: number,
    opens: boolean,
  ])[] = [
    ['gitlab.corp.example', 'gitlab.corp.example', '10.0.0.1', 443, true],
    ['gitlab.corp.example', 'gitlab.corp.example', undefined, 22, true],
    ['gitlab.corp.example', 'evil.gitlab.corp.example', '10.0.0.1', 443, false],
    ['gitlab.corp.example', 'corp.example', '10.0.0.1', 443, false],
    ['gitlab.corp.example:443', 'gitlab.corp.example', '10.0.0.1', 443, true],
    ['gitlab.corp.example:443', 'gitlab.corp.example', '10.0.0.1', 80, false],
    ['10.0.5.7:5000', '10.0.5.7', '10.0.5.7', 5000, true],
    ['10.0.5.7:5000', '10.0.5.7', '10.0.5.7', 5001, false],
    ['10.0.5.7:5000', 'registry.example', '10.0.5.7', 5000, true],
    ['10.0.5.7:5000', 'registry.example', '10.0.5.8', 5000, false],
    ['10.0.5.0/24', 'x.example', '10.0.5.255', 80, true],
    ['10.0.5.0/24', 'x.example', '10.0.6.0', 80, false],
    ['10.0.5.0/24', 'x.example', '::ffff:10.0.5.1', 80, true],
    ['10.0.5.0/24', '10.0.5.1', undefined, 80, false],
    ['10.0.5.0/24:80', 'x.example', '10.0.5.1', 80, true],
    ['10.0.5.0/24:80', 'x.example', '10.0.5.1', 81, false],
    ['2001:db8::/32', 'x.example', '2001:db8:1::1', 80, true],
    ['2001:db8::/32', 'x.example', '2001:db9::1', 80, false],
    ['[2001:db8::1]:443', 'x.example', '2001:db8::1', 443, true],
    ['[2001:db8::1]:443', 'x.example', '2001:db8::1', 80, false],
  ];
  for (const [text, host, address, port, opens] of cases) {
    it(`${text} ${opens ? 'opens' : 'does not open'} ${host} at ${address ?? 'no address yet'}, port ${port}`, () => {
      expect(allows(entry(text), host, address, port)).toBe(opens);
    });
  }

  const refused: readonly (readonly [text: string, detail: RegExp])[] = [
    ['*.corp.example', /wildcards are not understood/],
    ['GitLab.example', /use `gitlab\.example`: lower case/],
    ['gitlab.example.', /use `gitlab\.example`.*without a trailing dot/],
    ['10.0.5.1/24', /./],
    ['10.0.5', /`10\.0\.5` is not an IP address or range/],
    ['10.0.5.7:0', /a port is 1 to 65535/],
    ['10.0.5.7:65536', /a port is 1 to 65535/],
    ['http://gitlab.example', /must be a host, an address or a range/],
    ['gitlab.example/path', /must be a host, an address or a range/],
    ['[10.0.5.7x]:80', /is not an IP address or range/],
    ['', /./],
    ['a..b', /must be a host/],
    ['-a.example', /must be a host/],
  ];
  for (const [text, detail] of refused) {
    it(`is not "${text}"`, () => {
      expect(parseAllow(text)).toEqual({ ok: false, detail: expect.stringMatching(detail) });
    });
  }
});
