import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

// A test that takes longer hangs, also on a busy machine.
const LIMITS = { testTimeout: 300_000, hookTimeout: 300_000 }
const SAME_INPUTS_IN_EVERY_RUN = { setupFiles: ['test/support/seed.ts'] }
// The tests mostly wait for processes: one more of them than there are cores.
const maxWorkers = availableParallelism() + 1
const REAL = ['test/real/**', 'test/prometheus/**', 'test/faults/real-*']

// `--mode short`: what of `fire` takes a few minutes.
export default defineConfig(({ mode }) => ({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: ['test/unit/**/*.test.ts'],
          ...LIMITS,
          ...SAME_INPUTS_IN_EVERY_RUN,
          maxWorkers,
        },
      },
      {
        // Everything that runs as a process against stand-ins; of that, test/tiers is part of `npm test`.
        test: {
          name: 'process',
          include: ['test/{tiers,process,faults}/**/*.test.ts'],
          exclude: REAL,
          ...LIMITS,
          ...SAME_INPUTS_IN_EVERY_RUN,
          maxWorkers,
          maxConcurrency: 3,
        },
      },
      {
        test: {
          name: 'real',
          include: REAL.map((pattern) => pattern.replace(/\*+$/, '**/*.test.ts').replace('-**/', '-')),
          globalSetup: ['test/real/parts.ts'],
          testTimeout: 600_000,
          hookTimeout: 900_000,
          // These wait even more.
          maxWorkers: availableParallelism(),
          maxConcurrency: 4,
          sequence: { groupOrder: 1 },
        },
      },
      {
        test: {
          name: 'fire',
          include: ['test/fire/*.test.ts'],
          testTimeout: 3_600_000,
          sequence: { groupOrder: 2 },
          ...(mode === 'short'
            ? {
                exclude: ['test/fire/kills.test.ts'],
                provide: { killsPerScript: 10 },
                ...SAME_INPUTS_IN_EVERY_RUN,
                maxWorkers,
              }
            : { provide: { killsPerScript: 100 }, maxWorkers: 1 }),
        },
      },
    ],
  },
}))
