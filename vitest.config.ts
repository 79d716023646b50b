import { availableParallelism } from 'node:os'
import { defineConfig, type UserWorkspaceConfig } from 'vitest/config'
import { BaseSequencer, type ProjectConfig, type Reporter, type TestSpecification } from 'vitest/node'

/** These take long and begin first, in this order: one that began last would run alone in the end. */
const LONG = [
  ...[
    'faults/faults',
    'faults/quiet',
    'faults/field',
    'faults/storm',
    'tiers/emergency',
    'tiers/',
    'process/instruments',
    'surroundings',
    'process/learned',
    'process/macos',
  ],
  ...['faults/real-systemd', 'faults/real-who', 'faults/real-bare', 'real/systemd.', 'real/cron', 'real/agents'],
]

class LongFilesFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) => {
      const index = LONG.findIndex((name) => moduleId.includes(`test/${name}`))
      return index < 0 ? LONG.length : index
    }
    return files.toSorted((a, b) => place(a) - place(b) || a.moduleId.localeCompare(b.moduleId))
  }
}

/** Names what only the second try made green: vitest itself is silent about it. */
const secondTries: Reporter = {
  onTestRunEnd: (modules) => {
    for (const module of modules)
      for (const test of module.children.allTests())
        if (test.diagnostic()?.flaky) console.log(`SECOND TRY ${module.relativeModuleId} > ${test.fullName}`)
  },
}

// The tests mostly wait for processes: one more of them than there are cores. A test that takes longer hangs.
const LIMITS = { testTimeout: 600_000, hookTimeout: 900_000, maxWorkers: availableParallelism() + 1 }
const SAME_INPUTS_IN_EVERY_RUN = { setupFiles: ['test/support/seed.ts'] }

const project = (name: string, include: string[], options: ProjectConfig = {}): UserWorkspaceConfig => ({
  test: { name, include, ...LIMITS, ...options },
})

export default defineConfig(({ mode }) => ({
  test: {
    sequence: { sequencer: LongFilesFirst },
    reporters: ['default', secondTries],
    projects: [
      project('unit', ['test/unit/*.test.ts'], SAME_INPUTS_IN_EVERY_RUN),
      // All that runs as a process against stand-ins; of that, test/tiers and the 21 classes are part of `npm test`.
      project('process', ['test/{tiers,process,faults}/*.test.ts'], {
        exclude: ['test/faults/real-*'],
        maxConcurrency: 3,
        ...SAME_INPUTS_IN_EVERY_RUN,
      }),
      project('real', ['test/{real,prometheus}/*.test.ts', 'test/faults/real-*.test.ts'], {
        globalSetup: ['test/real/parts.ts'],
        maxConcurrency: 4,
        // Of several boots, each of which may take minutes on a busy machine.
        testTimeout: 1_200_000,
        // On a busy machine OpenClaw may give a boot up by itself: it gives its lease 5 s (2026.9.6).
        retry: { count: 1, condition: /state lease heartbeat did not become ready/ },
        sequence: { groupOrder: 1 },
      }),
      project('fire', ['test/fire/*.test.ts'], {
        testTimeout: 3_600_000,
        sequence: { groupOrder: 2 },
        // What of it takes a few minutes.
        ...(mode === 'short' && { exclude: ['test/fire/kills.test.ts'], ...SAME_INPUTS_IN_EVERY_RUN }),
      }),
    ],
  },
}))
