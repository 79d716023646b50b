/** Level 1's pulse, as its scheduler starts it every minute: silent while all is well, else one tick at once. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, type TestContext, test } from 'vitest'
import { MARKER } from '../../lib/tier/contract.ts'
import { createMachine } from '../support/machine.ts'
import { writeTierLog } from '../support/tier-logs.ts'
import { waitFor } from '../support/wait-for.ts'
import { ANSWERS, listen, startWebhookReceiver } from '../support/webhook-receiver.ts'

/** One beat a run: the second would come after the minute. */
const ONE_BEAT = { OPENCLAW_PULSE_INTERVAL: '60' }

async function world({ onTestFinished }: TestContext, settings: Record<string, string> = {}) {
  const receiver = await startWebhookReceiver()
  onTestFinished(receiver.close)
  const machine = await createMachine('bare', {
    settings: { DISCORD_WEBHOOK_URL: receiver.url, ...ONE_BEAT, ...settings },
  })
  onTestFinished(machine.close)
  // It has settled.
  const ago = new Date(Date.now() - 10_000)
  utimesSync(machine.configPath, ago, ago)
  const { pid } = await machine.startGateway()
  const file = join(machine.watchdogDir, 'pulse')
  const ticks = () => machine.log('watchdog').split('RUN started').length - 1
  const isGone = (pid: number) => waitFor(() => !machine.processes().includes(pid), 'its end')
  const pulse = async () => {
    const before = ticks()
    const { code, stdout } = await machine.launch(['gateway-watchdog', '--pulse'])
    const isTick = ticks() - before === 1
    return isTick ? { tick: code } : { silent: code, stdout, ticks: ticks() - before }
  }
  /** As if Level 1 had left another time. */
  const setDue = (secondsAhead: number) => {
    const [, ...rest] = readFileSync(file, 'utf8').split(' ')
    writeFileSync(file, [Math.floor(Date.now() / 1000) + secondsAhead, ...rest].join(' '))
  }
  return {
    ...{ machine, receiver, file, pid, ticks, pulse, setDue },
    kill: async (one = pid, signal: NodeJS.Signals = 'SIGKILL') => {
      process.kill(one, signal)
      await isGone(one)
    },
    dueInSec: () => Number(readFileSync(file, 'utf8').split(' ')[0]) - Date.now() / 1000,
  }
}

const commandOf = (pid: number) =>
  spawnSync('ps', ['-o', 'command=', '-p', `${pid}`], { encoding: 'utf8' }).stdout.trim()
const SILENT = { silent: 0, stdout: '', ticks: 0 }

