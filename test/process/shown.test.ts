/** What is shown of an incident: the cause in the gateway's own words first, in every alert, in `status` and to the doctor. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { expect, test as inTurn, type TestContext } from 'vitest'
import { MARKER } from '../../lib/tier/contract.ts'
import { readHtml, startAlertServices } from '../support/alert-services.ts'
import { breakPackage } from '../support/doctor-script.ts'
import { MONITOR, monitorScene } from '../support/monitor-scene.ts'
import { createSandbox, projectDir, type Sandbox, type SandboxOptions, waitFor } from '../support/sandbox.ts'
import { typescriptLoader } from '../support/script-process.ts'
import { startStranger } from '../support/stranger.ts'
import { startWebhookReceiver } from '../support/webhook-receiver.ts'

const test = inTurn.concurrent

/** Without claude Level 3 calls a human at once. */
async function boxFor(
  { onTestFinished }: TestContext,
  settings: Record<string, string> = {},
  options?: SandboxOptions,
) {
  const discord = await startWebhookReceiver()
  const urls = { DISCORD_WEBHOOK_URL: discord.url, ...settings }
  const box = await createSandbox({ absent: ['claude'], settings: urls, ...options })
  onTestFinished(async () => {
    await box.close()
    await discord.close()
  })
  const run = async (script: string, code: number, ...flags: string[]) => {
    const done = await box.runScript(script, flags, { timeoutMs: 180_000 })
    expect(done.code, `${script}:\n${done.stdout}${done.stderr}`).toBe(code)
    return done.stdout
  }
  return { box, discord, run }
}

async function killGateway(box: Sandbox, pid: number): Promise<void> {
  process.kill(pid, 'SIGKILL')
  await waitFor(() => !box.processes().includes(pid), 'its end')
}

const WORDS = 'flux capacitor exceeded 1.21 GW'
/** As OpenClaw says it in two lines. */
const INVALID = 'Gateway failed to start: Invalid config at /x/openclaw.json:\n<root>: Unrecognized key: "nosuchkey"\n'

test('words that no rule knows begin the alert in every channel, and stand in status and report', async (t) => {
  const services = await startAlertServices()
  t.onTestFinished(services.close)
  const { box, discord, run } = await boxFor(t, services.settings)
  const { pid } = await box.startGateway()
  await run('gateway-watchdog', 0)
  await killGateway(box, pid)
  box.setFaults({ exitAtBoot: { code: 1, stderr: `Gateway failed to start: ${WORDS}` } })
  await run('gateway-watchdog', 1)
  await run('gateway-healthcheck', 1)
  await run(MONITOR, 0)

  const beginning = /^[^\n]* needs you: [^\n]*\n[`<code>]*Gateway failed to start: flux capacitor exceeded 1\.21 GW/
  const sent = (name: 'slack' | 'telegram' | 'ntfy' | 'webhook') => services.delivered(name)[0]!.json
  const { title, message } = sent('ntfy')
  const { text, blocks } = sent('slack') as { text: string; blocks: { text: { text: string } }[] }
  const first = [discord.delivered()[0]!.content!, sent('webhook').text, readHtml(String(sent('telegram').text))]
  for (const one of [...first, `${title}\n${message}`, blocks.map((block) => block.text.text).join('\n')])
    expect(one).toMatch(beginning)
  expect(text).toMatch(/ needs you: .*: Gateway failed to start: flux capacitor/)
  // What was tried, then what to do.
  expect(discord.requests[0]!.text).toMatch(/flux capacitor[\s\S]*claude[\s\S]*Level 1[\s\S]*➜/)

  const status = JSON.parse((await box.runScript('status', ['--json'])).stdout)
  const words = expect.stringContaining(WORDS)
  expect(status.gateway).toMatchObject({ isUp: false, evidence: words, lastWords: words })
  expect(status.gateway.todo.length).toBeGreaterThan(0)
  const { incidents } = JSON.parse(await run('incident-report', 0, '--json'))
  expect(incidents).toMatchObject([{ evidence: words }])
})

test('status fits a terminal of 80 columns and 24 lines: nothing of the words is cut, nor of what to do next', async (t) => {
  const { box } = await boxFor(t)
  await box.startGateway({ exitAtBoot: { code: 78, stderr: INVALID } }, 'exit')
  const tmux = async (...args: string[]) => {
    const all = ['-u', '-L', `shown-${process.pid}`, '-f', '/dev/null', ...args]
    return (await execa('tmux', all, { env: box.env, extendEnv: false })).stdout.trimEnd()
  }
  t.onTestFinished(async () => void (await tmux('kill-server')))
  const status = [process.execPath, ...typescriptLoader(), join(projectDir, 'scripts', 'status.ts')].join(' ')
  await tmux('new-session', '-d', '-x', '80', '-y', '24', 'sh', '-c', `NO_COLOR=1 ${status} --watch`)
  const screen = await waitFor(async () => {
    const text = await tmux('capture-pane', '-p')
    return text.includes('Not well') ? text : ''
  }, 'the screen')
  const flat = screen.replace(/\s+/g, ' ')
  expect(flat).toContain(
    'Gateway failed to start: Invalid config at /x/openclaw.json: <root>: Unrecognized key: "nosuchkey"',
  )
  expect(flat).toContain('➜ correct its config where its words say so')
})

test('the title names the last verdict; the advice is that of the reason', async (t) => {
  const { sandbox, says, tick, fail, read } = await monitorScene(t)
  says('watchdog', 9, MARKER.down('misconfigured', 'openclaw.json is not JSON5'))
  const words = 'Gateway failed to start: state database uses newer schema version 42 (this build supports 41)'
  says('healthcheck', 6, MARKER.down('unusable-state', words))
  fail(`unusable-state: ${words}; a human decides`, 5)
  await tick(0)
  expect(read()[0]).toMatch(
    /^[^\n]* needs you: it refuses to start: its database [^\n]*\n`Gateway failed to start: state/,
  )
  expect(read()[0]).toMatch(/➜ install the OpenClaw version that wrote its data and config; delete no data/)
  // Not a second time in the same words.
  const [content = ''] = read()[0]!.split('unusable-state ·')
  expect(content.match(/newer schema version/g)).toHaveLength(1)
  expect(sandbox.log('monitor-')).toContain('newer schema version')
})

