// All counters of the process: an arena for each VM, and the tables that VMs share. Owns their number and their memory
// bound, both fixed at start-up. One VM can never use another's arena.
import type { Arena, State, Table } from '../rail/ports.ts';
import type { ProfilePrograms } from '../rail/program.ts';
import { limitWindowMs } from '../rail/rule.ts';
import type { Rule } from '../rail/rule.ts';
import { SEEN_BYTES, SeenFilter } from './seen.ts';
import { KeyTable, SHARED_KEYS_PER_VM, tableBytes, WAYS } from './table.ts';
import type { TableCounts } from './table.ts';

export interface StateOptions {
  readonly profiles: ReadonlyMap<string, ProfilePrograms>;
  readonly vmsMax: number;
  /** Keys of one rule and VM; a multiple of 8. */
  readonly keysPerVm: number;
  readonly counts: TableCounts;
}

/** Entries of a rule's table: one set where the VM itself is the whole key. */
function slotsOf(rule: Rule, keysPerVm: number, vmsMax: number): number {
  const keyed = rule.by.some((field) => field !== 'vm');
  if (!keyed) return WAYS;
  return rule.by.includes('vm') ? keysPerVm : Math.ceil((SHARED_KEYS_PER_VM * vmsMax) / WAYS) * WAYS;
}

function tableOptions(
  rule: Rule,
  options: Pick<StateOptions, 'keysPerVm' | 'vmsMax'>,
): Omit<ConstructorParameters<typeof KeyTable>[0], 'counts'> | undefined {
  if (rule.limit === undefined) return undefined;
  return {
    limit: rule.limit,
    count: rule.count,
    slots: slotsOf(rule, options.keysPerVm, options.vmsMax),
    ...(rule.hold === undefined ? {} : { hold: rule.hold }),
    ...(rule.by.includes('vm') ? {} : { owners: options.vmsMax }),
  };
}

/** Octets that the state can ever take: what all VMs together use, and what one VM adds. */
export function stateBytes(options: Omit<StateOptions, 'counts'>): { total: number; perVm: number } {
  let shared = 0;
  let perVm = 0;
  for (const { rules, seenFields } of options.profiles.values()) {
    let own = seenFields.length * SEEN_BYTES;
    for (const rule of rules) {
      const table = tableOptions(rule, options);
      if (table === undefined) continue;
      if (rule.by.includes('vm')) own += tableBytes(table);
      else shared += tableBytes(table);
    }
    perVm = Math.max(perVm, own);
  }
  return { total: shared + perVm * options.vmsMax, perVm };
}

/** How long after its last event a VM's counters are certainly the same as none; Infinity when a slot may be taken. */
function healMs(rules: readonly Rule[]): number {
  const hold = (rule: Rule): number => (rule.hold === undefined ? 0 : rule.hold.maxMs * 64);
  const limit = (rule: Rule): number => {
    if (rule.limit === undefined) return 0;
    return rule.limit.kind === 'sliding' ? limitWindowMs(rule.limit) * 2 : limitWindowMs(rule.limit);
  };
  return Math.max(0, ...rules.map((rule) => Math.max(hold(rule), limit(rule))));
}

interface VmArena extends Arena {
  lastMs: number;
}

export interface VmState extends State {
  readonly vms: number;
}

export function createState(options: StateOptions): VmState {
  const arenas = new Map<string, VmArena>();
  const shared = new Map<string, (KeyTable | undefined)[]>();
  for (const [name, { rules }] of options.profiles) {
    shared.set(
      name,
      rules.map((rule) => (rule.by.includes('vm') ? undefined : makeTable(rule))),
    );
  }
  function makeTable(rule: Rule): KeyTable | undefined {
    const table = tableOptions(rule, options);
    return table === undefined ? undefined : new KeyTable({ ...table, counts: options.counts });
  }
  function make(profile: string, owner: number, now: number): VmArena | undefined {
    const programs = options.profiles.get(profile);
    if (programs === undefined) return undefined;
    const tables: (Table | undefined)[] = programs.rules.map(
      (rule, i) => shared.get(profile)?.[i] ?? makeTable(rule),
    );
    return { owner, tables, seen: programs.seenFields.map(() => new SeenFilter()), lastMs: now };
  }
  return {
    get vms() {
      return arenas.size;
    },
    arena(vm, profile, now) {
      const known = arenas.get(vm);
      if (known !== undefined) {
        known.lastMs = now;
        return known;
      }
      const owner = arenas.size < options.vmsMax ? arenas.size : reclaim(arenas, options, now);
      const arena = owner < 0 ? undefined : make(profile, owner, now);
      if (arena !== undefined) arenas.set(vm, arena);
      return arena;
    },
  };
}

/** Frees the arena of a VM that has been silent until nothing of it counts any more; -1 when there is none. */
function reclaim(arenas: Map<string, VmArena>, options: StateOptions, now: number): number {
  const longest = Math.max(...[...options.profiles.values()].map((p) => healMs(p.rules)));
  for (const [vm, arena] of arenas) {
    const busy = arena.tables.some((table) => table?.busy === true);
    if (busy || now - arena.lastMs < longest) continue;
    arenas.delete(vm);
    return arena.owner;
  }
  return -1;
}
