/** What must be so after a tier was killed and run again. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import type { DoctorScript } from '../support/doctor-script.ts'
import { type Sandbox, waitFor } from '../support/sandbox.ts'

/** What a doctor does about a package that lacks a file. */
export const REINSTALLATION: DoctorScript = {
  steps: [{ call: 'reinstall_package' }, { call: 'start_gateway' }, { call: 'wait_until_healthy' }],
  report: { symptom: 'It exits at once.', root_cause: 'A file of the package is missing.', fix: 'Reinstalled it.' },
}

export const LONG = { timeoutMs: 300_000 }

/** State files that can be read, no locks, no temporary files of more than the run that was killed. */
export function lookWhole(box: Sandbox): void {
  const folder = join(box.stateDir, 'watchdog')
  for (const name of readdirSync(folder)) {
    if (name === 'doctor') expect(readdirSync(join(folder, name)), 'a session of the doctor stayed').toEqual([])
    expect(name, 'a lock stayed').not.toMatch(/^[a-z-]+\.lock$/)
    expect(name, 'a damaged state file').not.toMatch(/corrupt/)
    if (name.endsWith('.json')) JSON.parse(readFileSync(join(folder, name), 'utf8'))
  }
}

/** Runs the script, which must end so. */
export async function expectCode(box: Sandbox, script: string, code: number): Promise<void> {
  const run = await box.runScript(script, [], LONG)
  expect(run, run.stdout + run.stderr).toMatchObject({ code })
}

/** Gateways that came up and live. */
export const gateways = (box: Sandbox): number[] => {
  const alive = box.processes()
  return [...new Set(box.events().flatMap(({ what, pid }) => (what === 'ready' ? [pid] : [])))].filter((pid) =>
    alive.includes(pid),
  )
}

/** Ends every process of the sandbox. */
export async function killGateway(box: Sandbox): Promise<void> {
  // One that a killed tier had just started may still be on its way up, and start others.
  await waitFor(() => {
    const alive = box.processes()
    for (const pid of alive) kill(pid)
    return alive.length === 0
  }, 'the end of the gateway')
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended in the meantime.
  }
}

/** A number that does not look like one. */
export function letters(n: number): string {
  return [...String(n)].map((digit) => 'abcdefghij'[Number(digit)]).join('')
}
