// Octets of chance against the DNS reader: only documented outcomes may come out, and it must agree with dns-packet where both accept.
import packet from 'dns-packet';
import { describe, expect, it } from 'vitest';
import { encodeReply, parseQuery, relayAnswer } from '../../src/dns/wire.ts';
import { encodeQuery } from '../support/dns-client.ts';
import { MALFORMED, TRUNCATED } from '../support/dns-malformed.ts';
import { Random, SEED } from '../support/random.ts';

console.log(`dns fuzz: TEST_SEED=${SEED}`);

const ROUNDS = 60_000;
const DOCUMENTED = new Set<unknown>(['drop', 1, 4, 5, 16]);

function mutated(random: Random, seeds: readonly Buffer[]): Buffer {
  const message = Buffer.from(random.pick(seeds));
  for (let i = random.int(1, 4); i > 0 && message.length > 0; i -= 1) {
    const at = random.int(0, message.length - 1);
    message[at] = random.next() < 0.3 ? random.pick([0, 1, 63, 64, 0xc0, 0xff]) : random.int(0, 255);
  }
  const cut = random.next() < 0.2 ? random.int(0, message.length) : message.length;
  const tail = random.next() < 0.1 ? Buffer.from([random.int(0, 255)]) : Buffer.alloc(0);
  return Buffer.concat([message.subarray(0, cut), tail]);
}

describe('octets of chance', () => {
  it('are read as a query or get a documented answer, and agree with dns-packet', () => {
    const random = new Random(SEED);
    const seeds = [...MALFORMED, ...TRUNCATED].map(({ message }) => message);
    for (let i = 0; i < 20; i += 1)
      seeds.push(encodeQuery('a.example', 'TXT'), encodeQuery('b.c.d.example', 'A', false));
    let accepted = 0;
    for (let i = 0; i < ROUNDS; i += 1) {
      const message = mutated(random, seeds);
      const parsed = parseQuery(message);
      if (!parsed.ok) {
        expect(DOCUMENTED.has(parsed.rcode), `TEST_SEED=${SEED} ${message.toString('hex')}`).toBe(true);
        if (parsed.rcode !== 'drop')
          expect(encodeReply(parsed.faulty, { rcode: parsed.rcode }).length).toBeLessThan(600);
        continue;
      }
      accepted += 1;
      const { query } = parsed;
      expect(query.question.text).toMatch(/^[\x21-\x7e]+$/);
      const theirs = decoded(message)?.questions?.[0];
      // Where the library fails (it reads options that we only measure), ours alone stands.
      if (theirs === undefined || query.question.text.includes('\\') || query.question.text === '.') continue;
      expect(theirs.name.toLowerCase(), message.toString('hex')).toBe(query.question.text);
    }
    expect(accepted).toBeGreaterThan(1000);
  });

  it('as an upstream’s answer are relayed whole or not at all, and what is relayed decodes', () => {
    const random = new Random(SEED + 1);
    const parsed = parseQuery(encodeQuery('www.example.com'));
    if (!parsed.ok) throw new Error(parsed.detail);
    const upstream = packet.encode({
      type: 'response',
      id: 1,
      questions: [{ type: 'A', name: 'www.example.com' }],
      answers: [
        { type: 'CNAME', name: 'www.example.com', data: 'x.example.com' },
        { type: 'A', name: 'x.example.com', data: '192.0.2.1' },
        { type: 'TXT', name: 'x.example.com', data: 'text' },
      ],
    });
    for (let i = 0; i < ROUNDS / 3; i += 1) {
      const reply = relayAnswer(parsed.query, mutated(random, [upstream]), 'udp');
      if (reply === undefined) continue;
      expect(reply.length).toBeLessThanOrEqual(1232);
      expect(() => packet.decode(reply), `TEST_SEED=${SEED} ${reply.toString('hex')}`).not.toThrow();
    }
  });
});

function decoded(message: Buffer): packet.DecodedPacket | undefined {
  try {
    return packet.decode(message);
  } catch {
    return undefined;
  }
}
