/** What setup is told, by flags or at a terminal, and what it refuses. */
import { execFileSync, spawn } from 'node:child_process'
import * as fs from 'node:fs'
import { join } from 'node:path'
import { describe, expect, type TestContext, test } from 'vitest'
import { copyCheckout } from '../support/checkout.ts'
import { hostFor } from '../support/machine.ts'
import { projectDir, waitFor } from '../support/sandbox.ts'
import { typescriptLoader } from '../support/script-process.ts'
import { ANSWERS, startWebhookReceiver } from '../support/webhook-receiver.ts'

const { appendFileSync, chownSync, existsSync, lstatSync, readdirSync, readFileSync } = fs
const { realpathSync, renameSync, statSync, writeFileSync } = fs

const WEBHOOK = 'https://discord.com/api/webhooks/123456789012345678/aBcDeF-token_0123456789'

/** Lines that a terminal of 80 columns breaks, but for paths and commands. */
const tooLong = (said: string) => said.split('\n').filter((line) => line.length > 80 && !/[/`]/.test(line))

describe.concurrent('setup', () => {
  test('refuses what cannot be used with 2, and touches nothing', async (t) => {
    const machine = await hostFor(t, 'linux', { withoutEnv: true })
    const before = machine.listing()
    const refusal = async (args: string[], input = '') => {
      const { code, stderr } = await machine.setup(args, { input })
      expect(code).toBe(2)
      return stderr
    }
    expect(await refusal(['--nonsense'])).toContain('nonsense')
    expect(await refusal(['--port', '99999'])).toContain('--port: expected port, a whole number from 1 to 65535')
    for (const wrong of ['hello', 'https://example.com/hook', `${WEBHOOK}"; reboot`, `${WEBHOOK}/slack`])
      expect(await refusal(['--webhook-stdin'], wrong)).toContain('https://discord.com/api/webhooks/<id>/<token>')
    expect(await refusal(['--webhook-stdin'], '\n')).toContain('an empty answer')
    expect(await refusal(['--update'])).toContain('nothing is installed')
    expect(machine.listing()).toEqual(before)
    expect(tooLong(await machine.succeeds(['-h']))).toEqual([])
    expect(await machine.succeeds(['--version'])).toMatch(/^openclaw-self-healing \d+\.\d+\.\d+\n$/)
    if (process.getuid?.() !== 0) return
    // As with sudo.
    chownSync(machine.home, 4711, 4711)
    expect(await refusal(['--yes'])).toContain('belongs to another user')
  })

  test('writes what it was given into .env, and nothing else, for its user alone', async (t) => {
    const machine = await hostFor(t, 'linux', { withoutEnv: true })
    const path = join(machine.stateDir, '.env')
    const said = await machine.succeeds(['--webhook-stdin', '--port', '18790'], { input: `${WEBHOOK}\n` })
    expect(readFileSync(path, 'utf8')).toBe(`DISCORD_WEBHOOK_URL="${WEBHOOK}"\nOPENCLAW_GATEWAY_PORT="18790"\n`)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    const receipt = readFileSync(join(machine.watchdogDir, 'receipt.json'), 'utf8')
    expect(said + receipt).not.toContain('token_0123456789')
    // Running the same again changes nothing, and keeps what is there.
    expect(await machine.succeeds(['--port', '18791'])).toContain(`${path} is there and is kept`)
    expect(readFileSync(path, 'utf8')).toContain('18790')
    // A new one would hide one at its old place.
    const old = join(machine.home, 'openclaw', '.env')
    renameSync(path, old)
    expect(await machine.succeeds(['--port', '18791'])).toContain(`${old} is there and is kept`)
    expect(existsSync(path)).toBe(false)
  })

  test('names what is missing, which level suffers, and how to get it; and settings that no job will see', async (t) => {
    const machine = await hostFor(t, 'linux', { absent: ['tmux', 'claude', 'openclaw'] })
    const env = { OPENCLAW_GATEWAY_PORT: '18799', PATH: machine.binDir }
    const { stdout } = await machine.setup(['--dry-run'], { env })
    expect(stdout).toMatch(/^tmux +MISSING: no doctor.*; `.*install tmux`$/m)
    expect(stdout).toMatch(/^claude +MISSING: no doctor; `npm i -g @anthropic-ai/m)
    expect(stdout).toMatch(/^openclaw +MISSING: .*; `npm install -g openclaw`$/m)
    expect(stdout).toContain('set in this shell, which no job will see: OPENCLAW_GATEWAY_PORT')
    expect(tooLong(stdout)).toEqual([])
    // No OpenClaw: nothing is installed without a yes.
    const before = machine.listing()
    expect(await machine.setup(['--port', '18790'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--yes'),
    })
    expect(machine.listing()).toEqual(before)
    expect(await machine.succeeds()).toMatch(/Not as it should be:\n[\s\S]*no alert channel[\s\S]*not up right now/)
    expect(machine.jobs()).toHaveLength(2)
  })

  test('at a terminal it asks for webhook and port, shows the plan, asks once more, and offers a test alert', async (t) => {
    const machine = await hostFor(t, 'linux', { withoutEnv: true })
    const path = join(machine.stateDir, '.env')
    const { see, answer, screen } = atTerminal(t, machine)
    await see('Webhook of Discord or Slack')
    answer('-l', 'hello')
    answer('Enter')
    await see('https://discord.com/api/webhooks/<id>/<token>')
    for (const _ of 'hello') answer('BSpace')
    answer('-l', WEBHOOK)
    answer('Enter')
    await see("The gateway's port")
    // What was typed is not to be read over the shoulder.
    expect(screen()).not.toContain('token_0123456789')
    // It takes the place of the port that is shown.
    answer('-l', '18790')
    answer('Enter')
    await see('Do this?')
    expect(screen()).toContain('start com.openclaw.watchdog.timer')
    expect(machine.jobs()).toEqual([])
    answer('Enter')
    await see('Send a test alert to Discord now?')
    answer('n')
    await see('exit 0')
    expect(readFileSync(path, 'utf8')).toBe(`DISCORD_WEBHOOK_URL="${WEBHOOK}"\nOPENCLAW_GATEWAY_PORT="18790"\n`)
    expect(machine.jobs()).toHaveLength(2)
  })

  test('a test alert is sent after a yes, and what the service answers is said; without OpenClaw it asks', async (t) => {
    const receiver = await startWebhookReceiver()
    t.onTestFinished(receiver.close)
    const settings = { DISCORD_WEBHOOK_URL: receiver.url }
    const machine = await hostFor(t, 'linux', { settings, absent: ['openclaw'] })
    receiver.answerNext(ANSWERS.unknownWebhook)
    const { see, answer } = atTerminal(t, machine)
    await see('Go on all the same?')
    expect(machine.jobs()).toEqual([])
    for (const question of ['Go on all the same?', 'Do this?', 'Send a test alert to Discord now?']) {
      await see(question)
      answer('y')
    }
    await see('Discord did not take the test: HTTP 404 (Unknown Webhook)')
    await see('exit 0')
    expect(receiver.requests).toHaveLength(1)
  })

  test('an update: packages that differ are exchanged as a whole, jobs that differ are changed, and Level 2 is waited for', async (t) => {
    const machine = await hostFor(t, 'linux')
    const { root } = copyCheckout(join(machine.root, 'checkout'))
    await machine.succeeds(['--yes'], { checkout: root })
    expect(await machine.succeeds(['--update'], { checkout: root })).toMatch(/^unchanged\n/)

    // What `git pull` brought: another package, another unit. npm fails at first.
    const lock = JSON.stringify({ packages: { '': {}, 'node_modules/fresh': { version: '2.0.0' } } })
    writeFileSync(join(root, 'package-lock.json'), lock)
    appendFileSync(join(root, 'systemd', 'com.openclaw.healthcheck.timer'), '# new\n')
    machine.addTool('npm', 'echo "npm error network" >&2; exit 1')
    const before = machine.withoutLogs()
    const failed = await machine.setup(['--update'], { checkout: root })
    expect(failed).toMatchObject({ code: 1, stderr: expect.stringContaining('npm error network') })
    expect(machine.withoutLogs()).toEqual(before)
    const modules = realpathSync(join(root, 'node_modules'))

    const made = 'node_modules/.package-lock.json'
    machine.addTool('npm', `mkdir node_modules; ln -s '${modules}'/* node_modules/; cp package-lock.json ${made}`)
    expect(await machine.succeeds(['--update', '--dry-run'], { checkout: root })).toMatch(/npm ci: .*fresh/s)
    // A process that calls itself Level 2 and treats the gateway.
    const level2 = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)', 'gateway-healthcheck.ts'], {
      env: machine.env,
    })
    t.onTestFinished(() => void level2.kill())
    const holder = { pid: level2.pid, tier: 'healthcheck', since: new Date().toISOString(), atWork: true }
    writeFileSync(join(machine.watchdogDir, 'healthcheck.lock'), JSON.stringify(holder))
    const { child, finished } = machine.startSetup(['--update'], { checkout: root })
    let said = ''
    child.stdout.on('data', (text: string) => (said += text))
    await waitFor(() => said.includes('waiting'), 'it to wait')
    expect(lstatSync(join(root, 'node_modules')).isSymbolicLink()).toBe(true)
    expect(level2.exitCode).toBe(null)
    level2.kill()
    const { code, stdout } = await finished
    expect(code, stdout).toBe(0)
    expect(readFileSync(join(root, made), 'utf8')).toBe(lock)
    expect(readdirSync(root).filter((name) => name.startsWith('.packages'))).toEqual([])
    const timer = readFileSync(join(machine.unitsDir, 'com.openclaw.healthcheck.timer'), 'utf8')
    expect(timer).toContain('# new')
    expect(stdout).not.toContain('start com.openclaw.watchdog')
  })
})

/** `npm run setup` at a terminal of its own, which tmux provides. */
function atTerminal(t: TestContext, machine: Awaited<ReturnType<typeof hostFor>>) {
  const server = ['-L', `oc-setup-${process.pid}-${machine.port}`, '-f', '/dev/null']
  const tmux = (...args: string[]) => execFileSync('tmux', [...server, ...args], { env: machine.env, encoding: 'utf8' })
  const command = [process.execPath, ...typescriptLoader(), join(projectDir, 'install.ts')]
  const line = `${command.map((word) => `'${word}'`).join(' ')}; echo "exit $?"; sleep 600`
  tmux(...'new-session -d -x 160 -y 90 -s setup'.split(' '), line)
  t.onTestFinished(() => void tmux('kill-server'))
  const screen = () => tmux('capture-pane', '-p', '-J', '-t', 'setup')
  return {
    screen,
    see: (text: string) => waitFor(() => screen().includes(text), `${text} on the screen:\n${screen()}`),
    answer: (...keys: string[]) => tmux('send-keys', '-t', 'setup', ...keys),
  }
}
