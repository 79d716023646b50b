/** A sandbox whose gateway is a LaunchAgent as OpenClaw writes it (2026.9.6), in the stand-in launchd. */
import { mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'vitest'
import { createMachine, DOMAIN, type MachineOptions } from './machine.ts'
import { waitFor } from './wait-for.ts'

export const GATEWAY = 'ai.openclaw.gateway'

/** Loaded, ready, and known to the watchdog. @param more further keys of its property list, as XML */
export async function gatewayOfLaunchd(
  { onTestFinished }: Pick<TestContext, 'onTestFinished'>,
  { label = GATEWAY, more = '', ...options }: MachineOptions & { label?: string; more?: string } = {},
) {
  const machine = await createMachine('mac', options)
  onTestFinished(machine.close)
  const launchd = machine.launchd!
  const logs = join(machine.home, 'Library', 'Logs', 'openclaw')
  const plist = join(machine.agentsDir, `${label}.plist`)
  // A program of its own, which `brew upgrade` may take away.
  const program = join(machine.root, 'Cellar', 'openclaw')
  for (const folder of [logs, machine.agentsDir, join(program, '..')]) mkdirSync(folder, { recursive: true })
  symlinkSync(join(machine.packageDir, 'openclaw.mjs'), program)
  writeFileSync(
    plist,
    `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0"><dict>
<key>Label</key><string>${label}</string>
<key>RunAtLoad</key><true/><key>KeepAlive</key><true/>
<key>ThrottleInterval</key><integer>10</integer>
<key>ProgramArguments</key><array><string>${program}</string><string>gateway</string><string>run</string></array>
<key>StandardOutPath</key><string>${logs}/gateway.log</string>
<key>StandardErrorPath</key><string>${logs}/gateway.log</string>
<key>EnvironmentVariables</key><dict><key>PATH</key><string>${machine.binDir}</string></dict>
${more}</dict></plist>
`,
  )
  const ready = () => machine.events().filter(({ what }) => what === 'ready').length
  const isReadyAgain = (before: number) => waitFor(() => ready() > before, 'a gateway that is ready')
  await launchd.call('bootstrap', DOMAIN, plist)
  await isReadyAgain(0)
  const tick = async () => (await machine.runScript('gateway-watchdog')).code
  await tick()
  launchd.calls.splice(0)
  return {
    ...machine,
    launchd,
    label,
    logs,
    plist,
    program,
    tick,
    job: () => launchd.job(label),
    removeProgram: () => rmSync(program),
    /** It dies, and this becomes of its job. */
    async dies(until: () => unknown): Promise<void> {
      process.kill(launchd.job(label)!.child!.pid!, 'SIGKILL')
      await waitFor(() => Boolean(until()), 'what launchd makes of its end')
    },
    /** What was done with launchctl, without mere questions. */
    deeds: () => launchd.calls.filter((call) => !/^(?:print|list|managername)/.test(call)),
    supervision: () => readFileSync(join(machine.watchdogDir, 'supervision.json'), 'utf8'),
  }
}
