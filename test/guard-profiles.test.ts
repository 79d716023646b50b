/** The guard of a doctor for one of several gateways: every other profile's is as foreign to him as any stranger's. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { judge } from '../lib/doctor/guard-judge.ts'
import { type GuardHome, guardHome } from './support/guard-world.ts'

let at: GuardHome
beforeAll(() => {
  at = guardHome()
  const stateDir = join(at.home, '.openclaw-work')
  Object.assign(at.world, {
    profile: 'work',
    stateDir,
    configPath: join(stateDir, 'openclaw.json'),
    launchdLabel: 'ai.openclaw.work',
    systemdUnit: 'openclaw-gateway-work.service',
  })
  for (const folder of [stateDir, join(stateDir, 'logs'), join(at.home, 'Library/Logs/openclaw')])
    mkdirSync(folder, { recursive: true })
  writeFileSync(at.world.configPath, '{ "gateway": { "mode": "local" } }')
  writeFileSync(join(stateDir, 'logs', 'gateway.log'), 'JSON5 parse failed\n')
  for (const name of ['gateway.log', 'gateway-work.log', 'gateway-rescue.err.log'])
    writeFileSync(join(at.home, 'Library/Logs/openclaw', name), 'a line\n')
})
afterAll(() => at.remove())

const ask = (command: string) => judge({ tool: 'Bash', input: { command } }, at.world)

describe('allowed', () => {
  test.each([
    'openclaw gateway restart',
    'openclaw --profile work gateway restart',
    'openclaw --profile=work status',
    'openclaw --profile work config validate --json',
    'launchctl kickstart -k gui/501/ai.openclaw.work',
    'systemctl --user restart openclaw-gateway-work.service',
    'systemctl --user status openclaw-gateway-work',
    'journalctl --user -u openclaw-gateway-work -n 50 --no-pager',
    'tail -n 50 ~/.openclaw-work/logs/gateway.log',
    'tail -n 50 ~/Library/Logs/openclaw/gateway-work.log',
  ])('%s', async (command) => {
    const decision = await ask(command)
    expect(decision.allow, decision.reason).toBe(true)
  })
})

describe('refused', () => {
  test.each([
    'openclaw --profile rescue gateway restart',
    'openclaw --profile=default gateway stop --force',
    'openclaw --profile work --profile rescue gateway restart',
    'openclaw --profile',
    'openclaw --dev gateway restart',
    'openclaw gateway restart --profile rescue',
    'OPENCLAW_PROFILE=rescue openclaw gateway restart',
    'env OPENCLAW_PROFILE=rescue openclaw gateway restart',
    'OPENCLAW_STATE_DIR=~/.openclaw openclaw gateway restart',
    'export OPENCLAW_PROFILE=rescue; openclaw gateway restart',
    'unset OPENCLAW_PROFILE; openclaw gateway restart',
    'launchctl kickstart -k gui/501/ai.openclaw.gateway',
    'launchctl bootout gui/501/ai.openclaw.rescue',
    'systemctl --user restart openclaw-gateway.service',
    'systemctl --user stop openclaw-gateway-rescue',
    'journalctl --user -u openclaw-gateway -n 50',
    'launchctl kickstart -k gui/501/com.openclaw.watchdog.rescue',
    'systemctl --user stop com.openclaw.watchdog.work.timer',
    'tail -n 50 ~/.openclaw/logs/gateway.log',
    'cat ~/.openclaw/openclaw.json',
    'tail ~/Library/Logs/openclaw/gateway.log',
    'tail ~/Library/Logs/openclaw/gateway-rescue.err.log',
    'tail -n 5 /tmp/openclaw/openclaw-2026-11-22.log',
    'kill 999',
  ])('%s', async (command) => {
    const decision = await ask(command)
    expect(decision.allow, command).toBe(false)
  })

  test('writing the config or the report of another profile', async () => {
    for (const path of [
      '.openclaw/openclaw.json',
      '.openclaw-rescue/openclaw.json',
      'openclaw-rescue/memory/report.md',
    ])
      expect(
        await judge({ tool: 'Write', input: { file_path: join(at.home, path), content: '{}' } }, at.world),
      ).toMatchObject({ allow: false })
  })

  test('for the gateway without a profile, all that have one are foreign', async () => {
    const plain = guardHome()
    const decide = (command: string) => judge({ tool: 'Bash', input: { command } }, plain.world)
    expect(await decide('openclaw --profile default gateway restart')).toMatchObject({ allow: true })
    for (const command of [
      'openclaw --profile work gateway restart',
      'systemctl --user restart openclaw-gateway-work',
      'tail /tmp/openclaw/openclaw-work-2026-11-22.log',
    ])
      expect(await decide(command), command).toMatchObject({ allow: false })
    plain.remove()
  })
})
