import packet from 'dns-packet';
import { describe, expect, it } from 'vitest';
import { malformedReply, refusalReply } from '../../../src/dns/enforce.ts';
import { parseQuery } from '../../../src/dns/wire.ts';
import type { ParsedQuery, Query } from '../../../src/dns/wire.ts';
import { REASONS } from '../../../src/rail/decision.ts';
import type { Refused } from '../../../src/rail/index.ts';
import { decodeAnswer, encodeQuery } from '../../support/dns-client.ts';
import { refused } from '../../support/fake-rail.ts';

function parsed(message: Buffer): Query {
  const result = parseQuery(message);
  if (!result.ok) throw new Error(result.detail);
  return result.query;
}
function malformed(message: Buffer): Extract<ParsedQuery, { ok: false }> {
  const result = parseQuery(message);
  if (result.ok) throw new Error('it was understood');
  return result;
}
const NAME = 'a.b.example.com';
function reply(refusal: Refused, query = parsed(encodeQuery(NAME))): Buffer {
  const message = refusalReply(query, 'example.com', refusal);
  if (message === undefined) throw new Error('silence');
  return message;
}
const soaOf = (message: Buffer): packet.SoaAnswer | undefined =>
  packet.decode(message).authorities?.find((record) => record.type === 'SOA');

/** DESIGN.md section 6, the DNS column. */
const TOLD: Record<string, { rcode: string; ede: number; soa: boolean }> = {
  blocked: { rcode: 'NXDOMAIN', ede: 15, soa: true },
  rate_limited: { rcode: 'NXDOMAIN', ede: 15, soa: true },
  budget_exhausted: { rcode: 'NXDOMAIN', ede: 15, soa: true },
  too_many: { rcode: 'SERVFAIL', ede: 0, soa: false },
  state_full: { rcode: 'SERVFAIL', ede: 0, soa: false },
  rail_error: { rcode: 'SERVFAIL', ede: 0, soa: false },
  unknown_vm: { rcode: 'REFUSED', ede: 18, soa: false },
};

