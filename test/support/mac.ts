/** A Mac to install on, and what tests look at there. */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { createMachine, type MachineOptions } from './machine.ts'
import { parsePlist } from './plist.ts'

export const WATCHDOG = 'com.openclaw.watchdog'
export const HEALTHCHECK = 'com.openclaw.healthcheck'
export const DOMAIN = `gui/${process.getuid!()}`
/** Not UTF-8, a PATH of its own, a comment, no order. */
export const CRONTAB = 'MAILTO=me\n\n# caf\xe9 \x80\n*/7 * * * *  echo "a % b" \t\nPATH=/nowhere\n@daily true\n'

export type Mac = Awaited<ReturnType<typeof createMac>>

/** A Mac with a crontab, paused, so that tiers which launchd starts leave the gateway alone: setup is what is tested. */
export async function createMac(options: MachineOptions = {}) {
  const machine = await createMachine('mac', options)
  writeFileSync(join(machine.stateDir, 'self-healing.paused'), '')
  machine.writeCrontab(CRONTAB)
  return { ...machine, launchd: machine.launchd! }
}

/** Runs setup, which has to succeed without a complaint. */
export async function installed(
  machine: Mac,
  args = ['--yes'],
  run: Parameters<Mac['setup']>[1] = {},
): Promise<string> {
  const result = await machine.setup(args, run)
  expect(result).toMatchObject({ code: 0, stderr: '' })
  return result.stdout
}

/** What is in HOME but for logs, which an uninstallation keeps. */
export function listingWithoutLogs(machine: { listing(): Record<string, string> }): Record<string, string> {
  return Object.fromEntries(Object.entries(machine.listing()).filter(([path]) => !path.startsWith('openclaw')))
}

export function plistOf(machine: { agentsDir: string }, label: string): Record<string, unknown> {
  return parsePlist(readFileSync(join(machine.agentsDir, `${label}.plist`), 'utf8')) as Record<string, unknown>
}

export function cronLinesOf(machine: { crontab(): string | undefined }): string[] {
  return (machine.crontab() ?? '').split('\n').filter((line) => line.includes('run-tier.sh'))
}

/** Runs a line of a crontab (latin1) as cron does: by /bin/sh, in cron's environment, with % unescaped. */
export function runCronLine(line: string): void {
  const command = Buffer.from(line, 'latin1')
    .toString()
    .replace(/^(?:\S+\s+){5}/, '')
    .replaceAll('\\%', '%')
  const env = { HOME: '/', LOGNAME: 'nobody', SHELL: '/bin/sh', PATH: '/usr/bin:/bin' }
  execFileSync('/bin/sh', ['-c', `${command} || true`], { env, cwd: '/', timeout: 60_000 })
}
