/** What setup is told, by flags or at a terminal, and what it refuses. */
import { execFileSync } from 'node:child_process'
import { chownSync, existsSync, readFileSync, renameSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { hostFor } from '../support/machine.ts'
import { projectDir, waitFor } from '../support/sandbox.ts'
import { typescriptLoader } from '../support/script-process.ts'

const WEBHOOK = 'https://discord.com/api/webhooks/123456789012345678/aBcDeF-token_0123456789'

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
    expect(await refusal(['--webhook-stdin'], 'hello')).toContain('the webhook: expected a URL')
    expect(await refusal(['--webhook-stdin'], `${WEBHOOK}"; reboot`)).toContain('a blank, a quote')
    expect(await refusal(['--webhook-stdin'], '\n')).toContain('an empty answer')
    expect(await refusal(['--purge'])).toContain('--purge goes with --uninstall')
    expect(machine.listing()).toEqual(before)
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
    expect(stdout).toMatch(/^tmux +MISSING: Level 3 cannot give the doctor a terminal; `.*install tmux`$/m)
    expect(stdout).toMatch(/^claude +MISSING: Level 3 has no doctor; `npm install -g @anthropic-ai/m)
    expect(stdout).toMatch(/^openclaw +MISSING: no level can restart the gateway through its own command/m)
    expect(stdout).toContain('set in this shell, which no job will see: OPENCLAW_GATEWAY_PORT')
  })

  test('at a terminal it asks for webhook and port, shows the plan, and asks once more', async (t) => {
    const machine = await hostFor(t, 'linux', { withoutEnv: true })
    const server = ['-L', `oc-setup-${process.pid}`, '-f', '/dev/null']
    const tmux = (...args: string[]) =>
      execFileSync('tmux', [...server, ...args], { env: machine.env, encoding: 'utf8' })
    const command = [process.execPath, ...typescriptLoader(), join(projectDir, 'install.ts')]
    const line = `${command.map((word) => `'${word}'`).join(' ')}; echo "exit $?"; sleep 600`
    tmux(...'new-session -d -x 160 -y 60 -s setup'.split(' '), line)
    t.onTestFinished(() => void tmux('kill-server'))
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
    // What was typed is not to be read over the shoulder.
    expect(screen()).not.toContain('token_0123456789')
    answer('Enter')
    await see('Do this?')
    expect(screen()).toContain('start com.openclaw.watchdog.timer')
    expect(machine.jobs()).toEqual([])
    answer('Enter')
    await see('exit 0')
    expect(readFileSync(join(machine.stateDir, '.env'), 'utf8')).toBe(`DISCORD_WEBHOOK_URL="${WEBHOOK}"\n`)
    expect(machine.jobs()).toHaveLength(2)
  })
})