describe.concurrent('the pulse', () => {
  test('is the usual tick when that is due; between two it asks, and leaves no trace', async (t) => {
    const { machine, file, pulse, setDue } = await world(t)
    // The first keeps the config as known-good.
    expect(await pulse()).toEqual({ tick: 0 })
    const before = machine.listing()
    expect(await pulse()).toEqual(SILENT)
    expect(machine.listing()).toEqual(before)
    for (const secondsAhead of [0, 3600]) {
      setDue(secondsAhead)
      expect(await pulse()).toEqual({ tick: 0 })
    }
    // What is damaged is no reason not to look.
    const whole = readFileSync(file, 'utf8')
    for (const interval of ['08', '0', '1'.repeat(20), 'x']) {
      writeFileSync(file, whole.replace(/^(\d+) \d+/, `$1 ${interval}`))
      expect(await pulse()).toEqual({ tick: 0 })
    }
    writeFileSync(file, `${'9'.repeat(30)} ${whole}`)
    expect(await pulse()).toEqual({ tick: 0 })
  })

  test('beats every few seconds of its minute: a gateway that dies is started at once', async (t) => {
    const { machine, pulse, kill } = await world(t, { OPENCLAW_PULSE_INTERVAL: '1' })
    expect(await pulse()).toEqual({ tick: 0 })
    const running = pulse()
    await kill()
    expect(await running).toEqual({ tick: 0 })
    expect(machine.log('watchdog')).toMatch(/DOWN absent.*[\s\S]*RECOVERED by level 1/)
    expect(machine.restarts()).toBe(1)
  })

  test('beats in the minute in which the usual tick is due, too', async (t) => {
    const { machine, pulse, kill, setDue } = await world(t, { OPENCLAW_PULSE_INTERVAL: '11' })
    expect(await pulse()).toEqual({ tick: 0 })
    setDue(0)
    const running = pulse()
    await waitFor(() => /^sleep 11$/m.test(execFileSync('ps', ['-eo', 'args'], { encoding: 'utf8' })), 'its first beat')
    await kill()
    expect(await running).toEqual({ tick: 0 })
    expect(machine.restarts()).toBe(1)
  })

  test('starts a tick for an answer in other words, and, once a minute, without curl', async (t) => {
    const { machine, pulse, setDue } = await world(t)
    expect(await pulse()).toEqual({ tick: 0 })
    machine.setFaults({ health: { status: 200, body: '{ "status": "live", "ok": true }' } })
    expect(await pulse()).toEqual({ tick: 0 })
    machine.setFaults({})
    setDue(0)
    expect(await pulse()).toEqual({ tick: 0 })
    rmSync(join(machine.binDir, 'curl'))
    expect(await pulse()).toEqual({ tick: 0 })
    expect(await pulse()).toEqual({ tick: 0 })
  })

  test('stands down after a deliberate stop, in a pause and while it cools down, but for the usual tick', async (t) => {
    const { machine, pulse, kill, setDue, dueInSec } = await world(t, { OPENCLAW_WATCHDOG_BACKOFF: '40' })
    expect(await pulse()).toEqual({ tick: 0 })
    // It crashes twice: the second time Level 1 waits until a restart is allowed, and looks again just then.
    await kill()
    expect(await pulse()).toEqual({ tick: 0 })
    for (const pid of machine.processes()) process.kill(pid, 'SIGKILL')
    await waitFor(() => machine.processes().length === 0, 'its end')
    expect(await pulse()).toEqual({ tick: 3 })
    expect(dueInSec()).toBeLessThanOrEqual(41)
    expect(await pulse()).toEqual(SILENT)
    const paused = join(machine.stateDir, 'self-healing.paused')
    writeFileSync(paused, '')
    setDue(0)
    expect(await pulse()).toEqual({ tick: 3 })
    expect(await pulse()).toEqual(SILENT)
    // The pause is over: it does not wait for the usual tick.
    rmSync(paused)
    await machine.startGateway()
    expect(await pulse()).toEqual({ tick: 0 })
    const stop = `[${new Date().toISOString()}] openclaw gateway lifecycle source=cli action=stop mode=signal interactive=1\n`
    writeFileSync(join(machine.stateDir, 'logs', 'gateway-restart.log'), stop)
    for (const pid of machine.processes()) process.kill(pid, 'SIGTERM')
    await waitFor(() => machine.processes().length === 0, 'its end')
    expect(await pulse()).toEqual({ tick: 3 })
    expect(await pulse()).toEqual(SILENT)
    expect(machine.restarts()).toBe(1)
  })

  test('goes on at once when a higher level has healed it', async (t) => {
    const { machine, pulse, kill } = await world(t)
    expect(await pulse()).toEqual({ tick: 0 })
    machine.writeConfig('{ broken')
    const ago = new Date(Date.now() - 10_000)
    utimesSync(machine.configPath, ago, ago)
    await kill()
    expect(await pulse()).toEqual({ tick: 1 })
    machine.writeConfig()
    const { pid } = await machine.startGateway()
    expect(await pulse()).toEqual(SILENT)
    expect((await machine.launch(['gateway-healthcheck'])).code).toBe(0)
    await kill(pid)
    expect(await pulse()).toEqual({ tick: 0 })
  })

  test('asks with the account of the gateway’s address, and takes nothing for its words that only holds them', async (t) => {
    const { machine, pulse } = await world(t)
    const { port } = new URL(`http://127.0.0.1:${machine.port}`)
    const [user, pass] = ['otto', 'p&$ 1']
    const authority = `${user}:${encodeURIComponent(pass)}@127.0.0.1:${port}`
    writeFileSync(join(machine.home, '.curlrc'), 'head\n')
    const env = { OPENCLAW_GATEWAY_URL: `http://${authority}/` }
    expect((await machine.launch(['gateway-watchdog'], { env })).code).toBe(0)
    expect(await pulse()).toEqual(SILENT)
    expect(readFileSync(join(machine.watchdogDir, 'pulse'), 'utf8')).toContain(authority)
    const live = '{"ok":true,"status":"live"}'
    for (const health of [
      { status: 200, body: `<p>${live}</p>` },
      { status: 302, body: live },
    ]) {
      machine.setFaults({ health })
      const { silent } = await pulse()
      expect(silent, JSON.stringify(health)).toBeUndefined()
      machine.setFaults({})
      expect((await machine.launch(['gateway-watchdog'], { env })).code).toBe(0)
    }
  })

  test('after a sleep of the machine nobody is accused: the pulse ends without a word', async (t) => {
    const { machine, pulse, kill, ticks, setDue } = await world(t, { OPENCLAW_PULSE_INTERVAL: '2' })
    expect(await pulse()).toEqual({ tick: 0 })
    // A tick that is long overdue does not wait for the end of the minute, for no minute may come to its end.
    setDue(-150)
    const began = performance.now()
    expect(await pulse()).toEqual({ tick: 0 })
    expect(performance.now() - began).toBeLessThan(50_000)
    const running = pulse()
    const find = (command: RegExp) => machine.processes().find((one) => command.test(commandOf(one)))
    await waitFor(() => find(/sleep 2$/) !== undefined, 'the time between two beats')
    const shell = find(/--pulse$/)
    process.kill(-shell!, 'SIGSTOP')
    await kill()
    // Longer than any beat takes on a busy machine.
    await new Promise((resolve) => setTimeout(resolve, 25_000))
    process.kill(-shell!, 'SIGCONT')
    expect(await running).toEqual(SILENT)
    expect(ticks()).toBe(2)
  })

  test('a config that would be refused is told while the gateway runs, once', async (t) => {
    const { machine, receiver, pulse, ticks } = await world(t)
    expect(await pulse()).toEqual({ tick: 0 })
    machine.writeConfig({ gateway: { port: 'x' } })
    expect(await pulse()).toEqual({ tick: 0 })
    expect(receiver.delivered()).toHaveLength(1)
    expect(receiver.delivered()[0]!.content).toContain('gateway.port: ')
    const asked = () => machine.openclawCalls().filter((call) => call.startsWith('config validate')).length
    const before = asked()
    expect(before).toBeGreaterThan(0)
    expect(await pulse()).toEqual(SILENT)
    utimesSync(machine.configPath, new Date(), new Date())
    await pulse()
    expect([asked(), receiver.delivered().length, existsSync(machine.configPath)]).toEqual([before, 1, true])
    expect(ticks()).toBeGreaterThan(1)
  })

  test('such a config is told, too, when it was saved just before a tick, or OpenClaw gives no verdict at first', async (t) => {
    const { machine, receiver, pulse } = await world(t)
    expect(await pulse()).toEqual({ tick: 0 })
    machine.writeConfig({ gateway: { port: 'x' } })
    machine.planCli({ 'config validate': { code: 1, stderr: 'Segmentation fault' } })
    expect((await machine.launch(['gateway-watchdog'])).code).toBe(0)
    expect(await pulse()).toEqual({ tick: 0 })
    expect(receiver.delivered()).toEqual([])
    machine.planCli({})
    expect((await machine.launch(['gateway-watchdog'])).code).toBe(0)
    expect(receiver.delivered()[0]?.content).toContain('gateway.port: ')
  })

  test('one that is removed is told', async (t) => {
    const { machine, receiver, pulse } = await world(t)
    expect(await pulse()).toEqual({ tick: 0 })
    rmSync(machine.configPath)
    expect(await pulse()).toEqual({ tick: 0 })
    expect(receiver.delivered()).toHaveLength(1)
  })

  test('Level 4 is called again when another one was at work; what takes long is left to cron', async (t) => {
    const heartbeat = { asked: 0 }
    const { origin, close } = await listen(() => (heartbeat.asked++ === 0 ? 'hang' : { status: 200 }))
    t.onTestFinished(close)
    const { machine, receiver, pulse } = await world(t, { HEARTBEAT_URL: `${origin}/x` })
    expect(await pulse()).toEqual({ tick: 0 })
    const crons = machine.launch(['emergency-recovery-monitor'])
    await waitFor(() => heartbeat.asked > 0, 'its last deed')
    machine.writeConfig({ gateway: { port: 'x' } })
    expect(await pulse()).toEqual({ tick: 0 })
    expect(receiver.delivered()).toHaveLength(1)
    await crons

    const called = () => machine.launch(['emergency-recovery-monitor', '--called'])
    writeTierLog(machine.memoryDir, 'watchdog', { text: MARKER.manual('a first cause') })
    receiver.answerNext(ANSWERS.rateLimited(29), ANSWERS.rateLimited(29))
    const began = performance.now()
    expect((await called()).code).toBe(1)
    // Whoever called it ends it after 50 s.
    expect(performance.now() - began).toBeLessThan(50_000)
  })
})