test('also where the last verdict says less than the first', async (t) => {
  const { says, tick, fail, read } = await monitorScene(t)
  says('watchdog', 9, MARKER.down('misconfigured', 'openclaw.json is not JSON5'))
  says('healthcheck', 6, MARKER.down('hung', 'no answer within 20 s'))
  fail('the doctor gave up', 5)
  await tick(0)
  expect(read()[0]).toMatch(/^[^\n]* needs you: its process runs and does not answer [^\n]*\n`no answer within 20 s`\n/)
})

test('a stranger on its port that a person ended: no level is named as healer, one manual intervention', async (t) => {
  const { box, discord, run } = await boxFor(t)
  const { pid } = await box.startGateway()
  await run('gateway-watchdog', 0)
  await killGateway(box, pid)
  const stranger = await startStranger(box)
  t.onTestFinished(stranger.end)
  await run('gateway-watchdog', 1)
  await run('gateway-healthcheck', 1)
  await run(MONITOR, 0)
  expect(discord.delivered()[0]!.content).toMatch(
    / needs you: another process has its port\*\*\n`port \d+ belongs to node/,
  )
  stranger.end()
  await waitFor(() => !stranger.isAlive(), 'its end')
  await run('gateway-watchdog', 0)
  await run(MONITOR, 0)
  expect(discord.delivered()[1]!.content).not.toMatch(/by level/)
  const { incidents, figures } = JSON.parse(await run('incident-report', 0, '--json'))
  expect(incidents).toMatchObject([{ verdict: 'impostor', healedBy: 'outside', restarts: 1 }])
  expect(figures['Manual interventions']).toBe('1')
})

test('a config that its owner repairs while the doctor works gets one start, and no human is called', async (t) => {
  const { box, run } = await boxFor(t, {}, { absent: [] })
  const doctor = { steps: [{ say: 'I look at it.', untilFile: 'repaired' }], report: { symptom: 'x', root_cause: 'y' } }
  box.writeDoctorScript(doctor)
  box.writeConfig('{ broken')
  const level3 = box.startScript('emergency-recovery')
  await waitFor(() => box.prompts().length === 1, 'the doctor')
  expect(box.prompts()[0]).toMatch(/\| misconfigured: .*openclaw\.json is not JSON5/)
  box.writeConfig()
  writeFileSync(join(box.controlDir, 'repaired'), '')
  const { code, stdout } = await level3.finished
  expect(code, stdout).toBe(0)
  expect(stdout).toMatch(/RECOVERED by itself or from outside/)
  expect(stdout).not.toMatch(/MANUAL/)
  expect(box.restarts('emergency-recovery')).toBe(1)
  await run('gateway-watchdog', 0)
})

test('a doctor that was cut off by SIGKILL has not failed: the next one is called, and no lock stays', async (t) => {
  const box = await createSandbox({ settings: { EMERGENCY_RECOVERY_IDLE_LIMIT: '60' } })
  t.onTestFinished(box.close)
  breakPackage(box)
  const doctors = () => box.events().filter(({ what }) => what === 'doctor started').length
  const locks = [join(box.home, '.openclaw-doctor.lock'), join(box.stateDir, 'watchdog', 'emergency-recovery.lock')]
  box.writeDoctorScript({ mode: 'hangs' })
  const level3 = box.startScript('emergency-recovery')
  await waitFor(() => box.prompts().length === 1, 'the doctor')
  expect(locks.map(existsSync)).toEqual([true, true])
  process.kill(level3.pid, 'SIGKILL')
  await level3.finished
  const receipt = { installedAt: new Date().toISOString(), root: '/srv', scheduler: 'cron', cronLines: [], entries: [] }
  writeFileSync(join(box.stateDir, 'watchdog', 'receipt.json'), JSON.stringify(receipt))
  await box.runScript('watchdog-guardian')
  expect(locks.map(existsSync)).toEqual([false, false])

  box.writeDoctorScript({ steps: [{ call: 'reinstall_package' }, { call: 'start_gateway' }], report: {} })
  const { code, stdout } = await box.runScript('emergency-recovery', [], { timeoutMs: 180_000 })
  expect(code, stdout).toBe(0)
  expect(doctors()).toBe(2)
})

test('a pause right after a roll-back hides no roll-back; calls wait for its end', async (t) => {
  const { sandbox, discord, says, tick, fail, read } = await monitorScene(t)
  says('healthcheck', 2, MARKER.notice('needs attention: config rolled back: a was replaced by b'))
  fail('the doctor gave up', 2)
  const pause = join(sandbox.stateDir, 'self-healing.paused')
  writeFileSync(pause, '')
  await tick(3, 3)
  expect(read()).toEqual([expect.stringContaining('config rolled back: a was replaced by b')])
  writeFileSync(pause, new Date(Date.now() - 1000).toISOString())
  await tick(0)
  expect(read().slice(1)).toEqual([expect.stringContaining('the doctor gave up')])
  expect(discord.requests).toHaveLength(2)
})

test('a service that takes the message and never answers gets it twice, not in every launch', async (t) => {
  const { discord, run, fail } = await monitorScene(t, { ALERT_HTTP_TIMEOUT: '3' })
  fail()
  discord.answerNext('hang', 'hang', 'hang', 'hang')
  for (let launch = 1; launch <= 4; launch++) await run(1, [])
  expect(discord.requests).toHaveLength(2)
})

test('the backoff of Level 1 binds the first restart of Level 2', async (t) => {
  const { box, run } = await boxFor(t, { OPENCLAW_WATCHDOG_BACKOFF: '15', HEALTH_CHECK_ESCALATION_WAIT: '20' })
  box.setFaults({ exitAtBoot: { code: 1, stderr: 'boom' } })
  await run('gateway-watchdog', 1)
  const state = join(box.stateDir, 'watchdog', 'watchdog.json')
  const { lastRestartMs } = JSON.parse(readFileSync(state, 'utf8')).backoff
  const level2 = box.startScript('gateway-healthcheck')
  await waitFor(() => box.restarts('healthcheck') === 1, 'its first restart')
  expect(Date.now() - lastRestartMs).toBeGreaterThan(15_000)
  process.kill(level2.pid, 'SIGTERM')
  await level2.finished
})
