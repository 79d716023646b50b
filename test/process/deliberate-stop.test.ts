/** Whether a gateway that is down was stopped on purpose, or was started again since and failed. */
import { appendFileSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { test } from '../support/boxes.ts'
import { standInLaunchctl } from '../support/launchctl.ts'
import { type Sandbox, waitFor } from '../support/sandbox.ts'

const ago = (seconds: number) => new Date(Date.now() - seconds * 1000).toISOString()
const setAge = (path: string, seconds: number) => utimesSync(path, new Date(ago(seconds)), new Date(ago(seconds)))

/** As `openclaw gateway stop` leaves it in the lifecycle log. */
function noteStop(box: Sandbox, secondsAgo: number, mode: string): void {
  const line = `openclaw gateway lifecycle source=cli action=stop mode=${mode} interactive=1`
  appendFileSync(join(box.stateDir, 'logs', 'gateway-restart.log'), `[${ago(secondsAgo)}] ${line}\n`)
}

async function look(box: Sandbox): Promise<string> {
  // Once: it would be placed later than what the gateway has said since.
  if (Date.now() - statSync(box.configPath).mtimeMs < 1e6) setAge(box.configPath, 3000)
  const { stdout } = await box.runScript('gateway-watchdog', ['--dry-run'])
  return /RUN ended: ([a-z-]+, exit \d)/.exec(stdout)?.[1] ?? stdout
}

const LEFT_ALONE = 'stopped-on-purpose, exit 3'
const REFUSED = 'Gateway start blocked: existing config is missing gateway.mode'

test('under launchd: unloaded by the stop it is left alone, loaded again not', async ({ sandbox }) => {
  const box = await sandbox()
  standInLaunchctl(box, '')
  noteStop(box, 600, 'bootout')
  expect(await look(box)).toBe(LEFT_ALONE)
  standInLaunchctl(box, 'state = not running\nlast exit code = 78\nruns = 4\n')
  appendFileSync(box.gatewayLog, `${ago(0)} ${REFUSED}\n`)
  expect(await look(box)).toBe('misconfigured, exit 1')
  standInLaunchctl(box, 'state = not running\nlast exit code = 0\nruns = 1\n')
  noteStop(box, 0, 'bootout')
  expect(await look(box)).toBe(LEFT_ALONE)
})

test('under systemd: inactive it is left alone, failed later it is not', async ({ sandbox }) => {
  const box = await sandbox()
  const unit = (lines: string) =>
    box.addTool(
      'systemctl',
      `printf '%s\\n' LoadState=loaded UnitFileState=enabled MainPID=0 ExecMainStartTimestampMonotonic=1 ${lines}`,
    )
  box.addTool('journalctl', '')
  noteStop(box, 600, 'systemctl-stop')
  unit('ActiveState=inactive SubState=dead Result=success')
  expect(await look(box)).toBe(LEFT_ALONE)
  unit('ActiveState=failed SubState=failed Result=exit-code ExecMainCode=1 ExecMainStatus=78')
  expect(await look(box)).toBe('unknown, exit 1')
})

test('a bare gateway is left alone; started again, it refuses its config and is healed', async ({ sandbox }) => {
  const box = await sandbox({ settings: { CONFIG_KNOWN_GOOD_AFTER: '0' } })
  const { pid } = await box.startGateway()
  for (let i = 0; i < 2; i++) await box.runScript('gateway-watchdog')
  const good = readFileSync(box.configPath, 'utf8')
  noteStop(box, 0, 'sigterm')
  process.kill(pid, 'SIGTERM')
  await waitFor(() => !box.processes().includes(pid), 'the end of the gateway')
  for (const script of ['gateway-watchdog', 'gateway-healthcheck'])
    expect(await box.runScript(script)).toMatchObject({ code: 3, stdout: expect.stringContaining(LEFT_ALONE) })
  expect(box.openclawCalls().filter((call) => call.startsWith('gateway'))).toEqual(['gateway run'])
  box.writeConfig('{ "gateway": { broken')
  expect((await box.startGateway({}, 'exit')).exitCode).toBe(78)
  expect((await box.runScript('gateway-watchdog')).code).toBe(1)
  expect((await box.runScript('gateway-healthcheck')).code).toBe(0)
  expect(readFileSync(box.configPath, 'utf8')).toBe(good)
})

const SHUT_DOWN = '590 [shutdown] completed cleanly in 1194ms'
const COMPLAINT = '700 [reload] config reload skipped (invalid config)'

// A number in front of a line is its age in seconds.
test.for<[what: string, lines: string[], lastWrittenSec: number, isLeftAlone: boolean]>([
  ['took minutes to finish its work', ['590 [gateway] received SIGTERM', '300 [shutdown] completed'], 300, true],
  ['wrote more on its way out', [SHUT_DOWN, '[sqlite/transaction] slow elapsedMs=1200'], 589, true],
  [
    'was killed before its end was written, and had been restarted before',
    ['900 [shutdown] completed', '890 [gateway] loading configuration', '599 [gateway] received SIGTERM'],
    599,
    true,
  ],
  [
    'was killed before its end was written, and a chat had quoted one',
    ['700 [whatsapp] inbound: bye', '[shutdown] completed', '650 [tools] failed: EADDRINUSE', '599 [gateway] received'],
    599,
    true,
  ],
  ['had complained while it ran', [COMPLAINT, 'ERR_MODULE_NOT_FOUND', '590 bye'], 590, true],
  ['began again', [SHUT_DOWN, '60 [gateway] loading configuration…', 'boom'], 59, false],
  ['refused again, in words without a time', [SHUT_DOWN, REFUSED], 585, false],
  ['died again at once, in unknown words', [SHUT_DOWN, 'boom'], 60, false],
])(
  'a bare gateway whose log says that since the stop it %s',
  async ([_what, lines, lastWrittenSec, isLeftAlone], { sandbox }) => {
    const box = await sandbox()
    noteStop(box, 600, 'sigterm')
    const said = ['3600 [gateway] loading configuration…', ...lines]
    writeFileSync(
      box.gatewayLog,
      `${said.join('\n')}\n`.replace(/^\d+/gm, (sec) => ago(Number(sec))),
    )
    setAge(box.gatewayLog, lastWrittenSec)
    expect((await look(box)) === LEFT_ALONE).toBe(isLeftAlone)
  },
)
