import { describe, expect, it } from 'vitest';
import { compilePolicy } from '../../../src/rail/program.ts';
import { createRail } from '../../../src/rail/rail.ts';
import { Transitions } from '../../../src/rail/record.ts';
import { KeyedHash } from '../../../src/lib/siphash.ts';
import { createTotals, TOTALS_BYTES } from '../../../src/state/totals.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { closed, policyOf, query, railOf } from '../../support/rail-bench.ts';

describe('the rail', () => {
  it('refuses when its own code fails, says so once to whoever watches, and never throws', () => {
    const clock = new FakeClock();
    const totals = createTotals(new SharedArrayBuffer(TOTALS_BYTES));
    const errors: unknown[] = [];
    const rail = createRail({
      profiles: compilePolicy(
        policyOf('- { id: r, title: t, event: dns.query, limit: { max: 1, window: 1s } }'),
      ),
      state: {
        arena() {
          throw new Error('broken');
        },
      },
      hash: new KeyedHash(new Uint8Array(8)),
      clock,
      transitions: new Transitions({ clock, intervalMs: 1000, sink: () => {} }),
      totals,
      onError: (error) => errors.push(error),
    });
    expect(rail.decide(query('vm-a', 'a.example'))).toMatchObject({
      verdict: 'block',
      reason: 'rail_error',
      rule: 'rail_error',
    });
    expect(errors).toHaveLength(1);
    expect(totals.events('dns.query', true)).toBe(1);
  });

  it('refuses an amount that is no amount: negative, or not a number', () => {
    const { rail } = railOf(
      `- { id: r, title: t, event: tunnel.close, count: sum(octets_up), limit: { max: 10, window: 1s } }`,
    );
    for (const octets of [-1, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(rail.decide(closed('vm-a', 'a.example', octets)).verdict, String(octets)).toBe('block');
    }
    expect(rail.decide(closed('vm-a', 'a.example', 10)).verdict).toBe('allow');
  });

  it('refuses a stranger whatever the rules say, and a profile that is not there', () => {
    const { rail, lines } = railOf('[]');
    const event = query('unknown', 'a.example');
    expect(rail.decide({ ...event, stranger: true })).toMatchObject({
      verdict: 'block',
      reason: 'unknown_vm',
    });
    expect(lines).toMatchObject([{ rule: 'unknown_vm', state: 'blocked', vm: 'unknown' }]);
    expect(rail.decide({ ...event, profile: 'nowhere' })).toMatchObject({ reason: 'rail_error' });
    expect(rail.decide(event).verdict).toBe('allow');
  });
});
