// The other ends of `weir demo`: a DNS upstream that answers every name and remembers it, and an HTTP origin that counts. Both on
// loopback, on ports that the system chose.
import { createSocket } from 'node:dgram';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import packet from 'dns-packet';

export interface DemoUpstream {
  readonly port: number;
  /** Names that reached it. */
  readonly names: ReadonlySet<string>;
  close(): void;
}

const LOOPBACK = '127.0.0.1';

export async function startUpstream(): Promise<DemoUpstream> {
  const names = new Set<string>();
  const socket = createSocket('udp4');
  socket.on('message', (message, peer) => {
    const query = packet.decode(message);
    const question = query.questions?.[0];
    if (question === undefined) return;
    names.add(question.name);
    const answers =
      question.type === 'A' ? [{ type: 'A' as const, name: question.name, ttl: 60, data: LOOPBACK }] : [];
    const reply = packet.encode({
      type: 'response',
      id: query.id ?? 0,
      flags: 0x180,
      questions: [question],
      answers,
    });
    socket.send(reply, peer.port, peer.address);
  });
  await new Promise<void>((resolve) => {
    socket.bind(0, LOOPBACK, resolve);
  });
  return { port: socket.address().port, names, close: () => socket.close() };
}

export interface DemoOrigin {
  readonly port: number;
  readonly requests: () => number;
  close(): void;
}

export async function startOrigin(): Promise<DemoOrigin> {
  let requests = 0;
  const server = createServer((_request, response) => {
    requests += 1;
    response.end('hello from the origin\n');
  });
  await new Promise<void>((resolve) => {
    server.listen(0, LOOPBACK, resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    port,
    requests: () => requests,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}
