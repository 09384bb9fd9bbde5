import packet from 'dns-packet';
import { describe, expect, it } from 'vitest';
import { encodeReply, parseQuery, RCODE, relayAnswer } from '../../../src/dns/wire.ts';
import type { Query } from '../../../src/dns/wire.ts';
import { decodeAnswer, encodeQuery } from '../../support/dns-client.ts';
import { MALFORMED, TRUNCATED } from '../../support/dns-malformed.ts';

const RCODE_OF = {
  FORMERR: RCODE.formErr,
  NOTIMP: RCODE.notImp,
  REFUSED: RCODE.refused,
  BADVERS: RCODE.badVers,
  drop: 'drop',
} as const;

function good(message: Buffer): Query {
  const parsed = parseQuery(message);
  if (!parsed.ok) throw new Error(parsed.detail);
  return parsed.query;
}

describe('a query', () => {
  it('keeps its question to the octet and its name in lower case', () => {
    const query = good(encodeQuery('WwW.ExAmPlE.com', 'AAAA'));
    expect(query.question.text).toBe('www.example.com');
    expect(query.qtype).toBe('AAAA');
    expect(query.asked.toString('latin1')).toContain('WwW');
    expect(query.question.name.toString('latin1')).toContain('www');
  });

  it('has a name that no other octets have: dots, blanks and odd octets in labels are written out', () => {
    const name = (...octets: number[]): string =>
      good(
        Buffer.concat([
          encodeQuery('x', 'A', false).subarray(0, 12),
          Buffer.from([...octets, 0, 0, 1, 0, 1]),
        ]),
      ).question.text;
    expect(name(3, 97, 46, 98)).toBe('a\\046b');
    expect(name(1, 97, 1, 98)).toBe('a.b');
    expect(name(3, 255, 0, 32)).toBe('\\255\\000\\032');
    expect(name(4, 92, 48, 52, 54)).toBe('\\092046');
    expect(name()).toBe('.');
  });

  for (const { what, message, answer } of [...MALFORMED, ...TRUNCATED]) {
    it(`that is ${what} gets ${answer}`, () => {
      const parsed = parseQuery(message);
      expect(parsed).toMatchObject({ ok: false, rcode: RCODE_OF[answer] });
      if (parsed.ok || parsed.rcode === 'drop') return;
      const reply = packet.decode(encodeReply(parsed.faulty, { rcode: parsed.rcode }));
      expect(reply.id).toBe(message.readUInt16BE(0));
      expect(reply.type).toBe('response');
    });
  }
});

describe('a relayed answer', () => {
  const query = good(encodeQuery('WWW.example.com'));
  const answered = (more: object): Buffer =>
    packet.encode({
      type: 'response',
      id: 7,
      flags: 0x8580 & ~0x8000,
      questions: [{ type: 'A', name: 'www.example.com' }],
      answers: [{ type: 'A', name: 'www.example.com', ttl: 5, data: '192.0.2.9' }],
      ...more,
    });

  it('has the client’s id and letter case, RA, no AA, and an OPT of our own because the client sent one', () => {
    const reply = relayAnswer(query, answered({}), 'udp');
    if (reply === undefined) throw new Error('not relayed');
    const decoded = packet.decode(reply);
    expect(decoded).toMatchObject({ id: query.id, flag_ra: true, flag_aa: false, flag_rd: true });
    expect(decoded.questions?.[0]?.name).toBe('WWW.example.com');
    expect(decodeAnswer(reply).addresses).toEqual(['192.0.2.9']);
    expect(decoded.additionals?.[0]).toMatchObject({ type: 'OPT', udpPayloadSize: 1232 });
    const plain = relayAnswer(good(encodeQuery('www.example.com', 'A', false)), answered({}), 'udp');
    expect(plain === undefined ? 1 : packet.decode(plain).additionals).toEqual([]);
  });

  it('keeps records it doesn’t know to the octet', () => {
    const data = Buffer.from([0xc0, 0x0c, 1, 2, 3]);
    const upstream = answered({ answers: [{ type: 'UNKNOWN_666', name: 'www.example.com', ttl: 5, data }] });
    const reply = relayAnswer(query, upstream, 'tcp');
    expect(reply?.includes(data)).toBe(true);
  });

  it('passes the upstream’s EDE on, and none of its other options', () => {
    const ede = Buffer.concat([Buffer.from([0, 3]), Buffer.from('stale')]);
    const options = [
      { code: 10, data: Buffer.alloc(8, 1) },
      { code: 15, data: ede },
    ];
    const opt = {
      type: 'OPT',
      name: '.',
      udpPayloadSize: 4096,
      flags: 0,
      extendedRcode: 0,
      ednsVersion: 0,
      options,
    };
    const reply = relayAnswer(query, answered({ additionals: [opt] }), 'udp');
    if (reply === undefined) throw new Error('not relayed');
    expect(decodeAnswer(reply).ede).toEqual({ code: 3, text: 'stale' });
    expect(reply.includes(Buffer.alloc(8, 1))).toBe(false);
  });

  it('that is too large for the client is empty with TC over UDP, and whole over TCP', () => {
    const answers = Array.from({ length: 60 }, (_, i) => ({
      type: 'A',
      name: 'www.example.com',
      ttl: 5,
      data: `192.0.2.${i}`,
    }));
    const small = relayAnswer(query, answered({ answers }), 'udp');
    if (small === undefined) throw new Error('not relayed');
    expect(small.length).toBeLessThan(100);
    expect(packet.decode(small)).toMatchObject({ flag_tc: true, answers: [] });
    const whole = relayAnswer(query, answered({ answers }), 'tcp');
    expect(whole === undefined ? 0 : packet.decode(whole).answers?.length).toBe(60);
  });

  it('that can’t be read is not relayed', () => {
    const message = answered({});
    for (let length = 0; length < message.length; length += 1) {
      expect(relayAnswer(query, message.subarray(0, length), 'udp'), `cut after ${length}`).toBeUndefined();
    }
    expect(relayAnswer(query, Buffer.concat([message, Buffer.from('more')]), 'udp')).toBeUndefined();
  });
});
