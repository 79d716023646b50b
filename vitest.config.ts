import { availableParallelism } from 'node:os'
import { defineConfig } from 'vitest/config'

// One project for each command of the README's table of tests. What is slow stands outside of the everyday `fast`: setup
// and launcher, and what is around the tiers start hundreds of processes, `real` starts the real parts.
const SETUP = ['test/install*.test.ts', 'test/launcher*.test.ts']
// The watchers of the watchers, all channels at once, and machines where something is missing, damaged or late.
const SURROUNDINGS = [
  'guardian',
  'peers-levels',
  'monitor-channels',
  'watchdog-surroundings',
  'gateway-surroundings',
  'deliberate-stop',
  'status',
].map((name) => `test/${name}.test.ts`)
// Several gateways of one user side by side.
const PROFILES = ['test/profiles-*.test.ts']
// The doctor's instruments, one process after the other.
const DOCTOR = ['test/instruments*.test.ts', 'test/learned*.test.ts']
// Whole machines: containers with a real systemd or a real cron.
const MACHINES = ['systemd', 'systemd-profiles', 'cron'].map((name) => `test/real/${name}.test.ts`)
const REAL_PARTS = {
  globalSetup: ['test/real/parts.ts'],
  testTimeout: 600_000,
  hookTimeout: 900_000,
  fileParallelism: false,
  // They mostly wait.
  maxConcurrency: 8,
}
// Whoever takes longer hangs, also on a machine that is busy with other things.
const LIMITS = { testTimeout: 300_000, hookTimeout: 300_000 }
const SAME_INPUTS_IN_EVERY_RUN = { setupFiles: ['test/support/seed.ts'] }
// The tests mostly wait for processes: one more of them than there are cores.
const maxWorkers = availableParallelism() + 1

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'fast',
          include: ['test/**/*.test.ts'],
          exclude: [
            'test/real/**',
            'test/faults/**',
            'test/fire/**',
            'test/prometheus/**',
            'test/report/**',
            ...SETUP,
            ...SURROUNDINGS,
            ...PROFILES,
            ...DOCTOR,
            '**/node_modules/**',
          ],
          ...LIMITS,
          ...SAME_INPUTS_IN_EVERY_RUN,
          maxWorkers,
        },
      },
      {
        test: { name: 'setup', include: SETUP, ...LIMITS, maxWorkers },
      },
      {
        test: { name: 'surroundings', include: SURROUNDINGS, ...LIMITS, maxWorkers },
      },
      {
        test: { name: 'profiles', include: PROFILES, ...LIMITS, maxWorkers },
      },
      {
        test: { name: 'doctor', include: DOCTOR, ...LIMITS, ...SAME_INPUTS_IN_EVERY_RUN, maxWorkers },
      },
      {
        test: {
          name: 'report',
          include: ['test/report/*.test.ts'],
          ...LIMITS,
          ...SAME_INPUTS_IN_EVERY_RUN,
          maxWorkers,
        },
      },
      {
        test: {
          name: 'faults',
          include: ['test/faults/faults.test.ts'],
          globalSetup: ['test/faults/table.ts'],
          testTimeout: 300_000,
        },
      },
      {
        test: {
          name: 'fire',
          include: ['test/fire/*.test.ts'],
          provide: { killsPerScript: 100 },
          testTimeout: 3_600_000,
          fileParallelism: false,
        },
      },
      {
        // What of it fits into a few minutes.
        test: {
          name: 'fire-short',
          include: ['test/fire/*.test.ts'],
          exclude: ['test/fire/kills.test.ts'],
          provide: { killsPerScript: 10 },
          testTimeout: 1_800_000,
          ...SAME_INPUTS_IN_EVERY_RUN,
          maxWorkers,
        },
      },
      {
        test: { name: 'prometheus', include: ['test/prometheus/*.test.ts'], testTimeout: 180_000 },
      },
      { test: { name: 'real', include: ['test/real/*.test.ts'], exclude: MACHINES, ...REAL_PARTS } },
      { test: { name: 'machines', include: MACHINES, ...REAL_PARTS } },
      {
        test: {
          ...REAL_PARTS,
          name: 'faults-real',
          include: ['test/faults/real-*.test.ts'],
          globalSetup: [...REAL_PARTS.globalSetup, 'test/faults/table.ts'],
          // The two stages side by side, one for each core.
          fileParallelism: true,
          maxWorkers: 2,
        },
      },
    ],
  },
})
