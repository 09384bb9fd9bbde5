import packet from 'dns-packet';
import { describe, expect, it } from 'vitest';
import { parseQuery, relayAnswer } from '../../../src/dns/wire.ts';
import type { Query } from '../../../src/dns/wire.ts';
import { decodeAnswer, encodeQuery } from '../../support/dns-client.ts';

function parsed(message: Buffer): Query {
  const result = parseQuery(message);
  if (!result.ok) throw new Error(result.detail);
  return result.query;
}
const NAME = 'www.example.com';
const WITH_OPT = parsed(encodeQuery(NAME));
const WITHOUT_OPT = parsed(encodeQuery(NAME, 'A', false));

const answered = (more: Partial<packet.Packet>, flags = 0x0180): Buffer =>
  packet.encode({
    type: 'response',
    id: 7,
    flags,
    questions: [{ type: 'A', name: NAME }],
    ...more,
  });
const OPT: packet.OptAnswer = {
  type: 'OPT',
  name: '.',
  udpPayloadSize: 4096,
  flags: 0,
  flag_do: false,
  extendedRcode: 0,
  ednsVersion: 0,
  options: [],
};
const option = (code: number, ...parts: (Buffer | string)[]): Buffer => {
  const data = Buffer.concat(parts.map((part) => Buffer.from(part)));
  return Buffer.concat([Buffer.from([0, code, data.length >>> 8, data.length & 255]), data]);
};
const ede = (code: number, text: Buffer | string): Buffer => option(15, Buffer.from([0, code]), text);
/** The message with an OPT that carries these options, octet by octet. */
function withOptions(message: Buffer, ...options: Buffer[]): Buffer {
  const data = Buffer.concat(options);
  const head = [0, 0, 41, 16, 0, 0, 0, 0, 0, data.length >>> 8, data.length & 255];
  const whole = Buffer.concat([message, Buffer.from(head), data]);
  whole.writeUInt16BE(1, 10);
  return whole;
}
const a = (name: string, last = 1): packet.Answer => ({ type: 'A', name, ttl: 5, data: `192.0.2.${last}` });
function relayed(query: Query, upstream: Buffer, transport: 'udp' | 'tcp' = 'udp'): Buffer {
  const reply = relayAnswer(query, upstream, transport);
  if (reply === undefined) throw new Error('not relayed');
  return reply;
}

describe('the size of a relayed answer', () => {
  const ofSize = (count: number): Buffer =>
    answered({ answers: Array.from({ length: count }, (_, i) => a(NAME, i % 256)) });
  const sizes: [string, number][] = [
    ['no OPT', 512],
    ['100', 512],
    ['512', 512],
    ['1000', 1000],
    ['1232', 1232],
    ['4096', 1232],
  ];
  for (const [offered, most] of sizes) {
    it(`over UDP to a client that offers ${offered} is at most ${most} octets, and TC says when it is cut`, () => {
      const asked = encodeQuery(NAME);
      if (offered !== 'no OPT') asked.writeUInt16BE(Number(offered), asked.length - 8);
      const query = offered === 'no OPT' ? WITHOUT_OPT : parsed(asked);
      for (let count = 0; count < 60; count += 1) {
        const whole = relayed(query, ofSize(count), 'tcp');
        const reply = relayed(query, ofSize(count));
        if (whole.length <= most) expect(reply).toEqual(whole);
        else {
          expect(reply.length).toBeLessThan(80);
          expect(packet.decode(reply)).toMatchObject({ flag_tc: true, answers: [] });
        }
      }
    });
  }

  it('when cut leaves EDEs away too, for they may not fit either', () => {
    const errors = Array.from({ length: 9 }, () => ede(3, 'x'.repeat(1000)));
    const upstream = withOptions(answered({ answers: [a(NAME)] }), ...errors);
    const query = parsed(encodeQuery(NAME));
    expect(relayed({ ...query, edns: { udpOctets: 512, dnssecOk: false } }, upstream).length).toBeLessThan(
      512,
    );
  });

  it('over TCP is never more than a frame holds, though an OPT of ours comes to 65,535 octets', () => {
    const data = Buffer.alloc(65_535 - 12 - (NAME.length + 2 + 4) - 12, 1);
    const record = Buffer.concat([Buffer.from([0xc0, 12, 255, 0, 0, 1, 0, 0, 0, 5, 0, 0]), data]);
    record.writeUInt16BE(data.length, 10);
    const upstream = Buffer.concat([answered({}), record]);
    upstream.writeUInt16BE(1, 6);
    expect(upstream.length).toBe(65_535);
    const reply = relayed(WITH_OPT, upstream, 'tcp');
    expect(packet.decode(reply)).toMatchObject({ flag_tc: true, answers: [] });
    expect(relayed(WITHOUT_OPT, upstream, 'tcp').length).toBe(65_535);
  });
});

