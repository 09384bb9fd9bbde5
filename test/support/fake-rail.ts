// What protocol code is given, as fakes: a rail that answers from a script and keeps every event, and a log that keeps every line.
import { ALLOW } from '../../src/rail/index.ts';
import type {
  Decision,
  Identity,
  Rail,
  Refused,
  SecurityEvent,
  Subject,
  Ticket,
  Traffic,
  TrafficLine,
} from '../../src/rail/index.ts';

/** A refusal as the rail would make it; say what is different. */
export const refused = (more: Partial<Refused> = {}): Refused => ({
  verdict: 'block',
  reason: 'rate_limited',
  determinedBy: ['rule-a'],
  rule: 'rule-a',
  id: '01hzzzzzzzzzzzzzzzzzzzzzzz',
  message: 'too much',
  ...more,
});

/** Allows everything until told otherwise. Throws when a ticket is finished that was never given or is finished already. */
export class FakeRail implements Rail {
  readonly events: SecurityEvent[] = [];
  readonly open = new Set<Ticket>();
  script: (event: SecurityEvent) => Decision = () => ALLOW;

  decide(event: SecurityEvent): Decision {
    this.events.push(event);
    const decision = this.script(event);
    if (decision.verdict === 'allow' && decision.ticket !== undefined) this.open.add(decision.ticket);
    return decision;
  }

  finish(ticket: Ticket): void {
    if (!this.open.delete(ticket)) throw new Error('a ticket that is not open was finished');
  }

  /** Allows with a ticket of its own. */
  static ticket(vm = 'vm-a'): Decision {
    return { verdict: 'allow', reason: 'allowed', ticket: { vm } };
  }
}

export class FakeTraffic implements Traffic {
  readonly lines: TrafficLine[] = [];

  note(line: TrafficLine): void {
    this.lines.push(line);
  }
}

export const SUBJECT: Subject = { vm: 'vm-a', profile: 'balanced', source: '127.0.0.1' };

/** Everybody is vm-a, but for the addresses in the map. */
export const fakeIdentity = (others: ReadonlyMap<string, Subject> = new Map()): Identity => ({
  of: (address) => others.get(address) ?? { ...SUBJECT, source: address },
});
