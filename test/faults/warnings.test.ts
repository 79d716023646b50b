/** A warning that stands is told once after ten minutes, whatever its words; when it is over it may begin again. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { standInLaunchctl } from '../support/launchctl.ts'
import { createSandbox, type Sandbox } from '../support/sandbox.ts'
import { letTimePass } from '../support/time-passing.ts'

const INTERVAL_SEC = 180
const notices = (box: Sandbox) => box.log('watchdog').match(/\] NOTICE needs attention: /g)?.length ?? 0

/** A gateway beside its launchd job, of which launchd says `state`. */
async function besideItsJob(state: string): Promise<Sandbox> {
  const box = await createSandbox()
  standInLaunchctl(box, state)
  await box.startGateway()
  return box
}

/** Ticks of Level 1, three minutes apart. @param before the n-th */
async function ticks(box: Sandbox, count: number, before: (n: number) => void = () => {}): Promise<void> {
  for (let n = 0; n < count; n++) {
    before(n)
    expect((await box.runScript('gateway-watchdog')).code).toBe(0)
    letTimePass({ watchdogDir: join(box.stateDir, 'watchdog'), memoryDir: box.memoryDir }, INTERVAL_SEC)
  }
}

const setJob = (box: Sandbox, text: string) => writeFileSync(join(box.root, 'job'), text)
const SPAWNING = 'state = spawn scheduled\nruns = 4\nlast exit code = 1\n'
const RUNNING = 'state = running\npid = 999999\n'

test('two texts that alternate for 40 ticks are one warning: told once, and again only after it was over', async ({
  onTestFinished,
}) => {
  const box = await besideItsJob(SPAWNING)
  onTestFinished(box.close)
  await ticks(box, 40, (n) => setJob(box, n % 2 === 0 ? SPAWNING : RUNNING))
  expect(notices(box)).toBe(1)

  // Its own job now: what stands next are two channels, by turns.
  setJob(box, `state = running\npid = ${box.processes()[0]}\n`)
  await ticks(box, 1)
  await ticks(box, 6, (n) => box.setFaults({ failing: [n % 2 === 0 ? 'telegram' : 'discord'] }))
  expect(notices(box)).toBe(2)
  await ticks(box, 1, () => box.setFaults({}))
  await ticks(box, 3, () => box.setFaults({ failing: ['telegram'] }))
  expect(notices(box)).toBe(2)
  await ticks(box, 2)
  expect(notices(box)).toBe(3)
})

test('control: one text, ten ticks, one notice', async ({ onTestFinished }) => {
  const box = await besideItsJob(SPAWNING)
  onTestFinished(box.close)
  await ticks(box, 10)
  expect(notices(box)).toBe(1)
})