describe('a refused query', () => {
  for (const reason of REASONS) {
    if (reason === 'allowed') continue;
    it(`because of ${reason} is answered as the table says`, () => {
      const message = reply(refused({ reason }));
      const answer = decodeAnswer(message);
      expect({ rcode: answer.rcode, ede: answer.ede?.code, soa: soaOf(message) !== undefined }).toEqual(
        TOLD[reason],
      );
    });
  }

  it('is remembered for 10 s at the most, in the name of the domain that the limit counts', () => {
    const soa = soaOf(reply(refused()));
    expect(soa?.name).toBe('example.com');
    expect(soa?.ttl).toBe(10);
    expect(soa?.data.minimum).toBe(10);
    const deep = parsed(encodeQuery('x.y.z.example.com'));
    const root = refusalReply(deep, '.', refused());
    expect(root === undefined ? '' : soaOf(root)?.name).toBe('.');
    const itself = refusalReply(deep, 'x.y.z.example.com', refused());
    expect(itself === undefined ? '' : soaOf(itself)?.name).toBe('x.y.z.example.com');
  });

  it('names the domain by its octets, so that dots within labels do not lead astray', () => {
    const octets = [3, 97, 46, 98, 7, ...Buffer.from('example'), 3, ...Buffer.from('com'), 0, 0, 1, 0, 1];
    const query = parsed(Buffer.concat([encodeQuery('x', 'A', false).subarray(0, 12), Buffer.from(octets)]));
    expect(query.question.text).toBe('a\\046b.example.com');
    expect(soaOf(reply(refused(), query))?.name).toBe('example.com');
  });

  it('tells rule, event and message as EDE text, only to a client that sent an OPT', () => {
    expect(decodeAnswer(reply(refused())).ede).toEqual({
      code: 15,
      text: 'rule=rule-a id=01hzzzzzzzzzzzzzzzzzzzzzzz: too much',
    });
    const plain = reply(refused(), parsed(encodeQuery(NAME, 'A', false)));
    expect(packet.decode(plain).additionals).toEqual([]);
  });

  it('is answered as its rule wants: nodata, refused, with another EDE, or not at all', () => {
    const nodata = reply(refused({ answer: { dns: 'nodata', ede: 30 } }));
    expect(decodeAnswer(nodata)).toMatchObject({ rcode: 'NOERROR', ede: { code: 30 } });
    expect(soaOf(nodata)?.name).toBe('example.com');
    expect(decodeAnswer(reply(refused({ answer: { dns: 'refused' } }))).rcode).toBe('REFUSED');
    expect(
      refusalReply(parsed(encodeQuery(NAME)), 'example.com', refused({ answer: { dns: 'drop' } })),
    ).toBeUndefined();
  });

  it('because weir itself fails is SERVFAIL, whatever the rule wants', () => {
    const answer = { dns: 'nodata' as const };
    expect(decodeAnswer(reply(refused({ reason: 'rail_error', answer }))).rcode).toBe('SERVFAIL');
  });

  it('fits in 512 octets with the longest name, a long message, and no part of a character at its end', () => {
    const label = 'l'.repeat(63);
    const query = parsed(encodeQuery([label, label, label, 'k'.repeat(61)].join('.')));
    for (let pad = 0; pad < 4; pad += 1) {
      const message = reply(refused({ message: `${'.'.repeat(pad)}${'😀'.repeat(4000)}` }), query);
      expect(message.length).toBeLessThanOrEqual(512);
      expect(decodeAnswer(message).ede?.text).toMatch(/^rule=rule-a id=01hz+: \.*😀+$/u);
    }
  });

  it('keeps the letter case of the client, its RD and its CD', () => {
    const asked = encodeQuery('A.b.ExAmPlE.com');
    asked.writeUInt16BE(0x0110, 2);
    const decoded = packet.decode(reply(refused(), parsed(asked)));
    expect(decoded.questions?.[0]?.name).toBe('A.b.ExAmPlE.com');
    expect(decoded).toMatchObject({ flag_rd: true, flag_cd: true, flag_ra: true, flag_aa: false });
  });
});

describe('a malformed message', () => {
  const badVersion = encodeQuery(NAME);
  badVersion[badVersion.length - 5] = 1;
  const twoQuestions = encodeQuery(NAME);
  twoQuestions.writeUInt16BE(2, 4);

  it('gets its documented answer whether its event was allowed or refused by a limit', () => {
    for (const decision of [{ verdict: 'allow', reason: 'allowed' } as const, refused()]) {
      const answer = malformedReply(malformed(twoQuestions), decision);
      expect(answer === undefined ? '' : decodeAnswer(answer).rcode).toBe('FORMERR');
    }
  });

  it('gets silence where the rule says so, and REFUSED when it comes from a stranger', () => {
    expect(malformedReply(malformed(twoQuestions), refused({ answer: { dns: 'drop' } }))).toBeUndefined();
    const stranger = malformedReply(malformed(badVersion), refused({ reason: 'unknown_vm' }));
    expect(stranger === undefined ? '' : decodeAnswer(stranger)).toMatchObject({
      rcode: 'REFUSED',
      ede: { code: 18 },
    });
  });

  it('of another EDNS version learns the one that is spoken here', () => {
    const answer = malformedReply(malformed(badVersion), { verdict: 'allow', reason: 'allowed' });
    const opt = answer === undefined ? undefined : packet.decode(answer).additionals?.[0];
    expect(opt).toMatchObject({ type: 'OPT', extendedRcode: 1, ednsVersion: 0 });
  });

  it('that does not desire recursion is told so with RD as it came', () => {
    const noRecursion = encodeQuery(NAME);
    noRecursion.writeUInt16BE(0, 2);
    const answer = malformedReply(malformed(noRecursion), { verdict: 'allow', reason: 'allowed' });
    expect(answer === undefined ? {} : packet.decode(answer)).toMatchObject({ flag_rd: false });
    expect(answer === undefined ? '' : decodeAnswer(answer).rcode).toBe('REFUSED');
  });
});
