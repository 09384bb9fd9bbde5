// A real rail over real state, with a clock that the test moves and all records kept. For tests of the law.
import { createRail } from '../../src/rail/rail.ts';
import { compilePolicy } from '../../src/rail/program.ts';
import { Transitions } from '../../src/rail/record.ts';
import type { Detection } from '../../src/rail/record.ts';
import { dnsQuery } from '../../src/rail/dns-query.ts';
import type { Rail } from '../../src/rail/ports.ts';
import type { EventOf, SecurityEvent } from '../../src/rail/event.ts';
import type { Policy } from '../../src/rail/rule.ts';
import { loadRules } from '../../src/rules/load.ts';
import { createState } from '../../src/state/state.ts';
import type { VmState } from '../../src/state/state.ts';
import { createTotals, TOTALS_BYTES } from '../../src/state/totals.ts';
import type { SharedTotals } from '../../src/state/totals.ts';
import { KeyedHash } from '../../src/lib/siphash.ts';
import { FakeClock } from './fake-clock.ts';

export interface RailUnderTest {
  readonly rail: Rail;
  readonly clock: FakeClock;
  readonly lines: Detection[];
  readonly transitions: Transitions;
  readonly totals: SharedTotals;
  readonly state: VmState;
  readonly errors: unknown[];
}

/** The policy of a YAML pack for the profile `balanced`; throws what the loader complains of. */
export function policyOf(yaml: string): Policy {
  const loaded = loadRules({
    corp: [],
    profiles: new Map([['balanced', [{ path: 'test.yaml', text: yaml }]]]),
  });
  if (!loaded.ok) throw new Error(loaded.problems.join('\n'));
  return loaded.policy;
}

export function railOf(
  policy: Policy | string,
  options: { keysPerVm?: number; vmsMax?: number; clock?: FakeClock; key?: Uint8Array } = {},
): RailUnderTest {
  const clock = options.clock ?? new FakeClock();
  const lines: Detection[] = [];
  const errors: unknown[] = [];
  const totals = createTotals(new SharedArrayBuffer(TOTALS_BYTES));
  const transitions = new Transitions({ clock, intervalMs: 10_000, sink: (line) => lines.push(line) });
  const profiles = compilePolicy(typeof policy === 'string' ? policyOf(policy) : policy);
  const state = createState({
    profiles,
    vmsMax: options.vmsMax ?? 16,
    keysPerVm: options.keysPerVm ?? 1024,
    counts: totals,
  });
  const hash = new KeyedHash(options.key ?? new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]));
  const onError = (error: unknown): void => {
    errors.push(error);
  };
  const rail = createRail({ profiles, state, hash, clock, transitions, totals, onError });
  return { rail, clock, lines, transitions, totals, state, errors };
}

const subject = (vm: string): { vm: string; profile: string; source: string } => ({
  vm,
  profile: 'balanced',
  source: '192.0.2.1',
});

export const query = (vm: string, name: string, type = 'A'): EventOf<'dns.query'> =>
  dnsQuery(subject(vm), name, type, 'udp');

export const request = (vm: string, host: string): SecurityEvent => ({
  type: 'http.request',
  ...subject(vm),
  'dest.host': host,
  'dest.suffix': host,
  'dest.port': 80,
  'http.method': 'GET',
  'http.scheme': 'http',
  'http.path': '/',
});

export const tunnel = (vm: string, host: string): SecurityEvent => ({
  type: 'tunnel.open',
  ...subject(vm),
  'dest.host': host,
  'dest.suffix': host,
  'dest.port': 443,
});

export const closed = (vm: string, host: string, up: number): SecurityEvent => ({
  type: 'tunnel.close',
  ...subject(vm),
  'dest.host': host,
  'dest.suffix': host,
  'dest.port': 443,
  octets_up: up,
  octets_down: 0,
  duration_ms: 1,
});
