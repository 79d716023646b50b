import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

// `fast` is the everyday `npm test`; `faults` plays the failures of the field, `fire` tries to break the tiers; `real` starts the real OpenClaw, the real Claude Code,
// a real systemd and a real cron, and is run by `npm run test:real` and by CI.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'fast',
          include: ['test/**/*.test.ts'],
          exclude: ['test/real/**', 'test/faults/**', 'test/fire/**', '**/node_modules/**'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          // The tests mostly wait for processes: one more of them than there are cores.
          maxWorkers: availableParallelism() + 1,
        },
      },
      {
        test: { name: 'faults', include: ['test/faults/*.test.ts'], testTimeout: 300_000 },
      },
      {
        test: { name: 'fire', include: ['test/fire/*.test.ts'], testTimeout: 1_800_000, fileParallelism: false },
      },
      {
        test: {
          name: 'real',
          include: ['test/real/*.test.ts'],
          globalSetup: ['test/real/parts.ts'],
          testTimeout: 600_000,
          hookTimeout: 900_000,
          fileParallelism: false,
        },
      },
    ],
  },
})
