// Loading the configuration: what a person wrote, what weir runs by, and what is said of mistakes.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../../src/config/load.ts';
import type { Config, Loaded } from '../../../src/config/load.ts';

const RESOLV_CONF = 'search example.com\nnameserver 192.0.2.53\nnameserver 2001:db8::53\n';

let cwd: string;
beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), 'weir-config-'));
});
afterAll(() => rmSync(cwd, { recursive: true, force: true }));

function load(text?: string, env: Record<string, string> = {}, resolvConf = RESOLV_CONF): Loaded {
  if (text !== undefined) writeFileSync(join(cwd, 'weir.yaml'), text);
  return loadConfig({ file: text === undefined ? undefined : 'weir.yaml', env, cwd, resolvConf });
}

function good(text?: string, env?: Record<string, string>): Config {
  const loaded = load(text, env);
  if (!loaded.ok) throw new Error(loaded.problems.join('\n'));
  return loaded.config;
}

function problems(text: string, env?: Record<string, string>, resolvConf?: string): readonly string[] {
  const loaded = load(text, env, resolvConf);
  return loaded.ok ? [] : loaded.problems;
}

describe('a configuration', () => {
  it('is all defaults when nothing is written', () => {
    const config = good();
    expect(config.dns.listen).toEqual([{ address: '127.0.0.1', port: 5300 }]);
    expect(config.http.listen).toEqual([{ address: '127.0.0.1', port: 3128 }]);
    expect(config.admin.listen).toEqual([{ address: '127.0.0.1', port: 9053 }]);
    expect(config.dns.upstreams).toEqual([
      { transport: 'udp', address: '192.0.2.53', port: 53 },
      { transport: 'udp', address: '2001:db8::53', port: 53 },
    ]);
    expect(config.egress).toEqual({ allow: [], ports: [80, 443, 8080, 8443] });
    expect(config.state).toEqual({ keysPerVm: 1024, maxBytes: 2 ** 30 });
    expect(config.log).toMatchObject({ file: null, keep: 5, intervalMs: 10_000 });
    expect(config.data).toBe(join(cwd, 'data'));
  });

  it('by default has the shipped rules, whatever the working directory is', () => {
    const texts = good().rules.profiles.get('balanced') ?? [];
    expect(texts.map(({ path }) => path.split('/').at(-1))).toEqual(['dns.yaml', 'http.yaml']);
    expect(texts[0]?.text).toContain('dns-new-name-burst');
  });

  it('is frozen, all the way down', () => {
    const config = good('vms: [{ id: vm-a, sources: ["192.0.2.1"] }]');
    expect(Object.isFrozen(config)).toBe(true);
    expect(Object.isFrozen(config.dns.listen)).toBe(true);
    expect(Object.isFrozen(config.vms[0]?.sources[0]?.base.words)).toBe(true);
    expect(Object.isFrozen(config.rules.profiles.get('balanced')?.[0])).toBe(true);
  });

  it('can be handed to another thread as a copy', () => {
    const config = good(
      'egress: { allow: ["192.0.2.0/24:443"] }\ndns: { zones: { example: ["tcp://192.0.2.9"] } }',
    );
    expect(structuredClone(config)).toEqual(config);
  });

  it('reads an empty file as all defaults', () => {
    expect(good('# nothing yet\n')).toEqual(good());
  });

  it('finds config/weir.yaml below the working directory when no file is named', () => {
    const home = join(cwd, 'home');
    mkdirSync(join(home, 'config'), { recursive: true });
    writeFileSync(join(home, 'config', 'weir.yaml'), 'data: kept\n');
    const loaded = loadConfig({ file: undefined, env: {}, cwd: home, resolvConf: RESOLV_CONF });
    expect(loaded).toMatchObject({
      ok: true,
      file: 'config/weir.yaml',
      config: { data: join(home, 'kept') },
    });
  });

  it('that is named and missing is a problem, not a default', () => {
    const loaded = loadConfig({ file: 'gone.yaml', env: {}, cwd, resolvConf: RESOLV_CONF });
    expect(loaded).toMatchObject({
      ok: false,
      problems: [expect.stringMatching(/^gone\.yaml: can't be read: ENOENT/)],
    });
  });

  it('takes lists of listeners, IPv6 and port 0', () => {
    expect(good('dns: { listen: ["[2001:DB8:0::1]:53", "127.0.0.1:0"] }').dns.listen).toEqual([
      { address: '2001:db8::1', port: 53 },
      { address: '127.0.0.1', port: 0 },
    ]);
  });

  it('expands patterns of rule files in the order of their names', () => {
    mkdirSync(join(cwd, 'packs'), { recursive: true });
    for (const name of ['b.yaml', 'a.yaml', 'c.txt']) writeFileSync(join(cwd, 'packs', name), `# ${name}\n`);
    const config = good(
      'rules: { corp: [packs/c.txt], profiles: { balanced: ["packs/*.yaml"], strict: [] } }',
    );
    expect(config.rules.corp).toEqual([{ path: 'packs/c.txt', text: '# c.txt\n' }]);
    expect(config.rules.profiles.get('balanced')?.map(({ path }) => path)).toEqual([
      'packs/a.yaml',
      'packs/b.yaml',
    ]);
    expect(config.rules.profiles.get('strict')).toEqual([]);
  });
});

describe('strangers', () => {
  it('share one VM while every listener is on loopback', () => {
    expect(good('dns: { listen: ["127.0.0.53:53", "[::1]:53"] }').identity.unknown).toBe('one');
  });

  for (const section of ['dns', 'http'] as const) {
    it(`are refused as soon as ${section} listens elsewhere`, () => {
      expect(good(`${section}: { listen: "192.0.2.1:53" }`).identity.unknown).toBe('refuse');
      expect(good(`${section}: { listen: "[::]:53" }`).identity.unknown).toBe('refuse');
    });
  }

  it('are treated as is written, where it is written', () => {
    expect(good('http: { listen: "0.0.0.0:3128" }\nidentity: { unknown: by-address }').identity.unknown).toBe(
      'by-address',
    );
  });
});

describe('a mistake is named with file, line, column and what to do', () => {
  const cases: readonly (readonly [what: string, text: string, said: string])[] = [
    [
      'an unknown key',
      'dns:\n  listn: "127.0.0.1:53"\n',
      'weir.yaml:2:10: unknown key `dns.listn`: did you mean `listen`?',
    ],
    ['an unknown section', 'metrics: {}\n', 'weir.yaml:1:10: unknown key `metrics`'],
    [
      'an unknown key in a list',
      'vms:\n  - { id: a, source: [], sources: ["192.0.2.1"] }\n',
      'weir.yaml:2:22: unknown key `vms.0.source`: did you mean `sources`?',
    ],
    ['a section without keys', 'dns:\n', 'weir.yaml:1:5: dns: must be a section with keys below it'],
    [
      'a list in place of a configuration',
      '- dns\n',
      'weir.yaml:1:1: configuration: must be a section with keys below it',
    ],
    [
      'a listener without a port',
      'http: { listen: 127.0.0.1 }\n',
      'weir.yaml:1:17: http.listen: must be an IP address and a port, such as 127.0.0.1:5300 or [::1]:5300',
    ],
    [
      'one bad listener of several',
      'dns: { listen: ["127.0.0.1:53", "localhost:53"] }\n',
      'weir.yaml:1:33: dns.listen.1: must be an IP address and a port, such as 127.0.0.1:5300 or [::1]:5300',
    ],
    ['no listener', 'dns: { listen: [] }\n', 'weir.yaml:1:16: dns.listen: must not be empty'],
    [
      'an upstream by name',
      'dns: { upstreams: ["udp://dns.example"] }\n',
      'weir.yaml:1:20: dns.upstreams.0: `dns.example` is not an IP address with an optional port',
    ],
    [
      'an upstream without a scheme',
      'dns: { zones: { corp.example: [192.0.2.1] } }\n',
      'weir.yaml:1:32: dns.zones.corp.example.0: must be udp://address or tcp://address, with or without :port',
    ],
    [
      'a zone in capitals',
      'dns: { zones: { Corp.example: ["udp://192.0.2.1"] } }\n',
      'weir.yaml:1:31: dns.zones.Corp.example: must be a lower-case name without a trailing dot',
    ],
    [
      'a range with bits behind its length',
      'vms: [{ id: a, sources: ["192.0.2.1/24"] }]\n',
      'weir.yaml:1:26: vms.0.sources.0: must be an IP address or a range without bits behind its length, such as 10.1.0.2/32 or fd00:1::/64',
    ],
    [
      'a VM without sources',
      'vms: [{ id: a }]\n',
      'weir.yaml:1:7: vms.0.sources: is missing: must be a list, such as [a, b]',
    ],
    [
      'an id in capitals',
      'vms: [{ id: VM, sources: ["192.0.2.1"] }]\n',
      'weir.yaml:1:13: vms.0.id: must be at most 63 lower-case letters, digits, dots, dashes and underscores, with a letter or digit first',
    ],
    [
      'the id of strangers',
      'vms: [{ id: unknown, sources: ["192.0.2.1"] }]\n',
      'weir.yaml:1:13: vms.0.id: `unknown` is the VM of strangers: choose another id',
    ],
    [
      'an id that a stranger by address would have',
      'vms: [{ id: 192.0.2.1, sources: ["192.0.2.9"] }]\n',
      'weir.yaml:1:13: vms.0.id: must not be an address: strangers have such ids with identity.unknown: by-address',
    ],
    [
      'a policy that does not exist',
      'identity: { unknown: allow }\n',
      'weir.yaml:1:22: identity.unknown: must be one of one, refuse, by-address',
    ],
    ['no VM at all', 'identity: { vms_max: 0 }\n', 'weir.yaml:1:22: identity.vms_max: must be at least 1'],
    [
      'a port past the last',
      'egress: { ports: [80, 65536] }\n',
      'weir.yaml:1:23: egress.ports.1: must be at most 65535',
    ],
    ['a port in words', 'egress: { ports: [https] }\n', 'weir.yaml:1:19: egress.ports.0: must be a number'],
    [
      'a host in capitals',
      'egress: { allow: [GitLab.example] }\n',
      'weir.yaml:1:19: egress.allow.0: use `gitlab.example`: lower case, without a trailing dot',
    ],
    [
      'a count of keys that is no multiple of 8',
      'state: { keys_per_vm: 100 }\n',
      'weir.yaml:1:23: state.keys_per_vm: must be a multiple of 8',
    ],
    ['a fraction', 'log: { keep: 1.5 }\n', 'weir.yaml:1:14: log.keep: must be a whole number'],
    ['an empty path', 'data: ""\n', 'weir.yaml:1:7: data: must not be empty'],
    [
      'a profile that does not exist',
      'vms: [{ id: a, sources: ["192.0.2.1"], profile: lax }]\n',
      'weir.yaml:1:49: vms.0.profile: no profile `lax`: there is balanced',
    ],
    [
      'no profile for strangers',
      'rules: { profiles: {} }\n',
      'weir.yaml:1:20: rules.profiles: the profile `balanced` is missing: strangers have it',
    ],
    [
      'an id given twice',
      'vms:\n  - { id: a, sources: ["192.0.2.1"] }\n  - { id: a, sources: ["192.0.2.2"] }\n',
      'weir.yaml:3:11: vms.1.id: the VM `a` is listed twice',
    ],
    [
      'an address of two VMs',
      'vms:\n  - { id: a, sources: ["192.0.2.1"] }\n  - { id: b, sources: ["192.0.2.1/32"] }\n',
      'weir.yaml:3:24: vms.1.sources.0: 192.0.2.1/32 already belongs to `a`',
    ],
    [
      'more VMs than there may be',
      'identity: { vms_max: 1 }\nvms: [{ id: a, sources: ["192.0.2.1"] }, { id: b, sources: ["192.0.2.2"] }]\n',
      'weir.yaml:2:6: vms: 2 VMs, but identity.vms_max is 1',
    ],
    [
      'one address for two listeners',
      'http: { listen: "127.0.0.1:9053" }\n',
      'weir.yaml:1:1: admin.listen: 127.0.0.1:9053 is also http.listen',
    ],
    ['a key given twice', 'data: a\ndata: b\n', 'weir.yaml:2:1: Map keys must be unique'],
  ];
  for (const [what, text, said] of cases) {
    it(what, () => {
      expect(problems(text)).toEqual([said]);
    });
  }

  it('and all of them at once, not one a run', () => {
    expect(problems('dns: { listen: x }\nhttp: { listen: y }\nlog: { keep: 0 }\n')).toHaveLength(3);
  });

  it('a pattern without a file', () => {
    expect(problems('rules: { profiles: { balanced: ["none/*.yaml"] } }\n')).toEqual([
      `weir.yaml:1:33: rules.profiles.balanced: no file matches \`none/*.yaml\` below ${cwd}`,
    ]);
  });

  it('a resolv.conf without a server', () => {
    expect(problems('data: d\n', {}, 'search example.com\n')).toEqual([
      expect.stringMatching(/dns\.upstreams: resolv\.conf names no server: list upstreams/),
    ]);
  });
});

describe('an upstream that is weir itself is refused', () => {
  const CIRCLE = /is weir's own listener: queries would go round in circles/;
  const refused: readonly (readonly [listener: string, upstream: string])[] = [
    ['127.0.0.1:5300', 'udp://127.0.0.1:5300'],
    ['127.0.0.1:5300', 'tcp://127.0.0.1:5300'],
    ['127.0.0.1:5300', 'udp://[::ffff:127.0.0.1]:5300'],
    ['127.0.0.1:5300', 'udp://0.0.0.0:5300'],
    ['[::1]:5300', 'udp://[::]:5300'],
    ['0.0.0.0:53', 'udp://127.0.0.53'],
    ['0.0.0.0:53', 'udp://127.0.0.1'],
    ['[::]:53', 'tcp://127.0.0.1'],
  ];
  for (const [listener, upstream] of refused) {
    it(`${upstream} while listening on ${listener}`, () => {
      const text = `dns: { listen: "${listener}", upstreams: ["udp://192.0.2.1", "${upstream}"] }\n`;
      expect(problems(text)).toEqual([expect.stringMatching(CIRCLE)]);
    });
  }

  it('as the upstream of a zone too', () => {
    const [said, ...more] = problems('dns: { zones: { corp.example: ["udp://127.0.0.1:5300"] } }\n');
    expect(said).toMatch(
      /^weir\.yaml:1:32: dns\.zones\.corp\.example\.0: upstream 127\.0\.0\.1:5300 is weir's own/,
    );
    expect(more).toEqual([]);
  });

  it('when resolv.conf names it', () => {
    expect(problems('dns: { listen: "127.0.0.1:53" }\n', {}, 'nameserver 127.0.0.1\n')).toEqual([
      expect.stringMatching(CIRCLE),
    ]);
  });

  it('by TCP at the port of the HTTP listener', () => {
    expect(problems('dns: { upstreams: ["tcp://127.0.0.1:3128"] }\n')).toEqual([
      expect.stringMatching(CIRCLE),
    ]);
  });

  const accepted: readonly (readonly [listener: string, upstream: string])[] = [
    ['127.0.0.1:5300', 'udp://127.0.0.1:5301'],
    ['127.0.0.1:53', 'udp://127.0.0.53:53'],
    ['0.0.0.0:53', 'udp://192.0.2.1:53'],
    ['127.0.0.1:0', 'udp://127.0.0.1:53'],
    ['127.0.0.1:5300', 'udp://127.0.0.1:3128'],
  ];
  for (const [listener, upstream] of accepted) {
    it(`but ${upstream} while listening on ${listener} is not`, () => {
      expect(problems(`dns: { listen: "${listener}", upstreams: ["${upstream}"] }\n`)).toEqual([]);
    });
  }
});
