// `weir check`, and the same checks before a start: configuration, rules, and the memory that they are bounded by.
import { loadConfig, processEnvironment } from '../config/load.ts';
import type { Config } from '../config/load.ts';
import { compilePolicy } from '../rail/program.ts';
import type { Policy } from '../rail/rule.ts';
import { loadRules } from '../rules/load.ts';
import { stateBytes } from '../state/state.ts';

export type Checked =
  | {
      readonly ok: true;
      readonly config: Config;
      readonly file: string | undefined;
      readonly policy: Policy;
      /** The bound of the state, in octets: all, and what each VM adds. */
      readonly bytes: { readonly total: number; readonly perVm: number };
    }
  | { readonly ok: false; readonly problems: readonly string[] };

/** Never throws for what a person wrote. */
export function checkAll(file: string | undefined): Checked {
  const loaded = loadConfig({ file, env: processEnvironment(), cwd: process.cwd() });
  if (!loaded.ok) return loaded;
  const { config } = loaded;
  const rules = loadRules(config.rules);
  if (!rules.ok) return rules;
  const { vmsMax } = config.identity;
  const profiles = compilePolicy(rules.policy);
  const bytes = stateBytes({ profiles, vmsMax, keysPerVm: config.state.keysPerVm });
  if (bytes.total > config.state.maxBytes) {
    const detail = `state.max_bytes: ${vmsMax} VMs need ${mebi(bytes.total)} MiB (${mebi(bytes.perVm)} each), more than the ${mebi(config.state.maxBytes)} allowed: raise it, or lower identity.vms_max or state.keys_per_vm`;
    return { ok: false, problems: [`${loaded.file ?? 'default'}: ${detail}`] };
  }
  return { ok: true, config, file: loaded.file, policy: rules.policy, bytes };
}

export const mebi = (octets: number): string => (octets / 1_048_576).toFixed(1);

/** What `weir check` prints when all is well. */
export function summary(checked: Extract<Checked, { ok: true }>): string {
  const { config, policy, bytes } = checked;
  const rules = [...policy.profiles].map(([name, list]) => {
    const enforced = list.filter((rule) => rule.mode === 'enforce' && rule.then === 'block').length;
    return `profile ${name}: ${list.length} rules, ${enforced} enforced`;
  });
  return [
    `${checked.file ?? 'no configuration file: defaults'}: ok`,
    ...rules,
    `VMs: ${config.vms.length} configured, ${config.identity.vmsMax} at most, strangers: ${config.identity.unknown}`,
    `state: at most ${mebi(bytes.total)} MiB, ${mebi(bytes.perVm)} MiB a VM`,
    `policy revision: ${policy.revision}`,
    '',
  ].join('\n');
}
