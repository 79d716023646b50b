/** Machines of a fleet: sandboxes with an installation of this checkout, as `npm run setup` leaves one where only cron is. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { profileStateDir } from '../../lib/tier/profile.ts'
import { projectDir, type Sandbox } from './sandbox.ts'

const SCRIPTS = ['gateway-watchdog', 'gateway-healthcheck', 'emergency-recovery-monitor', 'watchdog-guardian']

export function writeReceipt({ home }: Pick<Sandbox, 'home'>, root = projectDir, profile = 'default'): void {
  const path = join(profileStateDir(home, profile), 'watchdog', 'receipt.json')
  mkdirSync(dirname(path), { recursive: true })
  const installedAt = new Date(Date.now() - 86_400_000).toISOString()
  const receipt = { installedAt, root, scheduler: 'cron', cronLines: ['x'], entries: [] }
  writeFileSync(path, JSON.stringify(receipt, null, 2))
}

/** Every tier is registered, and has run. */
export async function installIn(box: Sandbox): Promise<void> {
  writeReceipt(box)
  const lines = SCRIPTS.map((script) => `*/5 * * * * /bin/sh '${projectDir}/scripts/run-tier.sh' ${script}\n`)
  writeFileSync(join(box.root, 'crontab'), lines.join(''))
  box.addTool('crontab', `cat '${box.root}/crontab'`)
  for (const script of SCRIPTS) await box.runScript(script)
}
