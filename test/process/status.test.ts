/** `npm run status`, as a process. */
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { expect, onTestFinished, test } from 'vitest'
import { ALL_TIERS, localIso, MARKER } from '../../lib/tier/contract.ts'
import { createSandbox, projectDir, waitFor } from '../support/sandbox.ts'
import { typescriptLoader } from '../support/script-process.ts'
import { writeTierLog } from '../support/tier-logs.ts'

async function box(settings: Record<string, string> = {}) {
  const machine = await createSandbox({ settings })
  onTestFinished(machine.close)
  const listing = () =>
    readdirSync(machine.home, { recursive: true, encoding: 'utf8' }).map((name) => {
      const stat = statSync(join(machine.home, name))
      return `${name} ${stat.isFile() ? `${stat.size} ${stat.mtimeMs}` : 'folder'}`
    })
  return { ...machine, listing, status: (...flags: string[]) => machine.runScript('status', flags) }
}

test('of the last words neither a secret nor an escape reaches the screen or the log', async () => {
  const { status, runScript, port, writeConfig, gatewayLog, log } = await box()
  const auth = { mode: 'password', password: 'Tr0ub4dor and three' }
  writeConfig({ gateway: { mode: 'local', port, bind: 'loopback', auth } })
  const key = '-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\nMzEfYyjiWA4R4M2bS1GB4t7NXp98C3SC'
  const said = `no login with ${auth.password}, \u001b]0;title\u0007\u001b[31m\u202e redis://:hunter2@h/ ${key}`
  const at = new Date().toISOString()
  writeFileSync(gatewayLog, `${at} [gateway] loading configuration…\n${at} Gateway failed to start: ${said}\n`)
  const shown = (await runScript('gateway-watchdog', ['--dry-run'])).stdout + (await status()).stdout + log()
  expect(shown.match(/Gateway\s+failed\s+to\s+start:\s+no\s+login\s+with\s+\[REDACTED\]/g)).toHaveLength(2)
  expect(shown).not.toMatch(/[\u0007\u001b\u202e]|Tr0ub4dor|hunter2|MIIEv|MzEf/)
})

test('without an installation, logs and a gateway it says so, exits 1 and writes nothing; flags that cannot be used: exit 2', async () => {
  const { listing, status, startScript, writeEnvFile } = await box()
  const before = listing()
  const { code, stdout, stderr } = await status('--dry-run')
  expect({ code, stderr }).toEqual({ code: 1, stderr: '' })
  expect(stdout).toMatch(/gateway +○ absent/)
  expect(stdout).toMatch(/watchdog +NO .* never +- +-\n/)
  expect(stdout).not.toContain('known-good')
  // As it would be pasted: each command in one line.
  expect(stdout).toMatch(/\nNot well: [\s\S]*\n➜ [\s\S]*`npm run setup`[\s\S]*$/)
  expect(stdout).not.toContain('\u001b')

  // Into a pipe --watch writes one check after the other, without control characters.
  const watching = startScript('status', ['--watch', '--json'])
  let text = ''
  watching.child.stdout!.on('data', (chunk) => (text += chunk))
  await waitFor(() => text.split('\n').length > 2, 'two checks')
  watching.child.kill('SIGINT')
  expect((await watching.finished).code).toBe(1)
  expect(JSON.parse(text.split('\n')[1]!)).toMatchObject({ isWell: false, gateway: { verdict: 'absent' } })
  expect(listing()).toEqual(before)

  expect(await status('--help')).toMatchObject({ code: 0, stdout: expect.stringContaining('--watch') })
  expect(await status('--jsn')).toMatchObject({ code: 2, stderr: expect.stringContaining('--jsn') })
  writeEnvFile('HEALTH_CHECK_RETRY_DELAY=abc\n')
  expect(await status()).toMatchObject({ code: 2, stdout: '', stderr: expect.stringContaining('"abc"') })
})