describe('the header and OPT of a relayed answer', () => {
  it('have AD only for a client that set AD or DO', () => {
    const upstream = answered({ answers: [a(NAME)] }, 0x01a0);
    expect(packet.decode(relayed(WITH_OPT, upstream)).flag_ad).toBe(false);
    expect(packet.decode(relayed({ ...WITH_OPT, authenticData: true }, upstream)).flag_ad).toBe(true);
    const withDo = { ...WITH_OPT, edns: { udpOctets: 1232, dnssecOk: true } };
    const decoded = packet.decode(relayed(withDo, upstream));
    expect(decoded.flag_ad).toBe(true);
    expect(decoded.additionals?.[0]).toMatchObject({ type: 'OPT', flag_do: true });
  });

  it('have no AA, Z or TC of the upstream', () => {
    const decoded = packet.decode(relayed(WITH_OPT, answered({ answers: [a(NAME)] }, 0x07c0)));
    expect(decoded).toMatchObject({ flag_aa: false, flag_tc: false, flag_z: false, flag_ra: true });
  });

  it('keep an extended rcode for a client with OPT, and make it SERVFAIL for one without', () => {
    const upstream = answered({ additionals: [{ ...OPT, extendedRcode: 1 }] }, 0x0187);
    const decoded = packet.decode(relayed(WITH_OPT, upstream));
    expect(decoded.additionals?.[0]).toMatchObject({ extendedRcode: 1 });
    expect(decodeAnswer(relayed(WITH_OPT, upstream)).rcode).toBe('YXRRSET');
    expect(decodeAnswer(relayed(WITHOUT_OPT, upstream)).rcode).toBe('SERVFAIL');
  });

  it('give the text of an EDE whole or cut between characters, and not at all when it is not UTF-8', () => {
    const long = `${'é'.repeat(99)}x${'é'.repeat(50)}`;
    const upstream = withOptions(
      answered({}),
      option(10, 'cookie..'),
      ede(3, long),
      ede(22, Buffer.from([0xff, 0xfe])),
    );
    const told = Buffer.concat([ede(3, `${'é'.repeat(99)}x`), ede(22, '')]);
    const reply = relayed(WITH_OPT, upstream);
    expect(reply.subarray(-told.length)).toEqual(told);
    expect(reply.readUInt16BE(reply.length - told.length - 2)).toBe(told.length);
  });
});

describe('records of a relayed answer', () => {
  it('before the OPT are kept; those behind it would move, and are left away', () => {
    const upstream = answered({
      answers: [a(NAME)],
      additionals: [a('before.example.com', 2), OPT, a('behind.example.com', 3)],
    });
    const decoded = packet.decode(relayed(WITH_OPT, upstream));
    expect(decoded.answers?.length).toBe(1);
    expect(decoded.additionals?.map(({ name, type }) => `${name} ${type}`)).toEqual([
      'before.example.com A',
      '. OPT',
    ]);
    expect(packet.decode(relayed(WITHOUT_OPT, upstream)).additionals?.length).toBe(1);
  });

  it('are not relayed when an OPT stands among the answers, or the question is another', () => {
    expect(relayAnswer(WITH_OPT, answered({ answers: [a(NAME), OPT] }), 'udp')).toBeUndefined();
    const other = packet.encode({ type: 'response', questions: [{ type: 'A', name: 'ww.example.com' }] });
    expect(relayAnswer(WITH_OPT, other, 'udp')).toBeUndefined();
  });

  it('of the largest hostile answer take a few milliseconds, not a tenth of a second', () => {
    const name = Array.from({ length: 126 }, () => 'a').join('.');
    const query = parsed(encodeQuery(name));
    const head = packet.encode({ type: 'response', questions: [{ type: 'A', name }] });
    const record = Buffer.from([0xc0, 12, 0, 2, 0, 1, 0, 0, 0, 60, 0, 2, 0xc0, 12]);
    const count = Math.floor((65_535 - head.length) / record.length);
    const upstream = Buffer.concat([head, ...Array.from({ length: count }, () => record)]);
    upstream.writeUInt16BE(count, 6);
    relayed(query, upstream, 'tcp');
    const tookMs = Array.from({ length: 5 }, () => {
      const from = performance.now();
      relayed(query, upstream, 'tcp');
      return performance.now() - from;
    });
    expect(Math.min(...tookMs)).toBeLessThan(20);
  });
});
