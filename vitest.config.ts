import { defineConfig } from 'vitest/config';

/** Pure tests: no sockets, no state between files, so they need no isolation and start in milliseconds. */
const fast = (name: string): object => ({
  extends: true as const,
  test: { name, isolate: false, testTimeout: 120_000, include: [`test/${name}/**/*.test.ts`] },
});

export default defineConfig({
  test: {
    pool: 'threads',
    reporters: ['default', './test/support/count-reporter.ts'],
    coverage: { provider: 'v8', include: ['src/**/*.ts'] },
    experimental: { diagnostics: false },
    projects: [
      fast('unit'),
      fast('rail'),
      fast('guard'),
      fast('fuzz'),
      {
        extends: true,
        test: {
          name: 'wire',
          pool: 'forks',
          testTimeout: 60_000,
          hookTimeout: 60_000,
          include: ['test/wire/**/*.test.ts'],
        },
      },
    ],
  },
});
