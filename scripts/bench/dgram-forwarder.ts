// The least that Node can do: a forwarder on plain dgram sockets that only exchanges ids. What weir is measured against.
// Run: node dgram-forwarder.ts PORT UPSTREAM_PORT
import { createSocket } from 'node:dgram';

const [port = 0, upstreamPort = 0] = process.argv.slice(2).map(Number);
const front = createSocket({ type: 'udp4', recvBufferSize: 4 * 1024 * 1024 });
const back = createSocket({ type: 'udp4', recvBufferSize: 4 * 1024 * 1024 });
const pending = Array.from<{ id: number; port: number; address: string } | undefined>({ length: 65_536 });
let next = 0;

front.on('message', (message, peer) => {
  next = (next + 1) % 65_536;
  pending[next] = { id: message.readUInt16BE(0), port: peer.port, address: peer.address };
  message.writeUInt16BE(next, 0);
  back.send(message, upstreamPort, '127.0.0.1');
});
back.on('message', (message) => {
  const asked = pending[message.readUInt16BE(0)];
  if (asked === undefined) return;
  message.writeUInt16BE(asked.id, 0);
  front.send(message, asked.port, asked.address);
});
back.bind(0, '127.0.0.1');
front.bind(port, '127.0.0.1');
