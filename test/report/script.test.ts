/** `npm run report` as a process: on logs that real tiers have just written, on none, and on hostile and huge ones. */
import { once } from 'node:events'
import { createWriteStream, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { formatLine, MARKER } from '../../lib/tier/contract.ts'
import { createSandbox, type SandboxOptions } from '../support/sandbox.ts'
import { startStranger } from '../support/stranger.ts'
import { waitFor } from '../support/wait-for.ts'
import { startWebhookReceiver } from '../support/webhook-receiver.ts'

async function sandboxWith(options: SandboxOptions = {}) {
  const sandbox = await createSandbox(options)
  onTestFinished(sandbox.close)
  return sandbox
}

async function nextSecond(): Promise<void> {
  const began = Math.floor(Date.now() / 1000)
  await waitFor(() => Math.floor(Date.now() / 1000) > began, 'the next second')
}

const row = (metric: string, value: string) => new RegExp(`^\\| \\*\\*${metric}\\*\\* +\\| ${value}`, 'm')

test('what the real tiers do is what the report tells: a crash for Level 1, a stranger on the port for a human', async () => {
  const discord = await startWebhookReceiver()
  onTestFinished(discord.close)
  const box = await sandboxWith({ settings: { DISCORD_WEBHOOK_URL: discord.url } })
  // 1. Healthy; then it crashes, and Level 1 brings it back.
  const gateway = await box.startGateway()
  expect(await box.runScript('gateway-watchdog')).toMatchObject({ code: 0 })
  process.kill(gateway.pid, 'SIGKILL')
  expect(await box.runScript('gateway-watchdog')).toMatchObject({ code: 0 })

  // 2. It crashes again, and a stranger takes its port: every level hands on, a human is told and ends the stranger.
  // Logs have a time of whole seconds: within one, nobody can say which of two logs spoke first.
  await nextSecond()
  const running = box.events().findLast(({ what }) => what.startsWith('ready'))!
  process.kill(running.pid, 'SIGKILL')
  const stranger = await startStranger(box)
  expect(await box.runScript('gateway-watchdog')).toMatchObject({ code: 1 })
  expect(await box.runScript('gateway-healthcheck')).toMatchObject({ code: 1 })
  expect(await box.runScript('emergency-recovery-monitor')).toMatchObject({ code: 0 })
  stranger.end()
  await box.startGateway()
  expect(await box.runScript('gateway-watchdog')).toMatchObject({ code: 0 })

  const { code, stdout, stderr } = await box.runScript('incident-report', ['--days', '1'])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  expect(stdout).toMatch(row('Total failures', '2 '))
  expect(stdout).toMatch(row('Uptime', '[\\d.]+% \\(of the \\d+ s that were watched\\)'))
  expect(stdout).toMatch(row('Level 1 resolved', '1 \\(50%\\)'))
  expect(stdout).toMatch(row('Level 2 resolved', '0 '))
  expect(stdout).toMatch(row('Level 3 resolved', '0 '))
  expect(stdout).toMatch(row('Level 4 alerts', '1 \\(50%\\), 1 message delivered'))
  expect(stdout).toMatch(row('Manual interventions', '1 '))
  expect(stdout).toMatch(/^### 1\. .* absent: down for \d+ s\n\nEnded by level 1; 1 restart\.$/m)
  expect(stdout).toMatch(/^### 2\. .* impostor: down for \d+ s\n\nEnded from outside after a human was called; /m)
  expect(stdout).toMatch(/\*\*Level 3, doctor\*\* called a human: `impostor: port \d+ belongs to node/)
  expect(stdout).toMatch(/\*\*Level 4, monitor\*\* told a human through Discord: `OpenClaw Gateway on .+ needs you`/)
  expect(stdout).toMatch(/^\| watchdog +\| 4 +\| 3 +\| 1 +\| 0 +\| 0 +\|/m)
  // Before these tests there was nobody.
  expect(stdout).toMatch(/no watcher ran: sleep, power cut, not installed, or its logs are missing/)

  // The page is written whole, for its owner only, and a second time over the first.
  const page = join(box.root, 'new folder', 'report.html')
  const dry = await box.runScript('incident-report', ['--html', page, '--dry-run'])
  expect(dry).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^dry run: would write .*report\.html \(\d+ kB, 2 incidents\)/),
  })
  expect(existsSync(page)).toBe(false)
  for (let i = 0; i < 2; i++)
    expect(await box.runScript('incident-report', ['--html', page])).toMatchObject({ code: 0 })
  expect(statSync(page).mode & 0o777).toBe(0o600)
  expect(readFileSync(page, 'utf8')).toMatch(/^<!doctype html>[\s\S]*<\/html>\n$/)
  expect(readdirSync(join(page, '..'))).toEqual(['report.html'])
})

test('flags and settings that cannot be used, and a file that cannot be written, are told by exit code and in one line', async () => {
  const box = await sandboxWith()
  const run = (...flags: string[]) => box.runScript('incident-report', flags)
  for (const days of ['0', '-1', 'week', '1e3', '367', ''])
    expect(await run(`--days=${days}`)).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining('expected a number of days'),
    })
  expect(await run('--yesterday')).toMatchObject({ code: 2, stderr: expect.stringContaining('--yesterday') })
  expect(await run('--html', '')).toMatchObject({ code: 2 })
  expect(await run('--html', box.root)).toMatchObject({ code: 1, stderr: expect.stringContaining('cannot be written') })
  expect(await run('--help')).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/--days N[\s\S]*--html FILE[\s\S]*--dry-run/),
  })
  box.writeEnvFile('OPENCLAW_GATEWAY_PORT=many\n')
  expect(await run()).toMatchObject({ code: 2, stderr: expect.stringContaining('OPENCLAW_GATEWAY_PORT="many"') })
  // It left nothing behind: it has no log and no state.
  expect(existsSync(box.memoryDir)).toBe(false)
})

test('a log of a million lines and one that is a single line of 100 MB are read in little memory', async () => {
  const box = await sandboxWith()
  mkdirSync(box.memoryDir, { recursive: true })
  const day = new Date(Date.now() - 86_400_000)
  const name = (tier: string) => join(box.memoryDir, `${tier}-${day.toISOString().slice(0, 10)}.log`)
  const at = new Date(`${day.toISOString().slice(0, 10)}T12:00:00Z`)
  const down = `${formatLine(at, 'watchdog', 'WARN', MARKER.down('hung', 'no answer'))}\n`
  const free = `${formatLine(at, 'watchdog', 'INFO', 'probe 1/3: hung')}\n`
  await writeMany(name('watchdog'), `${down}${free.repeat(9)}`.repeat(1000), 100)
  await writeMany(name('healthcheck'), 'x'.repeat(1_000_000), 100)
  writeFileSync(name('guardian'), Buffer.alloc(5_000_000, 0xff))
  const run = await box.runScript('incident-report', [], {
    env: { NODE_OPTIONS: '--max-old-space-size=128' },
    timeoutMs: 100_000,
  })
  expect(run).toMatchObject({ code: 0, stderr: '' })
  expect(run.stdout).toMatch(row('Total failures', '1 '))
  expect(run.stdout).toMatch(/watchdog-.*: 80000 lines passed over: there are too many/)
  expect(run.stdout).toMatch(/healthcheck-.*: 1 line that no tier writes .*, 1 line longer than any of ours/)
  expect(run.stdout.length).toBeLessThan(20_000)
})

async function writeMany(path: string, piece: string, times: number): Promise<void> {
  const stream = createWriteStream(path)
  for (let i = 0; i < times; i++) if (!stream.write(piece)) await once(stream, 'drain')
  stream.end()
  await once(stream, 'close')
}
