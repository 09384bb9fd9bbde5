// The secret of the keyed hashes: data/state.key. Owns its making and its permissions.
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const KEY_OCTETS = 32;

/** Reads the key, or makes it at first start (0600). A key of another length is an error: it is never replaced in silence. */
export function stateKey(dataFolder: string): { ok: true; key: Uint8Array } | { ok: false; detail: string } {
  const path = join(dataFolder, 'state.key');
  try {
    mkdirSync(dataFolder, { recursive: true, mode: 0o700 });
    const found = read(path);
    if (found === undefined) {
      const key = randomBytes(KEY_OCTETS);
      writeFileSync(path, key, { mode: 0o600, flag: 'wx' });
      return { ok: true, key };
    }
    if (found.length !== KEY_OCTETS) {
      return {
        ok: false,
        detail: `${path}: has ${found.length} octets, not ${KEY_OCTETS}: restore it, or remove it to start anew`,
      };
    }
    chmodSync(path, 0o600);
    return { ok: true, key: found };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { ok: false, detail: `data: ${why}: the folder must be writable; set \`data\` to one that is` };
  }
}

function read(path: string): Uint8Array | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if ((error as { code?: string }).code === 'ENOENT') return undefined;
    throw error;
  }
}
