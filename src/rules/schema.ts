// The shape of a rule as people write it. Owns keys, words and bounds; meaning is checked in load.ts.
import { z } from 'zod';
import { parseDuration } from '../lib/duration.ts';
import { EVENT_TYPES } from '../rail/fields.ts';

const duration = z.union([z.string(), z.number()]).transform((value, ctx) => {
  const ms = typeof value === 'string' ? parseDuration(value) : undefined;
  if (ms !== undefined) return ms;
  ctx.addIssue({
    code: 'custom',
    message: 'must be a time above 0 with its unit, such as 60s, 10m, 1h or 1d',
  });
  return z.NEVER;
});

const amount = z.number({ error: 'must be a number' }).min(0, { error: 'must be 0 or more' });
const above0 = z.number({ error: 'must be a number' }).gt(0, { error: 'must be above 0' });

const sliding = z.strictObject({ max: amount, window: duration, exact: z.boolean().default(false) });
const bucket = z.strictObject({ bucket: above0, refill: above0, per: duration });
const concurrent = z.strictObject({ max: amount, concurrent: z.literal(true) });

/** Chooses the kind by its own key first, so that a misspelt second key is named instead of "no kind fits". */
const limit = z
  .unknown()
  .transform((value, ctx): z.infer<typeof sliding | typeof bucket | typeof concurrent> => {
    const has = (key: string): boolean => typeof value === 'object' && value !== null && key in value;
    const kind = has('bucket') ? bucket : has('concurrent') ? concurrent : sliding;
    const parsed = kind.safeParse(value);
    if (parsed.success) return parsed.data;
    for (const issue of parsed.error.issues) ctx.addIssue({ ...issue, input: value } as never);
    return z.NEVER;
  });

const word = z.string().regex(/^[a-z][a-z0-9_.-]{0,62}$/, {
  error: 'must be lower-case letters, digits, dots and dashes, at most 63',
});

export const ruleSchema = z.strictObject({
  id: word,
  title: z.string().min(1).max(200),
  level: z.enum(['informational', 'low', 'medium', 'high', 'critical']).default('medium'),
  tags: z.array(z.string().max(100)).default([]),
  event: z.union([z.enum(EVENT_TYPES), z.array(z.enum(EVENT_TYPES)).min(1)], {
    error: `must be an event type or a list of them: ${EVENT_TYPES.join(', ')}`,
  }),
  when: z.string().optional(),
  count: z.string().default('events'),
  by: z.array(z.string()).default(['vm']),
  limit: limit.optional(),
  warn: z.number().gt(0).lt(1, { error: 'must be a share of the limit: above 0 and below 1' }).optional(),
  then: z.enum(['allow', 'detect', 'block'], { error: 'must be allow, detect or block' }).default('block'),
  hold: z
    .strictObject({ for: duration, factor: z.number().min(1).max(16).default(1), max: duration.optional() })
    .optional(),
  answer: z
    .strictObject({
      dns: z.enum(['nxdomain', 'nodata', 'refused', 'drop']).optional(),
      ede: z.int().min(0).max(65_535).optional(),
      http: z.union([z.literal(403), z.literal(429)]).optional(),
    })
    .optional(),
  mode: z.enum(['enforce', 'shadow']).default('enforce'),
  message: z.string().max(300).optional(),
  enabled: z.boolean().default(true),
});
export type WrittenRule = z.infer<typeof ruleSchema>;
