/** zx for the commands that read like the shell lines they replace: short, and with nothing from outside in them. */
import type { Shell } from 'zx'
import type { Settings } from './settings.ts'

/**
 * zx's `$`, quiet, never throwing, ended after 10 s. It is told to use /bin/sh, which every Unix has: left to itself it
 * looks for bash on the PATH, and without one its quoting fails.
 */
export async function openShell(settings: Settings): Promise<Shell> {
  const { $, quote } = await import('zx')
  return $({ nothrow: true, quiet: true, env: settings.childEnv, timeout: '10s', shell: '/bin/sh', prefix: '', quote })
}
