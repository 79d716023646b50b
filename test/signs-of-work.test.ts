/** What counts as work of the doctor's. */
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { SignsOfWork } from '../lib/doctor/signs-of-work.ts'
import type { Room } from '../lib/doctor/tmux.ts'
import { formatLine } from '../lib/tier/contract.ts'

const QUIET_ROOM = { look: async () => ({ isOccupied: true, text: '' }) } as unknown as Room

test('what the tier writes of the gateway is no work of the doctor’s; a decision of the guard is', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'signs-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const logPath = join(folder, 'recovery.log')
  const write = (text: string) =>
    appendFileSync(logPath, `${formatLine(new Date(), 'emergency-recovery', 'INFO', text)}\n`)
  writeFileSync(logPath, '')
  const signs = new SignsOfWork({ folder, logPath })
  await signs.read(QUIET_ROOM)
  const before = signs.lastSign

  write('gateway: starting: it has been booting for 3 s')
  await signs.read(QUIET_ROOM)
  expect(signs.lastSign).toBe(before)

  write('GUARD allowed Bash [diagnose] `openclaw status`')
  await signs.read(QUIET_ROOM)
  expect(signs.lastSign).toBeGreaterThan(before)
})
