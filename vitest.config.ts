import { defineConfig } from 'vitest/config'

// Two projects: `fast` is the everyday `npm test`; `real` starts the real OpenClaw, the real Claude Code,
// a real systemd and a real cron, and is run by `npm run test:real` and by CI.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'fast',
          include: ['test/**/*.test.ts'],
          exclude: ['test/real/**', '**/node_modules/**'],
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
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
