/** A command's end, as the one way to run commands tells it. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { shell } from '../../lib/tier/shell.ts'
import { isRunning } from '../faults/scene.ts'
import { waitFor } from '../support/wait-for.ts'

const ENV = { childEnv: { PATH: '/usr/bin:/bin' } }

test('a program that does not read its whole input has not failed', async () => {
  const $ = shell(ENV, { input: 'x'.repeat(5_000_000) })
  // An EPIPE that is not handled ends the process, and with it this test run.
  expect(await $`true`).toMatchObject({ code: 0, failure: undefined })
})

test('missing is the program itself, not what it looks for in vain', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'shell-'))
  writeFileSync(join(folder, 'openclaw'), '#!/bin/sh\nexec no-such-node "$@"\n', { mode: 0o755 })
  const $ = shell({ childEnv: { PATH: `${folder}:/usr/bin:/bin` } })
  expect(await $`openclaw status`).toMatchObject({ code: 127, missing: false })
  expect(await $`no-such-program status`).toMatchObject({ missing: true, code: 127 })
  rmSync(folder, { recursive: true })
})

test('at the time limit the whole process group is ended, and a grandchild that left it keeps no one waiting', async () => {
  const $ = shell(ENV, { timeoutSec: 1 })
  const script = 'trap "" TERM; sleep 600 & echo $!; setsid sleep 601 & echo $!; wait'
  const { stdout, ...answer } = await $`sh -c ${script}`
  expect(answer).toMatchObject({ code: null, timedOut: true, failure: expect.stringContaining('within 1 s') })
  const [inGroup, left] = stdout.trim().split('\n').map(Number) as [number, number]
  process.kill(left, 'SIGKILL')
  await waitFor(() => !isRunning(inGroup), 'the end of the group')
})

test('a value is one word and an array several, whatever is in them', async () => {
  const $ = shell(ENV)
  const words = ['a b', "it's", '$HOME', '`id`', '"', '', 'x\ny', '*']
  expect((await $`printf '[%s]' ${words[0]} ${words}`).stdout).toBe(['a b', ...words].map((one) => `[${one}]`).join(''))
})

test('a program that floods its output is ended, and that is the failure', async () => {
  const { stdout, failure } = await shell(ENV, { timeoutSec: 60 })`yes`
  expect(failure).toMatch(/4 MB/)
  expect(stdout.length).toBeLessThan(5_000_000)
})
