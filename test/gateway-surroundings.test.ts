/** What a look into the service manager and into the gateway's log tells beside the gateway's health. */
import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { createSandbox, type Sandbox, waitFor } from './support/sandbox.ts'

async function sandbox(settings: Record<string, string> = {}): Promise<Sandbox> {
  const box = await createSandbox({ settings })
  onTestFinished(box.close)
  return box
}

test('a unit whose Node is gone (203/EXEC) is a broken install, also while systemd still tries: no restart', async () => {
  const box = await sandbox()
  const show = (...lines: string[]) =>
    box.addTool('systemctl', `printf '%s\\n' LoadState=loaded UnitFileState=enabled MainPID=0 ${lines.join(' ')}`)
  const code = ['ExecMainCode=1', 'ExecMainStatus=203', 'ExecMainStartTimestampMonotonic=1', 'Result=exit-code']
  for (const state of ['ActiveState=activating', 'ActiveState=failed']) {
    show(state, 'SubState=any', ...code)
    const run = await box.runScript('gateway-watchdog')
    expect(run.code).toBe(1)
    expect(run.stdout).toMatch(/DOWN broken-install: 203\/EXEC: openclaw-gateway\.service names a Node/)
    expect(run.stdout).not.toMatch(/\] restart:/)
  }
})

test('a process that died while it was looked at: its supervisor, which starts it again, is asked once more', async () => {
  const box = await sandbox()
  const seen = join(box.root, 'seen')
  box.addTool(
    'systemctl',
    `echo LoadState=loaded; echo UnitFileState=enabled; echo ExecMainStartTimestampMonotonic=1
if [ -e '${seen}' ]; then echo ActiveState=activating; echo SubState=auto-restart; echo MainPID=0
else touch '${seen}'; echo ActiveState=active; echo SubState=running; echo MainPID=4194303; fi`,
  )
  const run = await box.runScript('gateway-watchdog', ['--dry-run'])
  expect(run.stdout).toMatch(/starting: connection refused; systemd: activating \(auto-restart\)/)
})

test('an in-process restart gets the time of a boot, however old its process is; then it is well, and that is said', async () => {
  const box = await sandbox({ OPENCLAW_STARTUP_GRACE: '15' })
  const { pid } = await box.startGateway()
  await box.runScript('gateway-watchdog')
  // Older than the grace of a fresh process, but for a few seconds.
  const begun = performance.now()
  await waitFor(() => performance.now() - begun > 13_000, 'the process to be old')
  box.setFaults({ startingMs: 60_000 })
  process.kill(pid, 'SIGUSR2')
  await waitFor(() => box.events().filter(({ what }) => what === 'listening').length === 2, 'the restart')
  const run = await box.runScript('gateway-watchdog')
  expect(run.code, run.stdout).toBe(0)
  expect(run.stdout).toMatch(/starting: .*waiting up to 15 s/)
  expect(run.stdout).not.toMatch(/\] restart:|DOWN/)
  expect(box.processes()).toContain(pid)
  expect((await box.runScript('gateway-watchdog')).stdout).toMatch(/still says starting, for more than 15 s/)
})

test('clients of this machine that the gateway refuses are told once; strangers and slips of the hand are not', async () => {
  const box = await sandbox()
  await box.startGateway()
  const refuse = (remote: string, times: number) => {
    const words = `[ws] unauthorized conn=1 peer=x remote=${remote} client=cli cli v1 role=operator auth=token reason=token_mismatch guidance=x`
    for (let i = 0; i < times; i++) appendFileSync(box.gatewayLog, `${new Date().toISOString()} ${words}\n`)
  }
  const record = join(box.stateDir, 'watchdog', 'gateway.json')
  const lookAnHourLater = async () => {
    const { refusalsLookMs, ...rest } = existsSync(record) ? JSON.parse(readFileSync(record, 'utf8')) : {}
    if (existsSync(record)) writeFileSync(record, JSON.stringify(rest))
    return (await box.runScript('gateway-healthcheck')).stdout.match(/NOTICE .*/g) ?? []
  }
  refuse('192.0.2.7', 50)
  refuse('127.0.0.1', 2)
  expect(await lookAnHourLater()).toEqual([])
  refuse('::1', 1)
  expect(await lookAnHourLater()).toEqual([
    expect.stringMatching(/needs a look: .*refused 3 tries of this machine's own clients \(cli: token_mismatch\)/),
  ])
  expect(await lookAnHourLater()).toEqual([])
})

test('an old lack of memory in a log that is seldom written is not the reason of the next crash', async () => {
  const box = await sandbox()
  const { pid } = await box.startGateway()
  await box.runScript('gateway-watchdog')
  const death = (whose: number) =>
    `[${whose}:0x16a15000]    30622 ms: Mark-Compact 380.9 (513.6) -> 380.1 (512.8) MB\n\nFATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n`
  const errors = join(box.stateDir, 'logs', 'gateway.err.log')
  writeFileSync(errors, `${death(1)}${new Date(Date.now() + 1000).toISOString()} shutting down\n`)
  process.kill(pid, 'SIGKILL')
  const run = await box.runScript('gateway-watchdog')
  expect(run.stdout).toMatch(/RECOVERED by level 1/)
  expect(run.stdout).not.toMatch(/ran out of memory/)

  const next = JSON.parse(readFileSync(join(box.stateDir, 'watchdog', 'gateway.json'), 'utf8')).pid
  appendFileSync(errors, death(next))
  process.kill(next, 'SIGKILL')
  expect((await box.runScript('gateway-watchdog')).stdout).toMatch(
    new RegExp(`process ${next} ran out of memory: FATAL`),
  )
})
