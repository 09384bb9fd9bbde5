// Hostile answers against everything that reads them: no octets may throw, and only addresses may come out as addresses.
import { isIP } from 'node:net';
import packet from 'dns-packet';
import { describe, expect, it } from 'vitest';
import { createResolver } from '../../src/egress/resolve.ts';
import { answers } from '../../src/egress/udp-pool.ts';
import { HEADER_OCTETS, readName, readQuestion, readRecords } from '../../src/lib/dns-message.ts';
import { FakeExchange } from '../support/fake-exchange.ts';
import { FakeRail, SUBJECT } from '../support/fake-rail.ts';
import { Random, SEED } from '../support/random.ts';

console.log(`dns answers fuzz: TEST_SEED=${SEED}`);

const ROUNDS = 20_000;
const HOST = 'www.example.com';
const GOOD = packet.encode({
  type: 'response',
  id: 1,
  flags: 0x0180,
  questions: [{ type: 'A', name: HOST }],
  answers: [
    { type: 'CNAME', name: HOST, ttl: 1, data: 'x.example.net' },
    { type: 'A', name: 'x.example.net', ttl: 1, data: '192.0.2.1' },
    { type: 'AAAA', name: 'x.example.net', ttl: 1, data: '2001:db8::1' },
  ],
});
/** The same with every later name as a pointer. */
const COMPRESSED = Buffer.concat([
  GOOD.subarray(0, HEADER_OCTETS + HOST.length + 2 + 4),
  Buffer.from([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 1, 0, 4, 1, 120, 0xc0, 16]),
  Buffer.from([0xc0, 45, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 192, 0, 2, 1]),
  Buffer.from([0xc0, 45, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 192, 0, 2, 2]),
]);

function mutated(random: Random): Buffer {
  const message = Buffer.from(random.pick([GOOD, COMPRESSED]));
  for (let i = random.int(0, 3); i > 0; i -= 1) {
    const at = random.int(6, message.length - 1);
    message[at] = random.next() < 0.4 ? random.pick([0, 1, 12, 63, 64, 0xc0, 0xff]) : random.int(0, 255);
  }
  return random.next() < 0.1 ? message.subarray(0, random.int(HEADER_OCTETS, message.length)) : message;
}

describe('a hostile answer', () => {
  it('to a look-up gives addresses or a failure, never an exception', async () => {
    const random = new Random(SEED);
    let message: Buffer = GOOD;
    const exchange = new FakeExchange(() => ({ ok: true, message }));
    const resolver = createResolver({ rail: new FakeRail(), exchange });
    let found = 0;
    for (let i = 0; i < ROUNDS; i += 1) {
      message = mutated(random);
      const resolved = await resolver.resolve(SUBJECT, HOST);
      if (!resolved.ok) continue;
      found += 1;
      const wrong = resolved.addresses.filter((address) => isIP(address) === 0);
      expect(wrong, `TEST_SEED=${SEED} ${message.toString('hex')}`).toEqual([]);
    }
    expect(found).toBeGreaterThan(ROUNDS / 10);
  });

  it('of pure chance is matched and measured without an exception', () => {
    const random = new Random(SEED + 1);
    for (let i = 0; i < ROUNDS; i += 1) {
      const message = Buffer.from(Array.from({ length: random.int(0, 80) }, () => random.int(0, 255)));
      expect(answers(message, GOOD)).toBe(false);
      if (message.length < HEADER_OCTETS) continue;
      readQuestion(message);
      readRecords(message, HEADER_OCTETS, random.int(0, 5));
      readName(message, random.int(0, 90));
    }
  });

  it('has an owner as dns-packet reads it, wherever both can', () => {
    const random = new Random(SEED + 2);
    let agreed = 0;
    for (let i = 0; i < ROUNDS; i += 1) {
      const message = mutated(random);
      const question = readQuestion(message);
      const name = question === undefined ? undefined : readName(message, question.end);
      // Only the first: where the others lie the library takes from their data, not from the lengths that they announce.
      const text = decoded(message)?.answers?.[0]?.name;
      // It also loses octets that are not UTF-8, and dots within labels.
      if (name === undefined || text === undefined || /[^\x21-\x7e]/.test(text)) continue;
      expect(plain(name), `TEST_SEED=${SEED} ${message.toString('hex')}`).toBe(text.toLowerCase());
      agreed += 1;
    }
    expect(agreed).toBeGreaterThan(ROUNDS / 4);
  });
});

function plain(name: Buffer): string {
  const labels: string[] = [];
  for (let at = 0; (name[at] ?? 0) > 0; at += 1 + (name[at] ?? 0))
    labels.push(name.toString('latin1', at + 1, at + 1 + (name[at] ?? 0)));
  return labels.length === 0 ? '.' : labels.join('.');
}

function decoded(message: Buffer): packet.DecodedPacket | undefined {
  try {
    return packet.decode(message);
  } catch {
    return undefined;
  }
}
