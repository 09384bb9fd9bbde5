// The law of DESIGN.md section 4 by brute force: lists of everything ever charged, searched anew for each event. Shares no
// code with the rail or its state, knows no eviction, and is far too slow for use.
import type { SecurityEvent } from '../../src/rail/event.ts';
import type { Rule } from '../../src/rail/rule.ts';

interface Charge {
  at: number;
  cost: number;
  value: string;
}

interface Key {
  charges: Charge[];
  open: number;
  heldUntil: number;
  strikes: number;
  tripAt: number;
  chargedSinceHold: boolean;
}

export interface OracleDecision {
  readonly verdict: 'allow' | 'block';
  readonly rule?: string;
  readonly determinedBy: readonly string[];
  readonly retryAfterMs?: number;
}

interface Finding {
  readonly rule: Rule;
  readonly key: Key | undefined;
  readonly name: string;
  readonly cost: number;
  readonly wait: number;
}

const SUB_WINDOWS = 120;

export class Oracle {
  readonly #rules: readonly Rule[];
  readonly #keys = new Map<string, Key>();
  readonly #seen = new Set<string>();

  constructor(rules: readonly Rule[]) {
    this.#rules = rules;
  }

  decide(event: SecurityEvent, now: number): OracleDecision {
    const findings = this.#rules
      .filter((rule) => rule.events.includes(event.type) && (rule.when?.(event) ?? true))
      .filter((rule) => rule.limit !== undefined || rule.then !== 'allow')
      .map((rule) => this.#check(rule, event, now));
    const over = findings.filter((f) => f.wait > 0);
    const refusing = over.filter(({ rule }) => rule.then === 'block' && rule.mode === 'enforce');
    for (const finding of over) this.#trip(finding, now);
    if (refusing.length > 0) return this.#refuse(refusing, findings, event, now);
    for (const finding of findings) {
      if (finding.wait === 0) this.#charge(finding, event, now);
    }
    for (const rule of this.#rules) {
      if (rule.events.includes(event.type)) this.#remember(rule, event);
    }
    return { verdict: 'allow', determinedBy: [] };
  }

  /** Frees what one admitted event of this type took in concurrent limits. */
  finish(event: SecurityEvent): void {
    for (const rule of this.#rules) {
      if (rule.limit?.kind !== 'concurrent' || !rule.events.includes(event.type)) continue;
      const key = this.#keys.get(this.#name(rule, event));
      if (key !== undefined) key.open -= 1;
    }
  }

  #field(event: SecurityEvent, field: string): string {
    return String((event as unknown as Record<string, unknown>)[field]);
  }

