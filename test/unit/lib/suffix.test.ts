// Which domain a name belongs to (DESIGN.md section 3): the key that new names are counted under.
import { describe, expect, it } from 'vitest';
import { nameParts } from '../../../src/lib/suffix.ts';
import { Random } from '../../support/random.ts';

describe('the parts of a name', () => {
  const cases: readonly (readonly [name: string, suffix: string, icann: string, subdomain: string])[] = [
    ['example.com', 'example.com', 'example.com', ''],
    ['www.example.com', 'example.com', 'example.com', 'www'],
    ['a.b.c.example.co.uk', 'example.co.uk', 'example.co.uk', 'a.b.c'],
    ['x.y.github.io', 'y.github.io', 'github.io', 'x'],
    ['y.github.io', 'y.github.io', 'github.io', ''],
    ['github.io', 'github.io', 'github.io', ''],
    ['com', 'com', 'com', ''],
    ['co.uk', 'co.uk', 'co.uk', ''],
    ['localhost', 'localhost', 'localhost', ''],
    ['.', '.', '.', ''],
    ['a.b.made-up-tld', 'b.made-up-tld', 'b.made-up-tld', 'a'],
    ['www.ck', 'www.ck', 'www.ck', ''],
    ['a.b.ck', 'a.b.ck', 'a.b.ck', ''],
    ['_dmarc.example.com', 'example.com', 'example.com', '_dmarc'],
    ['*.example.com', 'example.com', 'example.com', '*'],
    ['a\\000b.example.com', 'example.com', 'example.com', 'a\\000b'],
    ['xn--bcher-kva.example.com', 'example.com', 'example.com', 'xn--bcher-kva'],
  ];
  for (const [name, suffix, icannSuffix, subdomain] of cases) {
    it(`${name} belongs to ${suffix}, by ICANN alone to ${icannSuffix}`, () => {
      expect(nameParts(name)).toEqual({ suffix, icannSuffix, subdomain, reverse: false });
    });
  }
});

describe('a reverse name', () => {
  it('of IPv4 belongs to its /24', () => {
    expect(nameParts('7.2.0.192.in-addr.arpa')).toEqual({
      suffix: '2.0.192.in-addr.arpa',
      icannSuffix: '2.0.192.in-addr.arpa',
      subdomain: '7',
      reverse: true,
    });
  });

  it('of IPv6 belongs to its /48', () => {
    const nibbles = '1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.4.3.2.1.b.b.a.a.8.b.d.0.1.0.0.2';
    expect(nameParts(`${nibbles}.ip6.arpa`)).toMatchObject({
      suffix: 'b.b.a.a.8.b.d.0.1.0.0.2.ip6.arpa',
      subdomain: '1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.4.3.2.1',
      reverse: true,
    });
  });

  it('that is shorter is its own suffix', () => {
    for (const name of ['in-addr.arpa', '192.in-addr.arpa', 'ip6.arpa', '2.ip6.arpa'])
      expect(nameParts(name)).toMatchObject({ suffix: name, subdomain: '', reverse: true });
  });

  it('is not one that only looks so', () => {
    for (const name of ['in-addr.arpa.example.com', 'fakein-addr.arpa', 'notip6.arpa'])
      expect(nameParts(name).reverse, name).toBe(false);
  });
});

describe('of any name', () => {
  it('subdomain and suffix together are the name, and the suffix is never empty', () => {
    const random = new Random(5);
    const labels = [
      'a',
      'com',
      'co',
      'uk',
      'github',
      'io',
      '0',
      '10',
      '_x',
      '\\046',
      'xn--p1ai',
      'arpa',
      'ip6',
      '-',
    ];
    for (let i = 0; i < 5000; i += 1) {
      const name = Array.from({ length: random.int(1, 8) }, () => random.pick(labels)).join('.');
      const { suffix, icannSuffix, subdomain } = nameParts(name);
      expect(subdomain === '' ? suffix : `${subdomain}.${suffix}`).toBe(name);
      expect(name.endsWith(icannSuffix) && icannSuffix.length > 0, name).toBe(true);
    }
  });

  it('octets that are no host name change nothing about the domain above them', () => {
    for (const label of ['\\255', 'a b', 'a:80', 'user@', 'http:', '%00', '[', 'é', 'a/b', 'a?b#c'])
      expect(nameParts(`${label}.example.com`).suffix, label).toBe('example.com');
  });
});
