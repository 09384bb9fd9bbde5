// Upstreams as a function: what the exchange would be asked is kept, what it would answer is scripted.
import packet from 'dns-packet';
import type { Answered, Ask, Exchange } from '../../src/egress/exchange.ts';

export class FakeExchange implements Exchange {
  readonly asked: Ask[] = [];
  readonly mismatched = 0;
  inFlight = 0;
  readonly #script: (ask: Ask) => Answered | Promise<Answered>;

  /** Without a script any question is a failure of the test. */
  constructor(script?: (ask: Ask) => Answered | Promise<Answered>) {
    this.#script =
      script ??
      ((ask) => {
        throw new Error(`nobody expected a question for ${ask.text}`);
      });
  }

  async ask(ask: Ask): Promise<Answered> {
    this.asked.push(ask);
    this.inFlight += 1;
    try {
      return await this.#script(ask);
    } finally {
      this.inFlight -= 1;
    }
  }

  close(): void {}
}

/** An upstream's answer to `ask` for A or AAAA, encoded by the library. */
export function upstreamAnswer(ask: Ask, more: Partial<packet.Packet> = {}): Buffer {
  const type = ask.type === 1 ? 'A' : 'AAAA';
  return packet.encode({
    type: 'response',
    id: 4321,
    flags: 0x0180,
    questions: [{ type, name: ask.text }],
    ...more,
  });
}