test('a tier that is at work is running, however narrow the terminal', async () => {
  const { startGateway, startScript, runScript, stateDir } = await box({ HEALTH_CHECK_HTTP_TIMEOUT: '30' })
  const { pid } = await startGateway()
  process.kill(pid, 'SIGSTOP')
  const run = startScript('gateway-healthcheck')
  await waitFor(() => existsSync(join(stateDir, 'watchdog', 'healthcheck.lock')), 'its lock')
  const { stdout } = await runScript('status', ['--json'], { env: { COLUMNS: '20' } })
  process.kill(pid, 'SIGCONT')
  const { ended } = JSON.parse(stdout).tiers.find(({ tier }: { tier: string }) => tier === 'healthcheck')
  expect(ended).toBe(`running, pid ${run.child.pid}`)
  expect((await run.finished).code).toBe(0)
})

test('gateway, tiers, the doctor’s budget, a pause and the last incidents; logs and state stay as they are', async () => {
  const machine = await box({ DOCTOR_MAX_PER_DAY: '4' })
  await machine.startGateway()
  writeTierLog(
    machine.memoryDir,
    'watchdog',
    { text: MARKER.runEnded('healthy', 0, 1), minutesAgo: 53 },
    { text: MARKER.down('hung', 'no answer within 5 s \u001b[31mred'), minutesAgo: 50 },
    { text: MARKER.recovered(1, 42), minutesAgo: 49 },
    { text: MARKER.runEnded('healthy', 0, 1), minutesAgo: 48 },
  )
  await machine.runScript('gateway-watchdog')
  const watchdogDir = join(machine.stateDir, 'watchdog')
  const visit = { at: Date.now() - 3_600_000, failure: 'x' }
  writeFileSync(join(watchdogDir, 'doctor-visits.json'), JSON.stringify([visit]))
  writeFileSync(join(machine.stateDir, 'self-healing.paused'), '')
  // What is damaged is worked around and said, and not put aside: that is the tiers' work.
  writeFileSync(join(watchdogDir, 'alerts.json'), '{ half')
  writeFileSync(join(machine.memoryDir, 'guardian-2026-01-01.log'), Buffer.alloc(5000))
  const before = machine.listing()

  const { stdout } = await machine.status()
  for (const pattern of [
    /gateway +● healthy for \d+ (s|min)/,
    /2026\.9\.6, pid \d+, \d+ MB/,
    /paused .*~\/\.openclaw\/self-healing\.paused/,
    /doctor +1 of 4 /,
    /watchdog .* \d\d:\d\d:\d\d +0 \(healthy\)/,
    /60 s as seen; up to 4 min felt,\s[\s\S]*\s1:\s+hung: no\s+answer\s+within\s+5\s+s\s+red/,
    /alerts\.json/,
  ])
    expect(stdout).toMatch(pattern)

  expect(stdout).toMatch(/\n➜ .*`rm ~\/\.openclaw\/self-healing\.paused`[^\n]*\n[^➜]*$/)
  expect(stdout.split('\n').filter((line) => line.length > 80 && !/\/\S{50,}/.test(line))).toEqual([])

  const asJson = await machine.status('--json')
  expect(asJson.code).toBe(1)
  const status = JSON.parse(asJson.stdout)
  expect(status).toMatchObject({
    isWell: false,
    profile: 'default',
    gateway: { verdict: 'healthy', isUp: true, version: '2026.9.6' },
    installed: null,
    doctor: { visits: 1, limit: 4 },
    incidents: [{ verdict: 'hung', healedBy: 1, downSec: 60, feltSec: 240 }],
  })
  expect(status.tiers.map(({ tier }: { tier: string }) => tier)).toEqual(ALL_TIERS)
  expect(machine.listing()).toEqual(before)
})

