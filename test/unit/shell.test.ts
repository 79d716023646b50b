/** A command's end, as the one way to run commands tells it. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { shell } from '../../lib/tier/shell.ts'

test('a program that does not read its whole input has not failed', async () => {
  const $ = shell({ childEnv: { PATH: '/usr/bin:/bin' } }, { input: 'x'.repeat(5_000_000) })
  // An EPIPE that is not handled ends the process, and with it this test run.
  expect(await $`true`).toMatchObject({ code: 0, failure: undefined })
})

test('missing is the program itself, not what it looks for in vain', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'shell-'))
  writeFileSync(join(folder, 'openclaw'), '#!/bin/sh\nexec no-such-node "$@"\n')
  chmodSync(join(folder, 'openclaw'), 0o755)
  const $ = shell({ childEnv: { PATH: `${folder}:/usr/bin:/bin` } })
  expect(await $`openclaw status`).toMatchObject({ code: 127, missing: false })
  expect(await $`no-such-program status`).toMatchObject({
    missing: true,
    failure: 'no-such-program is not on the PATH',
  })
  rmSync(folder, { recursive: true })
})