  #name(rule: Rule, event: SecurityEvent): string {
    return JSON.stringify([rule.id, ...rule.by.map((field) => this.#field(event, field))]);
  }

  #check(rule: Rule, event: SecurityEvent, now: number): Finding {
    const name = this.#name(rule, event);
    const key = this.#keys.get(name);
    if (rule.limit === undefined) return { rule, key, name, cost: 1, wait: Number.POSITIVE_INFINITY };
    const cost = this.#cost(rule, event, key, now);
    const max = rule.limit.kind === 'bucket' ? rule.limit.bucket : rule.limit.max;
    if (max === 0) return { rule, key, name, cost, wait: Number.POSITIVE_INFINITY };
    if (cost === 0) return { rule, key, name, cost, wait: 0 };
    const held = Math.max(0, (key?.heldUntil ?? 0) - now);
    return { rule, key, name, cost, wait: Math.max(held, this.#room(rule, key, cost, now)) };
  }

  #cost(rule: Rule, event: SecurityEvent, key: Key | undefined, now: number): number {
    const { count } = rule;
    if (count.kind === 'events') return 1;
    if (count.kind === 'sum') return Number(this.#field(event, count.field));
    if (count.kind === 'distinct') {
      const value = this.#field(event, count.field);
      return this.#live(rule, key, now).some((c) => c.value === value) ? 0 : 1;
    }
    const fresh = count.kind === 'new' ? count.field : count.fresh;
    const known = this.#seen.has(
      JSON.stringify([this.#field(event, 'vm'), fresh, this.#field(event, fresh)]),
    );
    if (known) return 0;
    return count.kind === 'new' ? 1 : Math.max(4, this.#field(event, count.field).length);
  }

  /** Charges that still count. A log drops one whose age equals the window; a ring a whole sub-window at a time. */
  #live(rule: Rule, key: Key | undefined, now: number): Charge[] {
    const { limit } = rule;
    if (key === undefined || limit?.kind !== 'sliding') return [];
    const W = limit.windowMs;
    if (!this.#isRing(rule)) return key.charges.filter((c) => now - c.at < W);
    const sub = (t: number): bigint => (BigInt(t) * BigInt(SUB_WINDOWS)) / BigInt(W);
    return key.charges.filter((c) => sub(now) - sub(c.at) <= BigInt(SUB_WINDOWS));
  }

  #isRing(rule: Rule): boolean {
    if (rule.limit?.kind !== 'sliding' || rule.count.kind === 'distinct') return false;
    const units = rule.count.kind === 'events' || rule.count.kind === 'new';
    return !units || (rule.limit.max > 128 && !rule.limit.exact);
  }

  /** The first millisecond from now on at which the cost fits, found by trying the moments at which anything changes. */
  #room(rule: Rule, key: Key | undefined, cost: number, now: number): number {
    const { limit } = rule;
    if (limit === undefined) return 0;
    if (limit.kind === 'concurrent')
      return (key?.open ?? 0) + cost <= limit.max ? 0 : Number.POSITIVE_INFINITY;
    if (limit.kind === 'bucket') return this.#bucketRoom(limit, key, cost, now);
    if (cost > limit.max) return Number.POSITIVE_INFINITY;
    const fits = (t: number): boolean =>
      this.#live(rule, key, t).reduce((sum, c) => sum + c.cost, 0) + cost <= limit.max;
    if (fits(now)) return 0;
    let low = now;
    let high = now + 2 * limit.windowMs;
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (fits(middle)) high = middle;
      else low = middle;
    }
    return high - now;
  }

  #bucketRoom(
    limit: { bucket: number; refill: number; perMs: number },
    key: Key | undefined,
    cost: number,
    now: number,
  ): number {
    if (cost > limit.bucket) return Number.POSITIVE_INFINITY;
    // In units of 1/perMs, with whole numbers of any size: each millisecond drains `refill` of them.
    const scale = BigInt(limit.perMs);
    const refill = BigInt(limit.refill);
    let level = 0n;
    let at = 0;
    for (const c of key?.charges ?? []) {
      const drained = level - BigInt(c.at - at) * refill;
      level = (drained > 0n ? drained : 0n) + BigInt(c.cost) * scale;
      at = c.at;
    }
    const drained = level - BigInt(now - at) * refill;
    const over = (drained > 0n ? drained : 0n) + BigInt(cost) * scale - BigInt(limit.bucket) * scale;
    return over <= 0n ? 0 : Number((over + refill - 1n) / refill);
  }

  #trip({ rule, key }: Finding, now: number): void {
    const { hold } = rule;
    if (hold === undefined || key === undefined || !key.chargedSinceHold) return;
    const forgotten = Math.floor((now - key.tripAt) / hold.maxMs);
    key.strikes = Math.max(0, key.strikes - forgotten) + 1;
    key.tripAt = now;
    key.heldUntil = now + Math.min(hold.maxMs, hold.forMs * hold.factor ** (key.strikes - 1));
    key.chargedSinceHold = false;
  }

  #refuse(
    refusing: readonly Finding[],
    findings: readonly Finding[],
    event: SecurityEvent,
    now: number,
  ): OracleDecision {
    const waits = refusing.map((f) => ({
      id: f.rule.id,
      wait: Math.max(f.wait, (f.key?.heldUntil ?? 0) - now),
    }));
    const longest = Math.max(...waits.map((w) => w.wait));
    const rule = waits
      .filter((w) => w.wait === longest)
      .map((w) => w.id)
      .sort()[0];
    return {
      verdict: 'block',
      determinedBy: waits.map((w) => w.id).sort(),
      ...(rule === undefined ? {} : { rule }),
      ...(Number.isFinite(longest) ? { retryAfterMs: this.#outlast(longest, findings, event, now) } : {}),
    };
  }

  /** A value that costs a distinct rule nothing now may cost something by then, and meet a hold of that rule. */
  #outlast(wait: number, findings: readonly Finding[], event: SecurityEvent, now: number): number {
    let longest = wait;
    for (const { rule, key } of [...findings, ...findings, ...findings, ...findings, ...findings]) {
      if (rule.count.kind !== 'distinct' || rule.mode !== 'enforce' || rule.then !== 'block') continue;
      const costs = this.#cost(rule, event, key, now + longest) > 0;
      if (costs) longest = Math.max(longest, (key?.heldUntil ?? 0) - now);
    }
    return longest;
  }

  #charge({ rule, name, cost }: Finding, event: SecurityEvent, now: number): void {
    const value = rule.count.kind === 'distinct' ? this.#field(event, rule.count.field) : '';
    if (cost === 0 && rule.count.kind !== 'distinct') return;
    const key = this.#keys.get(name) ?? {
      charges: [],
      open: 0,
      heldUntil: 0,
      strikes: 0,
      tripAt: 0,
      chargedSinceHold: false,
    };
    this.#keys.set(name, key);
    if (rule.count.kind === 'distinct') key.charges = key.charges.filter((c) => c.value !== value);
    key.charges.push({ at: now, cost: 1 > cost && rule.count.kind === 'distinct' ? 1 : cost, value });
    key.open += 1;
    if (cost > 0) key.chargedSinceHold = true;
  }

  #remember(rule: Rule, event: SecurityEvent): void {
    const { count } = rule;
    const field = count.kind === 'new' ? count.field : count.kind === 'octets' ? count.fresh : undefined;
    if (field === undefined) return;
    this.#seen.add(JSON.stringify([this.#field(event, 'vm'), field, this.#field(event, field)]));
  }
}
