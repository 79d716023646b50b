/** Whether a gateway that is down was stopped on purpose, or was started again since and failed. */
import { appendFileSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { standInLaunchctl } from './support/launchctl.ts'
import { createSandbox, type Sandbox, waitFor } from './support/sandbox.ts'

async function sandbox(): Promise<Sandbox> {
  const box = await createSandbox({ settings: { CONFIG_KNOWN_GOOD_AFTER: '0' } })
  onTestFinished(box.close)
  setAge(box.configPath, 3000)
  return box
}

/** Says that the file was last written so long ago. */
function setAge(path: string, seconds: number): void {
  const at = Date.now() / 1000 - seconds
  utimesSync(path, at, at)
}

const ago = (seconds: number) => new Date(Date.now() - seconds * 1000).toISOString()

/** As `openclaw gateway stop` leaves it in the lifecycle log. */
function noteStop(box: Sandbox, secondsAgo: number, mode: string): void {
  const line = `openclaw gateway lifecycle source=cli action=stop mode=${mode} interactive=1`
  appendFileSync(join(box.stateDir, 'logs', 'gateway-restart.log'), `[${ago(secondsAgo)}] ${line}\n`)
}

const look = (box: Sandbox) => box.runScript('gateway-watchdog', ['--dry-run'])

const LEFT_ALONE = /left alone: somebody ran `openclaw gateway stop`/
const REFUSED = 'Gateway start blocked: existing config is missing gateway.mode'

test('a job that launchd has loaded again since the stop, and that fails, is no stopped one', async () => {
  const box = await sandbox()
  standInLaunchctl(box, 'state = not running\nlast exit code = 78\nruns = 4\n')
  noteStop(box, 600, 'bootout')
  appendFileSync(box.gatewayLog, `${ago(1)} ${REFUSED}\n`)
  const run = await look(box)
  expect(run.code).toBe(1)
  expect(run.stdout).toMatch(/DOWN misconfigured: its log says: .*Gateway start blocked/)
})

test('a job that the stop has unloaded is left alone, and so is one that launchd is just letting go of', async () => {
  const box = await sandbox()
  standInLaunchctl(box, '')
  noteStop(box, 600, 'bootout')
  expect(await look(box)).toMatchObject({ code: 3, stdout: expect.stringMatching(LEFT_ALONE) })
  standInLaunchctl(box, 'state = not running\nlast exit code = 0\nruns = 1\n')
  noteStop(box, 2, 'bootout')
  expect(await look(box)).toMatchObject({ code: 3, stdout: expect.stringMatching(LEFT_ALONE) })
})

test('under systemd the unit tells: inactive after the stop it is left alone, failed later it is not', async () => {
  const box = await sandbox()
  const unit = (...lines: string[]) =>
    box.addTool('systemctl', `printf '%s\\n' LoadState=loaded UnitFileState=enabled MainPID=0 ${lines.join(' ')}`)
  box.addTool('journalctl', '')
  noteStop(box, 600, 'systemctl-stop')
  const ran = 'ExecMainStartTimestampMonotonic=1'
  unit('ActiveState=inactive', 'SubState=dead', 'Result=success', ran)
  expect(await look(box)).toMatchObject({ code: 3, stdout: expect.stringMatching(LEFT_ALONE) })
  unit('ActiveState=failed', 'SubState=failed', 'Result=exit-code', 'ExecMainCode=1', 'ExecMainStatus=78', ran)
  expect((await look(box)).stdout).toMatch(/DOWN misconfigured: exit 78/)
})

test('a bare gateway that was started again after the stop and refuses its config is healed, not left alone', async () => {
  const box = await sandbox()
  const { pid } = await box.startGateway()
  for (let tick = 0; tick < 2; tick++) await box.runScript('gateway-watchdog')
  const good = readFileSync(box.configPath, 'utf8')
  noteStop(box, 0, 'sigterm')
  process.kill(pid, 'SIGTERM')
  await waitFor(() => !box.processes().includes(pid), 'the end of the gateway')
  expect(await look(box)).toMatchObject({ code: 3, stdout: expect.stringMatching(LEFT_ALONE) })

  box.writeConfig('{ "gateway": { broken')
  expect((await box.startGateway({}, 'exit')).exitCode).toBe(78)
  expect((await box.runScript('gateway-watchdog')).code).toBe(1)
  expect((await box.runScript('gateway-healthcheck')).code).toBe(0)
  expect(readFileSync(box.configPath, 'utf8')).toBe(good)
})

const SHUTTING_DOWN = '[gateway] received SIGTERM; shutting down'
const SHUT_DOWN = '[shutdown] completed cleanly in 1194ms'

const complaint = () => `${ago(700)} [reload] config reload skipped (invalid config)`

// Each test has its log written when it runs: before the tests above have run, 590 s ago was another time.
test.each<[what: string, lines: () => string[], lastWrittenSec: number, code: number]>([
  ['that took minutes to finish its work', () => [`${ago(590)} ${SHUTTING_DOWN}`, `${ago(300)} ${SHUT_DOWN}`], 300, 3],
  ['that muttered as it went', () => [`${ago(590)} ${SHUT_DOWN}`, '[sqlite/transaction] slow elapsedMs=1200'], 589, 3],
  ['that had complained as it ran', () => [complaint(), 'ERR_MODULE_NOT_FOUND', `${ago(590)} bye`], 590, 3],
  ['and begun again', () => [`${ago(590)} ${SHUT_DOWN}`, `${ago(60)} [gateway] loading configuration…`, 'boom'], 59, 1],
  ['and refused again, in words without a time', () => [`${ago(590)} ${SHUT_DOWN}`, REFUSED], 585, 1],
  ['and unable to begin again', () => [`${ago(590)} ${SHUT_DOWN}`, "Reason: Cannot find module '/x.js'"], 585, 1],
  ['and dead at once, in words that nobody knows', () => [`${ago(590)} ${SHUT_DOWN}`, 'boom'], 60, 1],
])('what its log says since the stop tells of a bare gateway %s', async (_name, lines, lastWrittenSec, code) => {
  const box = await sandbox()
  noteStop(box, 600, 'sigterm')
  writeFileSync(box.gatewayLog, `${ago(3600)} [gateway] loading configuration…\n${lines().join('\n')}\n`)
  setAge(box.gatewayLog, lastWrittenSec)
  const run = await look(box)
  expect(LEFT_ALONE.test(run.stdout)).toBe(code === 3)
  expect(run.code).toBe(code)
})
