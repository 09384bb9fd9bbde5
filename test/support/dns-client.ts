// A DNS client that can send from any loopback address, over UDP and TCP, and octets of any kind.
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import packet from 'dns-packet';

export interface Answer {
  readonly rcode: string;
  readonly addresses: readonly string[];
  /** Extended DNS Error code and text. */
  readonly ede: { readonly code: number; readonly text: string } | undefined;
  readonly message: Buffer;
}

export interface AskOptions {
  readonly port: number;
  readonly from?: string;
  readonly tcp?: boolean;
  readonly type?: string;
  readonly timeoutMs?: number;
}

let lastId = 0;

export function encodeQuery(name: string, type = 'A', edns = true): Buffer {
  lastId = (lastId + 1) % 65_536;
  return packet.encode({
    type: 'query',
    id: lastId,
    flags: packet.RECURSION_DESIRED,
    questions: [{ type: type as 'A', name }],
    additionals: edns
      ? [
          {
            type: 'OPT',
            name: '.',
            udpPayloadSize: 1232,
            flags: 0,
            extendedRcode: 0,
            ednsVersion: 0,
            flag_do: false,
            options: [],
          },
        ]
      : [],
  });
}

export function decodeAnswer(message: Buffer): Answer {
  const decoded = packet.decode(message) as unknown as {
    rcode: string;
    answers: { type: string; data: string }[];
    additionals: { options?: { code: number; data: Buffer }[] }[];
  };
  const option = decoded.additionals
    .flatMap((record) => record.options ?? [])
    .find(({ code }) => code === 15);
  return {
    rcode: decoded.rcode,
    addresses: decoded.answers.filter(({ type }) => type === 'A').map(({ data }) => data),
    ede:
      option === undefined
        ? undefined
        : { code: option.data.readUInt16BE(0), text: option.data.subarray(2).toString() },
    message,
  };
}

export async function ask(name: string, options: AskOptions): Promise<Answer> {
  const reply = await exchange(encodeQuery(name, options.type), options);
  if (reply === undefined) throw new Error(`no answer to ${name}`);
  return decodeAnswer(reply);
}

/** Sends octets and gives the first answer; undefined when none came in time or the connection was closed. */
export function exchange(message: Buffer, options: AskOptions): Promise<Buffer | undefined> {
  return options.tcp === true ? exchangeTcp(message, options) : exchangeUdp(message, options);
}

function exchangeUdp(message: Buffer, options: AskOptions): Promise<Buffer | undefined> {
  const socket = createSocket('udp4');
  return new Promise((resolve) => {
    const done = (reply: Buffer | undefined): void => {
      clearTimeout(timer);
      socket.close();
      resolve(reply);
    };
    const timer = setTimeout(() => done(undefined), options.timeoutMs ?? 6000);
    socket.once('message', done);
    socket.bind(0, options.from ?? '127.0.0.1', () => socket.send(message, options.port, '127.0.0.1'));
  });
}

function exchangeTcp(message: Buffer, options: AskOptions): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const socket = connect({
      host: '127.0.0.1',
      port: options.port,
      localAddress: options.from ?? '127.0.0.1',
    });
    let buffered = Buffer.alloc(0);
    const done = (reply: Buffer | undefined): void => {
      socket.destroy();
      resolve(reply);
    };
    socket.setTimeout(options.timeoutMs ?? 6000, () => done(undefined));
    socket.on('error', () => done(undefined));
    socket.on('close', () => done(undefined));
    socket.on('connect', () => {
      const length = Buffer.alloc(2);
      length.writeUInt16BE(message.length);
      socket.write(Buffer.concat([length, message]));
    });
    socket.on('data', (chunk: Buffer) => {
      buffered = Buffer.concat([buffered, chunk]);
      if (buffered.length >= 2 && buffered.length >= 2 + buffered.readUInt16BE(0))
        done(buffered.subarray(2, 2 + buffered.readUInt16BE(0)));
    });
  });
}
