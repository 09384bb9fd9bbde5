// The configuration: every key, default and bound in one place. Types, docs and config/schema.json follow from it.
import { z } from 'zod';
import { parseAllow } from '../lib/egress-allow.ts';
import { parseEndpoint, parseIp, parseRange } from '../lib/ip.ts';
import { parseUpstream } from '../lib/upstream-address.ts';

const endpoint = z.string().refine((text) => parseEndpoint(text) !== undefined, {
  error: 'must be an IP address and a port, such as 127.0.0.1:5300 or [::1]:5300',
});
const listen = (normal: string) =>
  z
    .union([endpoint, z.array(endpoint).min(1)], {
      error: 'must be an IP address and a port, such as 127.0.0.1:5300, or a list of them',
    })
    .default(normal)
    .describe('address:port, or a list of them; port 0 lets the system choose');

const upstream = z.string().superRefine((text, ctx) => {
  const parsed = parseUpstream(text);
  if (!parsed.ok) ctx.addIssue({ code: 'custom', message: parsed.detail });
});
const allow = z.string().superRefine((text, ctx) => {
  const parsed = parseAllow(text);
  if (!parsed.ok) ctx.addIssue({ code: 'custom', message: parsed.detail });
});
const source = z.string().refine((text) => parseRange(text) !== undefined, {
  error:
    'must be an IP address or a range without bits behind its length, such as 10.1.0.2/32 or fd00:1::/64',
});
const name = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, {
  error:
    'must be at most 63 lower-case letters, digits, dots, dashes and underscores, with a letter or digit first',
});
const zone = z.string().regex(/^[a-z0-9_]([a-z0-9_.-]{0,251}[a-z0-9_])?$/, {
  error: 'must be a lower-case name without a trailing dot',
});

const vm = z.strictObject({
  id: name
    .refine((id) => id !== 'unknown', { error: '`unknown` is the VM of strangers: choose another id' })
    .refine((id) => parseIp(id) === undefined, {
      error: 'must not be an address: strangers have such ids with identity.unknown: by-address',
    }),
  sources: z.array(source).min(1).describe('addresses or ranges, v4 and v6, that are this VM'),
  profile: name.default('balanced').describe('a key of rules.profiles'),
  tenant: z.string().min(1).max(63).optional().describe('who the VM works for'),
});

export const SHIPPED_RULES = 'config/rules/*.yaml';
const files = z.array(z.string().min(1));

export const configSchema = z.strictObject({
  dns: z
    .strictObject({
      listen: listen('127.0.0.1:5300').describe('where DNS is served, UDP and TCP on the same port'),
      upstreams: z
        .union([z.literal('system'), z.array(upstream).min(1)], {
          error: 'must be `system` or a list such as ["udp://192.0.2.53", "tcp://192.0.2.54:53"]',
        })
        .default('system')
        .describe('where allowed queries go; `system`: the name servers of resolv.conf'),
      zones: z
        .record(zone, z.array(upstream).min(1))
        .default({})
        .describe('upstreams for names in a zone; the longest zone wins'),
    })
    .prefault({}),
  http: z
    .strictObject({ listen: listen('127.0.0.1:3128').describe('where the HTTP proxy is served') })
    .prefault({}),
  admin: z
    .strictObject({ listen: listen('127.0.0.1:9053').describe('health and metrics; keep it on loopback') })
    .prefault({}),
  vms: z.array(vm).default([]),
  identity: z
    .strictObject({
      unknown: z
        .enum(['one', 'refuse', 'by-address'])
        .optional()
        .describe('sources of no VM; default: one on loopback listeners, else refuse'),
      vms_max: z.int().min(1).max(65_536).default(256).describe('VMs that have state at once'),
    })
    .prefault({}),
  egress: z
    .strictObject({
      allow: z.array(allow).default([]).describe('private hosts, addresses or ranges that may be reached'),
      ports: z.array(z.int().min(1).max(65_535)).default([80, 443, 8080, 8443]),
    })
    .prefault({}),
  rules: z
    .strictObject({
      corp: files.default([]).describe('locked layer: files that apply to every profile'),
      profiles: z
        .record(name, files)
        .default({ balanced: [SHIPPED_RULES] })
        .describe('files of each profile; patterns are allowed'),
    })
    .prefault({}),
  state: z
    .strictObject({
      keys_per_vm: z
        .int()
        .min(8)
        .max(1_048_576)
        .multipleOf(8)
        .default(1024)
        .describe('keys of one rule and VM'),
      max_bytes: z.int().min(1_048_576).default(1_073_741_824).describe('weir refuses to start above this'),
    })
    .prefault({}),
  log: z
    .strictObject({
      file: z.string().min(1).nullable().default(null).describe('NDJSON to this file too'),
      max_bytes: z.int().min(65_536).default(67_108_864).describe('size at which the file is rotated'),
      keep: z.int().min(1).max(100).default(5).describe('rotated files kept'),
      interval_s: z
        .int()
        .min(1)
        .max(3600)
        .default(10)
        .describe('seconds between lines of a key that stays blocked'),
      traffic: z
        .strictObject({
          http: z
            .enum(['all', 'off'])
            .default('all')
            .describe('a line for each request and each closed tunnel'),
          dns: z.enum(['all', 'sampled', 'off']).default('sampled').describe('lines for queries'),
        })
        .prefault({}),
    })
    .prefault({}),
  data: z.string().min(1).default('data').describe('folder for what must survive a restart'),
});

/** The configuration as written, with every default filled in. */
export type WrittenConfig = z.output<typeof configSchema>;
