// A DNS upstream under the test's control: UDP and TCP on one loopback port, everything it is asked kept.
import { createSocket } from 'node:dgram';
import type { Socket } from 'node:dgram';
import { createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import packet from 'dns-packet';
import type { DecodedPacket, Packet } from 'dns-packet';

export interface Asked {
  readonly name: string;
  readonly type: string;
  readonly transport: 'udp' | 'tcp';
  readonly id: number;
  readonly port: number;
  readonly message: Buffer;
}

/** What to answer: a message, several (lies first), or nothing. */
export type Script = (
  asked: Asked,
  query: DecodedPacket,
) => Buffer | Buffer[] | undefined | Promise<Buffer | undefined>;

export interface RecordingUpstream {
  readonly port: number;
  readonly asked: Asked[];
  /** Names asked for, each once. */
  names(): Set<string>;
  script: Script;
  close(): Promise<void>;
}

/** A plain answer: one A or AAAA record, or none for other types. */
export function plainAnswer(query: DecodedPacket, more: Partial<Packet> = {}): Buffer {
  const question = query.questions?.[0];
  if (question === undefined) throw new Error('a query without a question');
  const { name, type } = question;
  const answers: Packet['answers'] =
    type === 'A' ? [{ type, name, ttl: 60, data: '127.0.0.1' }] : type === 'AAAA' ? [] : [];
  return packet.encode({
    type: 'response',
    id: query.id ?? 0,
    flags: 0x180,
    questions: [question],
    answers,
    ...more,
  });
}

export async function startUpstream(): Promise<RecordingUpstream> {
  const asked: Asked[] = [];
  const upstream: { script: Script } = { script: (_asked, query) => plainAnswer(query) };
  const hear = async (message: Buffer, transport: 'udp' | 'tcp', port: number): Promise<Buffer[]> => {
    const query = packet.decode(message);
    const question = query.questions?.[0];
    const one: Asked = {
      name: question?.name ?? '',
      type: question?.type ?? '',
      transport,
      id: query.id ?? 0,
      port,
      message,
    };
    asked.push(one);
    const answer = await upstream.script(one, query);
    return answer === undefined ? [] : Array.isArray(answer) ? answer : [answer];
  };
  const { udp, tcp } = await bindBoth(hear);
  return {
    port: udp.address().port,
    asked,
    names: () => new Set(asked.map(({ name }) => name)),
    get script() {
      return upstream.script;
    },
    set script(script) {
      upstream.script = script;
    },
    close: () =>
      new Promise((resolve) => {
        udp.close();
        tcp.close(() => resolve());
      }),
  };
}

type Hear = (message: Buffer, transport: 'udp' | 'tcp', port: number) => Promise<Buffer[]>;

async function bindBoth(hear: Hear): Promise<{ udp: Socket; tcp: Server }> {
  for (;;) {
    const tcp = serveTcp(hear);
    await new Promise<void>((resolve) => {
      tcp.listen(0, '127.0.0.1', resolve);
    });
    const udp = createSocket({ type: 'udp4', recvBufferSize: 4 * 1024 * 1024 });
    udp.on('message', (message, peer) => {
      void hear(message, 'udp', peer.port).then((answers) => {
        for (const answer of answers) udp.send(answer, peer.port, peer.address);
      });
    });
    try {
      await new Promise<void>((resolve, reject) => {
        udp.once('error', reject);
        udp.bind((tcp.address() as AddressInfo).port, '127.0.0.1', resolve);
      });
      return { udp, tcp };
    } catch {
      tcp.close();
    }
  }
}

function serveTcp(hear: Hear): Server {
  return createServer((socket) => {
    let buffered = Buffer.alloc(0);
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk) => {
      buffered = Buffer.concat([buffered, chunk as Buffer]);
      while (buffered.length >= 2 && buffered.length >= 2 + buffered.readUInt16BE(0)) {
        const message = buffered.subarray(2, 2 + buffered.readUInt16BE(0));
        buffered = buffered.subarray(2 + message.length);
        void hear(message, 'tcp', socket.remotePort ?? 0).then((answers) => {
          for (const answer of answers) {
            const length = Buffer.alloc(2);
            length.writeUInt16BE(answer.length);
            socket.write(Buffer.concat([length, answer]));
          }
        });
      }
    });
  });
}