test('installed, registered and running: exit 0; a tier that is not registered, or late, is named; --watch gives the terminal back', async () => {
  const machine = await box()
  await machine.startGateway()
  const crontab = join(machine.root, 'crontab')
  const scripts = ['gateway-watchdog', 'gateway-healthcheck', 'emergency-recovery-monitor', 'watchdog-guardian']
  const line = (script: string) => `*/5 * * * * /bin/sh '/srv/scripts/run-tier.sh' ${script}\n`
  writeFileSync(crontab, scripts.map(line).join(''))
  machine.addTool('crontab', `cat '${crontab}'`)
  for (const script of scripts) await machine.runScript(script)
  const installedAt = new Date(Date.now() - 86_400_000).toISOString()
  const receipt = { installedAt, root: '/srv', scheduler: 'cron', cronLines: scripts.map(line), entries: [] }
  writeFileSync(join(machine.stateDir, 'watchdog', 'receipt.json'), JSON.stringify(receipt))
  const well = await machine.status()
  expect(well.code, well.stdout).toBe(0)
  expect(well.stdout).toMatch(/\nAll is well\.\n➜ nothing to do\n$/)
  expect(well.stdout).toMatch(/healthcheck +yes .* ~(?:[\d-]{10} )?\d\d:\d\d:00\n/)

  const tmux = async (...args: string[]) => {
    const all = ['-u', '-L', `status-${process.pid}`, '-f', '/dev/null', ...args]
    return (await execa('tmux', all, { env: machine.env, extendEnv: false })).stdout.trimEnd()
  }
  onTestFinished(async () => void (await tmux('kill-server')))
  const status = [process.execPath, ...typescriptLoader(), join(projectDir, 'scripts', 'status.ts')].join(' ')
  // No shell that shows a prompt: nothing else is on the screen.
  const shell = `trap : INT; echo before; ${status} --watch; echo "exit $?"; read _; NO_COLOR=1 ${status}; read _`
  await tmux('new-session', '-d', '-x', '100', '-y', '40', 'sh', '-c', shell)
  const shown = (...args: string[]) => tmux('capture-pane', '-p', ...args)
  /** Whether it is the terminal's other screen, whether the cursor is shown, whether long lines are wrapped. */
  const terminal = () => tmux('display-message', '-p', '#{alternate_on} #{cursor_flag} #{wrap_flag}')
  await waitFor(async () => (await shown()).includes('● healthy'), 'the screen')
  const lines = (await shown()).split('\n')
  expect(lines[0]).toMatch(/^OpenClaw self-healing on /)
  expect(lines.findIndex((one) => one.startsWith('gateway'))).toBe(2)
  expect(await shown('-e')).toMatch(/\u001b\[[0-9;]*m● healthy/)
  expect(await terminal()).toBe('1 0 0')
  await tmux('send-keys', 'C-c')
  await waitFor(async () => /exit \d/.test(await shown()), 'the end')
  expect(await shown()).toBe('before\nexit 0')
  expect(await terminal()).toBe('0 1 1')
  await tmux('send-keys', 'Enter')
  await waitFor(async () => (await shown()).includes('● healthy'), 'the status without colours')
  expect(await shown('-e')).not.toMatch(/\u001b\[[0-9;]*m● healthy/)

  writeFileSync(crontab, scripts.slice(1).map(line).join(''))
  const log = join(machine.memoryDir, machine.memoryFiles('guardian')[0]!)
  const longAgo = new Date(Date.now() - 3_600_000)
  writeFileSync(log, readFileSync(log, 'utf8').replaceAll(/^\[[^\]]+\]/gm, `[${localIso(longAgo)}]`))
  const unwell = await machine.status()
  expect(unwell.code).toBe(1)
  expect(unwell.stdout).toMatch(
    /: watchdog\s+is\s+not\s+registered\s[\s\S]*;\s+guardian\s+has\s+not\s+run\s[^;]*\n➜ [\s\S]*`npm run setup`[\s\S]*$/,
  )
})
