/** What each level does shows in its numbers: the tiers as processes, a doctor in a real tmux, a channel that fails first. */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { MARKER, type TierName } from '../../lib/tier/contract.ts'
import { readMetrics } from '../../lib/tier/metrics.ts'
import { createSandbox, type Sandbox } from '../support/sandbox.ts'
import { writeTierLog } from '../support/tier-logs.ts'
import { ANSWERS, startWebhookReceiver } from '../support/webhook-receiver.ts'

async function box(settings: Record<string, string> = {}): Promise<Sandbox> {
  const sandbox = await createSandbox({ settings })
  onTestFinished(sandbox.close)
  return sandbox
}

/** What is not 0 in the tier's file: `restarts_total{result="done"}`; without what every run leaves. */
function numbers(sandbox: Sandbox, tier: TierName, names: RegExp): Record<string, number> {
  const path = join(sandbox.stateDir, 'watchdog', 'metrics', `openclaw-self-healing-default-${tier}.prom`)
  const series = readMetrics(path)!
  return Object.fromEntries(
    [...series]
      .map(([one, value]): [string, number] => [
        one.replace('openclaw_self_healing_', '').replace(/profile="default",tier="[a-z-]+",?/, ''),
        value,
      ])
      .filter(([one, value]) => names.test(one) && value !== 0),
  )
}

test('Level 2 puts a config back and restarts the gateway', async () => {
  const sandbox = await box({ CONFIG_KNOWN_GOOD_AFTER: '0' })
  const { pid } = await sandbox.startGateway()
  for (let i = 0; i < 2; i++) await sandbox.runScript('gateway-watchdog')
  process.kill(pid, 'SIGKILL')
  sandbox.writeConfig('{ broken')
  expect((await sandbox.runScript('gateway-watchdog')).code).toBe(1)
  expect((await sandbox.runScript('gateway-healthcheck')).code).toBe(0)
  const counted = /^(?:incidents|restarts|escalations|config_rollbacks|recovery_seconds_count|gateway_up|runs)/
  expect(numbers(sandbox, 'watchdog', counted)).toEqual({
    'incidents_total{}': 1,
    'escalations_total{}': 1,
    'runs_total{exit_code="0"}': 2,
    'runs_total{exit_code="1"}': 1,
  })
  expect(numbers(sandbox, 'healthcheck', counted)).toEqual({
    'gateway_up{}': 1,
    'config_rollbacks_total{}': 1,
    'restarts_total{result="done"}': 1,
    'recovery_seconds_count{level="2"}': 1,
    'runs_total{exit_code="0"}': 1,
  })
})

test('the doctor’s visits, its calls of instruments and what was refused; a visit that may not be', async () => {
  const sandbox = await box({ DOCTOR_MAX_PER_DAY: '1' })
  const file = join(sandbox.packageDir, 'dist', 'run-command.mjs')
  mkdirSync(join(sandbox.packageDir, 'dist'), { recursive: true })
  sandbox.addTool('npm', `[ "$*" = "install -g openclaw@2026.9.6" ] && touch '${file}'`)
  await sandbox.startGateway({ missingModule: file }, 'exit')
  sandbox.writeDoctorScript({
    steps: [
      { call: 'set_config', args: { path: 'gateway.bind', value: 'lan' } },
      { call: 'reinstall_package' },
      { call: 'start_gateway' },
      { call: 'wait_until_healthy' },
    ],
    report: { symptom: 'It exits at once.', root_cause: 'A file was missing.', fix: 'Reinstalled it.' },
  })
  const first = await sandbox.runScript('emergency-recovery')
  expect(first.code, first.stdout).toBe(0)
  const counted = /^(?:doctor|recovery_seconds_count|human_calls)/
  expect(numbers(sandbox, 'emergency-recovery', counted)).toMatchObject({
    'doctor_visits_total{result="recovered"}': 1,
    'doctor_tool_calls_total{decision="allowed"}': 4,
    'doctor_tool_calls_total{decision="refused"}': 1,
    'doctor_daily_limit{}': 1,
    'recovery_seconds_count{level="3"}': 1,
  })

  for (const pid of sandbox.processes()) process.kill(pid, 'SIGKILL')
  rmSync(file)
  expect((await sandbox.runScript('emergency-recovery')).code).toBe(1)
  expect(numbers(sandbox, 'emergency-recovery', counted)).toMatchObject({
    'doctor_visits_total{result="recovered"}': 1,
    'doctor_refused_total{}': 1,
    'human_calls_total{about="gateway"}': 1,
  })
})

test('what a channel did not take waits, and is counted when it takes it', async () => {
  const discord = await startWebhookReceiver()
  onTestFinished(discord.close)
  const sandbox = await box({ DISCORD_WEBHOOK_URL: discord.url })
  writeTierLog(sandbox.memoryDir, 'emergency-recovery', { text: MARKER.manual('the doctor gave up'), minutesAgo: 1 })
  discord.answerNext(ANSWERS.unknownWebhook)
  expect((await sandbox.runScript('emergency-recovery-monitor')).code).toBe(1)
  const counted = /^(?:alert|last_run_exit_code)/
  expect(numbers(sandbox, 'monitor', counted)).toEqual({
    'alert_deliveries_total{channel="Discord",result="gone"}': 1,
    'alerts_waiting{}': 1,
    'last_run_exit_code{}': 1,
  })
  // Another address is another channel.
  sandbox.writeEnvFile({ DISCORD_WEBHOOK_URL: `${discord.url}-2` })
  expect((await sandbox.runScript('emergency-recovery-monitor')).code).toBe(0)
  expect(numbers(sandbox, 'monitor', counted)).toEqual({
    'alert_deliveries_total{channel="Discord",result="gone"}': 1,
    'alert_deliveries_total{channel="Discord",result="delivered"}': 1,
  })
})
