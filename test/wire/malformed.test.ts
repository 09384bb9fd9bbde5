// Everything malformed gets its documented answer, is counted as an event, and leaves the process alive.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ask, decodeAnswer, exchange } from '../support/dns-client.ts';
import { MALFORMED as DNS_MALFORMED, TRUNCATED } from '../support/dns-malformed.ts';
import { startUpstream } from '../support/dns-upstream.ts';
import type { RecordingUpstream } from '../support/dns-upstream.ts';
import { get, parseAnswer, sendRaw } from '../support/http-client.ts';
import { MALFORMED as HTTP_MALFORMED } from '../support/http-malformed.ts';
import { startRawOrigin } from '../support/http-origin.ts';
import type { RawOrigin } from '../support/http-origin.ts';
import { startWeir, VM_A } from '../support/weir.ts';
import type { RunningWeir } from '../support/weir.ts';

let upstream: RecordingUpstream;
let origin: RawOrigin;
let weir: RunningWeir;
beforeAll(async () => {
  upstream = await startUpstream();
  origin = await startRawOrigin((socket) =>
    socket.on('data', () => socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')),
  );
  weir = await startWeir({
    upstreamPort: upstream.port,
    config: { egress: { allow: ['127.0.0.0/8'], ports: [origin.port, 443] } },
  });
});
afterAll(async () => {
  expect(await weir.stop()).toBe(0);
  await upstream.close();
  origin.close();
});

const counted = async (): Promise<number> =>
  (await weir.metrics()).get('weir_events_total{type="wire.malformed",verdict="allow"}') ?? 0;
const RCODES = { FORMERR: 'FORMERR', NOTIMP: 'NOTIMP', REFUSED: 'REFUSED', BADVERS: 'NOERROR' } as const;

describe('malformed DNS', () => {
  for (const tcp of [false, true]) {
    it(`over ${tcp ? 'TCP' : 'UDP'} gets its documented answer, message by message, and each is a counted event`, async () => {
      const before = await counted();
      const rows = [...DNS_MALFORMED, ...TRUNCATED];
      await Promise.all(
        rows.map(async ({ what, message, answer }) => {
          const reply = await exchange(message, { port: weir.dns, tcp, from: VM_A, timeoutMs: 400 });
          if (answer === 'drop') expect(reply, what).toBeUndefined();
          else expect(reply === undefined ? 'silence' : decodeAnswer(reply).rcode, what).toBe(RCODES[answer]);
        }),
      );
      expect(await counted()).toBe(before + rows.length);
      expect(upstream.asked).toEqual([]);
      expect((await ask('alive.example', { port: weir.dns, tcp })).rcode).toBe('NOERROR');
      upstream.asked.length = 0;
    });
  }
});

describe('a malformed request', () => {
  for (const { what, text, status } of HTTP_MALFORMED) {
    it(`with ${what} gets ${status} in the one shape of refusals, is counted, and reaches nobody`, async () => {
      const before = await counted();
      const answer = parseAnswer(
        await sendRaw(text.replaceAll('{}', String(origin.port)), { proxy: weir.http, from: VM_A }),
      );
      expect(answer.status).toBe(status);
      expect(answer.headers.get('content-type')).toBe('application/problem+json');
      expect(JSON.parse(answer.body)).toMatchObject({ status, code: 'malformed' });
      expect(answer.headers.get('x-weir-reason')).toBe('malformed');
      expect(await counted()).toBe(before + 1);
      expect(origin.received()).toBe('');
    });
  }

  it('cut after any octet leaves the process alive and reaches nobody', async () => {
    const whole = `GET http://127.0.0.1:${origin.port}/ HTTP/1.1\r\nHost: 127.0.0.1:${origin.port}\r\n\r\n`;
    await Promise.all(
      Array.from({ length: whole.length - 1 }, (_, length) =>
        sendRaw(whole.slice(0, length), { proxy: weir.http, from: VM_A }, 300),
      ),
    );
    expect(origin.received()).toBe('');
    const url = `http://127.0.0.1:${origin.port}/`;
    expect((await get(url, { proxy: weir.http, from: VM_A })).status).toBe(200);
  });
});
