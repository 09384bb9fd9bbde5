// The programs that benchmarks run beside weir, each pinned to a core, on loopback, ended by whoever started them. Debian packages:
// dnsdist, unbound, dnsmasq-base, dnsperf.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import packet from 'dns-packet';
import { raisedPack } from './raised.ts';

export interface Peer {
  readonly name: string;
  readonly port: number;
  readonly process: ChildProcess;
}

const ROOT = join(import.meta.dirname, '..', '..');
const NODE = join(ROOT, 'node_modules', '.bin', 'node');

function pinned(core: number, command: string, args: readonly string[]): ChildProcess {
  return spawn('taskset', ['-c', String(core), command, ...args], { stdio: ['ignore', 'ignore', 'ignore'] });
}

/** A dnsdist that answers everything itself, with one address. */
export async function startUpstream(folder: string, port: number, core: number): Promise<Peer> {
  const file = write(
    folder,
    'upstream.conf',
    `setLocal('127.0.0.1:${port}')\nsetACL('127.0.0.0/8')\naddAction(AllRule(), SpoofAction('192.0.2.1'))\n`,
  );
  return ready({ name: 'upstream', port, process: pinned(core, 'dnsdist', ['--supervised', '-C', file]) });
}

/** Every forwarder, one after the other bound to its own port, all on one core. */
export const FORWARDERS: readonly ((
  folder: string,
  port: number,
  upstream: number,
  core: number,
) => Promise<Peer>)[] = [
  (folder, port, upstream, core) => {
    const rules = write(folder, 'rules.yaml', raisedPack());
    const config = write(
      folder,
      'weir.yaml',
      JSON.stringify({
        dns: { listen: `127.0.0.1:${port}`, upstreams: [`udp://127.0.0.1:${upstream}`] },
        http: { listen: '127.0.0.1:0' },
        admin: { listen: '127.0.0.1:0' },
        rules: { profiles: { balanced: [rules] } },
        data: join(folder, 'data'),
      }),
    );
    return ready({
      name: 'weir',
      port,
      process: pinned(core, NODE, [join(ROOT, 'src', 'main.ts'), 'run', '--config', config]),
    });
  },
  (_folder, port, upstream, core) =>
    ready({
      name: 'bare dgram forwarder',
      port,
      process: pinned(core, NODE, [
        join(import.meta.dirname, 'dgram-forwarder.ts'),
        String(port),
        String(upstream),
      ]),
    }),
  (folder, port, upstream, core) => {
    // With rate rules of its own, as a dnsdist in weir's place would have them.
    const text = `setLocal('127.0.0.1:${port}')\nsetACL('127.0.0.0/8')\nsetMaxUDPOutstanding(65535)\nnewServer({address='127.0.0.1:${upstream}', useClientSubnet=false, healthCheckMode='up'})
addAction(MaxQPSIPRule(10000000), DropAction())\naddAction(AndRule({QTypeRule(10), QNameLabelsCountRule(0, 20)}), DropAction())
local dbr = dynBlockRulesGroup()\ndbr:setQueryRate(10000000, 10, "rate", 60)\nfunction maintenance() dbr:apply() end\n`;
    return ready({
      name: 'dnsdist',
      port,
      process: pinned(core, 'dnsdist', ['--supervised', '-C', write(folder, 'dnsdist.conf', text)]),
    });
  },
  (folder, port, upstream, core) => {
    const text = `server:\n interface: 127.0.0.1\n port: ${port}\n num-threads: 1\n do-daemonize: no\n username: ""\n chroot: ""\n directory: "${folder}"\n pidfile: "${folder}/unbound.pid"
 use-syslog: no\n module-config: "iterator"\n do-not-query-localhost: no\n access-control: 127.0.0.0/8 allow\n outgoing-range: 4096\n num-queries-per-thread: 4096\n so-rcvbuf: 4m\nforward-zone:\n name: "."\n forward-addr: 127.0.0.1@${upstream}\n`;
    return ready({
      name: 'unbound',
      port,
      process: pinned(core, 'unbound', ['-d', '-c', write(folder, 'unbound.conf', text)]),
    });
  },
  (_folder, port, upstream, core) =>
    ready({
      name: 'dnsmasq',
      port,
      process: pinned(core, 'dnsmasq', [
        '--no-daemon',
        '--conf-file=/dev/null',
        '--no-resolv',
        '--no-hosts',
        '--cache-size=0',
        '--listen-address=127.0.0.1',
        '--bind-interfaces',
        `--port=${port}`,
        `--server=127.0.0.1#${upstream}`,
        '--dns-forward-max=10000',
        '--user=root',
        '--pid-file=',
      ]),
    }),
];

function write(folder: string, name: string, text: string): string {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, name), text);
  return join(folder, name);
}

const READY_MS = 10_000;

/** Waits until the peer answers a query. */
async function ready(peer: Peer): Promise<Peer> {
  for (let left = READY_MS; left > 0; left -= 200) {
    if (peer.process.exitCode !== null) throw new Error(`${peer.name} ended with ${peer.process.exitCode}`);
    if (await answers(peer.port)) return peer;
  }
  throw new Error(`${peer.name} does not answer on port ${peer.port}`);
}

function answers(port: number): Promise<boolean> {
  const socket = createSocket('udp4');
  const query = packet.encode({
    type: 'query',
    id: 7,
    flags: packet.RECURSION_DESIRED,
    questions: [{ type: 'A', name: 'ready.example.com' }],
  });
  return new Promise((resolve) => {
    const done = (heard: boolean): void => {
      clearTimeout(timer);
      socket.close();
      resolve(heard);
    };
    const timer = setTimeout(() => done(false), 200);
    socket.once('message', () => done(true));
    socket.once('error', () => {});
    socket.send(query, port, '127.0.0.1');
  });
}
