// Settings from the environment: for containers, where a file is a nuisance.
import { describe, expect, it } from 'vitest';
import { ENVIRONMENT_KEYS, fromEnvironment, variableOf } from '../../../src/config/environment.ts';
import { loadConfig } from '../../../src/config/load.ts';
import type { Config } from '../../../src/config/load.ts';
import { configSchema } from '../../../src/config/schema.ts';

const NOWHERE = '/nonexistent';
const load = (env: Record<string, string>): ReturnType<typeof loadConfig> =>
  loadConfig({ file: undefined, env, cwd: NOWHERE, resolvConf: 'nameserver 192.0.2.53\n' });

function good(env: Record<string, string>): Config {
  const loaded = load(env);
  if (!loaded.ok) throw new Error(loaded.problems.join('\n'));
  return loaded.config;
}

describe('a WEIR_ variable', () => {
  it('sets the key that it is named after', () => {
    const config = good({
      WEIR_DNS_LISTEN: '0.0.0.0:53, [::1]:53',
      WEIR_DNS_UPSTREAMS: 'udp://192.0.2.1,tcp://192.0.2.2:5353',
      WEIR_EGRESS_PORTS: '443,8443',
      WEIR_IDENTITY_UNKNOWN: 'by-address',
      WEIR_LOG_TRAFFIC_DNS: 'off',
      WEIR_LOG_FILE: '/var/log/weir.log',
      WEIR_DATA: '/data',
    });
    expect(config.dns.listen).toEqual([
      { address: '0.0.0.0', port: 53 },
      { address: '::1', port: 53 },
    ]);
    expect(config.dns.upstreams.map(({ transport, port }) => [transport, port])).toEqual([
      ['udp', 53],
      ['tcp', 5353],
    ]);
    expect(config.egress.ports).toEqual([443, 8443]);
    expect(config.identity.unknown).toBe('by-address');
    expect(config.log).toMatchObject({ file: '/var/log/weir.log', traffic: { http: 'all', dns: 'off' } });
    expect(config.data).toBe('/data');
  });

  it('can say system for the upstreams', () => {
    expect(good({ WEIR_DNS_UPSTREAMS: 'system' }).dns.upstreams).toEqual([
      { transport: 'udp', address: '192.0.2.53', port: 53 },
    ]);
  });

  it('wins over the file and leaves the rest of its section', () => {
    const file = { log: { keep: 7, traffic: { http: 'off' } }, data: 'here' };
    const laid = fromEnvironment(file, { WEIR_LOG_TRAFFIC_HTTP: 'all', WEIR_DATA: 'there' });
    expect(laid.value).toEqual({ log: { keep: 7, traffic: { http: 'all' } }, data: 'there' });
    expect(file.data).toBe('here');
  });

  it('that is empty is as if it were not there', () => {
    expect(good({ WEIR_DATA: '' }).data).toBe(`${NOWHERE}/data`);
  });

  it('that nobody knows is a problem with a hint: a typing mistake must not pass in silence', () => {
    expect(load({ WEIR_DNS_LISTN: '127.0.0.1:53', WEIR_COLOUR: 'blue' })).toEqual({
      ok: false,
      problems: [
        'WEIR_DNS_LISTN: unknown variable: did you mean `WEIR_DNS_LISTEN`?',
        'WEIR_COLOUR: unknown variable',
      ],
    });
  });

  it('with a bad value is named as the place of the mistake', () => {
    expect(load({ WEIR_EGRESS_PORTS: '80,https' })).toEqual({
      ok: false,
      problems: ['WEIR_EGRESS_PORTS: egress.ports.1: must be a number'],
    });
    expect(load({ WEIR_DNS_UPSTREAMS: 'udp://127.0.0.1:5300' })).toMatchObject({
      ok: false,
      problems: [expect.stringMatching(/^WEIR_DNS_UPSTREAMS: dns\.upstreams\.0: upstream .* own listener/)],
    });
  });

  it('of other programs is left alone', () => {
    expect(good({ WEIRD: '1', HTTP_PROXY: 'http://192.0.2.1:3128' })).toEqual(good({}));
  });
});

describe('the list of variables', () => {
  it('names only keys that the schema has', () => {
    for (const key of ENVIRONMENT_KEYS) {
      const env = fromEnvironment({}, { [variableOf(key)]: 'x' });
      const parsed = configSchema.safeParse(env.value);
      const codes = parsed.success ? [] : parsed.error.issues.map(({ code }) => code);
      expect(codes, key).not.toContain('unrecognized_keys');
    }
  });
});
