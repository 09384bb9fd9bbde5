// Connections to origins, kept and reused. Owns their number and their time-outs; resolves nothing: an origin is an address that
// was judged. No two VMs ever share a connection, so that what one writes on it can't shape what another reads.
import { Agent } from 'undici';
import type { Dispatcher } from 'undici';

export interface Pools {
  /** Where this VM's requests go; its origins must be addresses. */
  of(vm: string): Dispatcher;
  /** Ends every connection at once. */
  destroy(): Promise<void>;
}

export interface PoolsOptions {
  readonly connectMs: number;
  /** How long an origin may stay silent before and within an answer. */
  readonly responseMs: number;
}

/** VMs with pools of their own at once. Pools without a connection cost next to nothing and end by themselves. */
const VMS_MAX = 1024;
const IDLE_MS = 10_000;
const IDLE_MAX_MS = 60_000;
const HEADER_OCTETS_MAX = 65_536;

export function createPools(options: PoolsOptions): Pools {
  const agents = new Map<string, Agent>();

  function make(): Agent {
    return new Agent({
      // As many as there are requests: a limit here would let a few hanging ones hold up the rest.
      connections: null,
      pipelining: 1,
      allowH2: false,
      keepAliveTimeout: IDLE_MS,
      keepAliveMaxTimeout: IDLE_MAX_MS,
      headersTimeout: options.responseMs,
      bodyTimeout: options.responseMs,
      maxHeaderSize: HEADER_OCTETS_MAX,
      connect: { timeout: options.connectMs },
    });
  }
  return {
    of(vm) {
      const known = agents.get(vm);
      if (known !== undefined) return known;
      const [oldest] = agents;
      if (oldest !== undefined && agents.size >= VMS_MAX) {
        agents.delete(oldest[0]);
        // Ends when what it still carries has ended.
        void oldest[1].close();
      }
      const made = make();
      agents.set(vm, made);
      return made;
    },
    async destroy() {
      const all = [...agents.values()];
      agents.clear();
      await Promise.all(all.map((agent) => agent.destroy()));
    },
  };
}
