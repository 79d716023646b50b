/** What setup is told, by flags or at a terminal, and what it refuses. */
import { execFileSync } from 'node:child_process'
import { chownSync, existsSync, readFileSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, type TestContext, test } from 'vitest'
import { createMachine, type Machine, type MachineOptions } from '../support/machine.ts'
import { projectDir, waitFor } from '../support/sandbox.ts'
import { typescriptLoader } from '../support/script-process.ts'

const WEBHOOK = 'https://discord.com/api/webhooks/123456789012345678/aBcDeF-token_0123456789'

async function machineFor({ onTestFinished }: TestContext, options: MachineOptions = {}) {
  const machine = await createMachine('linux', options)
  onTestFinished(machine.close)
  return machine
}

const envFile = (machine: Machine) => join(machine.stateDir, '.env')

describe.concurrent('setup', () => {
  test('writes what it was told into .env, and nothing else, for its user alone', async (t) => {
    const machine = await machineFor(t, { withoutEnv: true })
    const run = await machine.setup(['--webhook-stdin', '--port', '18790'], { input: `${WEBHOOK}\n` })
    expect(run).toMatchObject({ code: 0, stderr: '' })
    expect(readFileSync(envFile(machine), 'utf8')).toBe(
      `DISCORD_WEBHOOK_URL="${WEBHOOK}"\nOPENCLAW_GATEWAY_PORT="18790"\n`,
    )
    expect(statSync(envFile(machine)).mode & 0o777).toBe(0o600)
    expect(run.stdout).not.toContain('token_0123456789')
    expect(readFileSync(join(machine.watchdogDir, 'receipt.json'), 'utf8')).not.toContain('token_0123456789')
    // Running the same again changes nothing, and keeps what is there.
    expect((await machine.setup(['--port', '18791'])).stdout).toContain(`${envFile(machine)} is there and is kept`)
    expect(readFileSync(envFile(machine), 'utf8')).toContain('18790')
    // A new one would hide one at its old place.
    const old = join(machine.home, 'openclaw', '.env')
    renameSync(envFile(machine), old)
    expect((await machine.setup(['--port', '18791'])).stdout).toContain(`${old} is there and is kept`)
    expect(existsSync(envFile(machine))).toBe(false)
  })

  test.for<[what: string, args: string[], input: string, message: string]>([
    ['an unknown flag', ['--nonsense'], '', 'nonsense'],
    ['a port that is none', ['--port', '99999'], '', '--port: expected port, a whole number from 1 to 65535'],
    ['a webhook that is none', ['--webhook-stdin'], 'hello', 'the webhook: expected a URL'],
    ['a webhook with a quote in it', ['--webhook-stdin'], `${WEBHOOK}"; reboot`, 'a blank, a quote'],
    ['no webhook at all', ['--webhook-stdin'], '\n', 'an empty answer'],
    ['--purge alone', ['--purge'], '', '--purge goes with --uninstall'],
  ])('refuses %s with 2, and touches nothing', async ([, args, input, message], t) => {
    const machine = await machineFor(t, { withoutEnv: true })
    const before = machine.listing()
    const { code, stderr } = await machine.setup(args, { input })
    expect(code).toBe(2)
    expect(stderr).toContain(message)
    expect(machine.listing()).toEqual(before)
  })
  test.skipIf(process.getuid?.() !== 0)('refuses a home that belongs to somebody else: sudo', async (t) => {
    const machine = await machineFor(t)
    chownSync(machine.home, 4711, 4711)
    const { code, stderr } = await machine.setup(['--yes'])
    expect(code).toBe(2)
    expect(stderr).toContain('belongs to another user')
  })

  test('names what is missing, which level suffers, and how to get it; and settings that no job will see', async (t) => {
    const machine = await machineFor(t, { absent: ['tmux', 'claude', 'openclaw'] })
    const env = { OPENCLAW_GATEWAY_PORT: '18799', PATH: machine.binDir }
    const { stdout } = await machine.setup(['--dry-run'], { env })
    expect(stdout).toMatch(/^tmux +MISSING: Level 3 cannot give the doctor a terminal; `.*install tmux`$/m)
    expect(stdout).toMatch(/^claude +MISSING: Level 3 has no doctor; `npm install -g @anthropic-ai/m)
    expect(stdout).toMatch(/^openclaw +MISSING: no level can restart the gateway through its own command/m)
    expect(stdout).toContain('set in this shell, which no job will see: OPENCLAW_GATEWAY_PORT')
  })

  test('at a terminal it asks for webhook and port, shows the plan, and asks once more', async (t) => {
    const machine = await machineFor(t, { withoutEnv: true })
    const socket = `oc-setup-${process.pid}`
    const tmux = (...args: string[]) =>
      execFileSync('tmux', ['-L', socket, '-f', '/dev/null', ...args], { env: machine.env, encoding: 'utf8' })
    const command = [process.execPath, ...typescriptLoader(), join(projectDir, 'install.ts')]
    const line = `${command.map((word) => `'${word}'`).join(' ')}; echo "exit $?"; sleep 600`
    tmux(...'new-session -d -x 160 -y 60 -s setup'.split(' '), line)
    try {
      const screen = () => tmux('capture-pane', '-p', '-J', '-t', 'setup')
      const see = (text: string) => waitFor(() => screen().includes(text), `${text} on the screen:\n${screen()}`)
      const answer = (...keys: string[]) => tmux('send-keys', '-t', 'setup', ...keys)

      await see('Discord webhook URL')
      answer('-l', 'hello')
      answer('Enter')
      await see('expected a URL')
      for (const _ of 'hello') answer('BSpace')
      answer('-l', WEBHOOK)
      answer('Enter')
      await see("The gateway's port")
      // What was typed is not to be read by whoever looks over the shoulder.
      expect(screen()).not.toContain('token_0123456789')
      answer('Enter')
      await see('Do this?')
      expect(screen()).toContain('start com.openclaw.watchdog.timer')
      expect(machine.systemd!.active()).toEqual([])
      answer('Enter')
      await see('exit 0')
      expect(readFileSync(envFile(machine), 'utf8')).toBe(`DISCORD_WEBHOOK_URL="${WEBHOOK}"\n`)
      expect(machine.systemd!.active()).toHaveLength(2)
    } finally {
      tmux('kill-server')
    }
  })
})
