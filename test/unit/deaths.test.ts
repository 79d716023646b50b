/** Which processes count as ended, and how the last one ended. */
import { appendFileSync, chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { countDeaths, type GatewayRecord, readRecord } from '../../lib/gateway/record.ts'
import { bareEnd, startBare } from '../../lib/services/bare.ts'
import { readLaunchdJob } from '../../lib/services/launchd.ts'
import type { Service } from '../../lib/services/supervisor.ts'
import { DEED } from '../../lib/tier/contract.ts'
import { loadSettings } from '../../lib/tier/settings.ts'
import { writeTierLog } from '../support/tier-logs.ts'
import { waitFor } from '../support/wait-for.ts'

function machine() {
  const home = mkdtempSync(join(tmpdir(), 'oc-deaths-'))
  onTestFinished(() => rmSync(home, { recursive: true }))
  const settings = loadSettings({ HOME: home, PATH: `${home}:/usr/bin:/bin` })
  for (const folder of [settings.watchdogDir, join(settings.stateDir, 'logs')]) mkdirSync(folder, { recursive: true })
  const log = (name: string, text: string) => appendFileSync(join(settings.stateDir, 'logs', name), `${text}\n`)
  return { home, settings, log }
}

const gateway = (pid: number | undefined) =>
  pid === undefined ? undefined : { pid, parentPid: 1, memoryMb: 200, ageSec: 10, command: 'openclaw-gateway' }
const unit = (starts: number) => ({ kind: 'launchd', loaded: true, starts }) as Service

/** Counts at each of these looks, one after the other: the pid, and how often its supervisor has started it. */
async function countAt(looks: [pid?: number, starts?: number][]) {
  const { settings, log } = machine()
  let record: GatewayRecord = readRecord(settings).value
  const all: number[] = []
  for (const [pid, starts] of looks) {
    const service = starts === undefined ? undefined : unit(starts)
    const counted = await countDeaths(settings, record, { process: gateway(pid), service })
    record = counted.record
    all.push(counted.ended)
  }
  return { all, record, settings, log }
}

test.each<[string, [pid?: number, starts?: number][], number[]]>([
  ['the same process', [[1], [1], [1]], [0, 0, 0]],
  ['another process, seen twice', [[1], [2], [2]], [0, 1, 0]],
  ['gone, and another later', [[1], [undefined], [undefined], [2]], [0, 1, 0, 0]],
  [
    'those between two checks',
    [
      [1, 3],
      [2, 15],
      [2, 15],
    ],
    [0, 12, 0],
  ],
  [
    'gone, before its supervisor has started it again',
    [
      [1, 3],
      [undefined, 3],
      [2, 4],
    ],
    [0, 0, 1],
  ],
  [
    'its supervisor counts from 0 again',
    [
      [1, 3],
      [2, 0],
      [3, 1],
    ],
    [0, 0, 1],
  ],
])('%s', async (_name, looks, expected) => {
  const { all, record } = await countAt(looks)
  expect(all).toEqual(expected)
  expect(record.deaths).toHaveLength(expected.reduce((sum, one) => sum + one))
})

test.each(['a lifecycle command', 'a restart of its own', 'a restart by a tier'])('%s is no death', async (by) => {
  const { record, settings, log } = await countAt([[1, 3]])
  const now = new Date().toISOString()
  if (by === 'a lifecycle command')
    log('gateway-restart.log', `[${now}] openclaw gateway lifecycle source=cli action=restart mode=service pid=1`)
  else if (by === 'a restart of its own')
    log('gateway.log', `${now} [gateway] restart mode: full process restart (supervisor restart)`)
  else writeTierLog(settings.memoryDir, 'watchdog', { text: DEED.restart('kickstart') })
  // What a chat says is no line of its own.
  log('gateway.log', `${now} [whatsapp] inbound: restart mode: full process restart`)
  const look = (starts: number) => countDeaths(settings, record, { process: gateway(2), service: unit(starts) })
  expect((await look(4)).ended).toBe(0)
  expect((await look(9)).ended).toBe(5)
})

test.each([
  ['exit 78', 'exited with code 78'],
  ['kill -9 $$', 'was killed by SIGKILL (9)'],
  ['exit 0', 'exited with code 0'],
])('a bare process that does `%s` %s', async (command, expected) => {
  const { home, settings } = machine()
  writeFileSync(join(home, 'openclaw'), `#!/bin/sh\n${command}\n`)
  chmodSync(join(home, 'openclaw'), 0o700)
  const started = await startBare(settings)
  if ('failure' in started) throw new Error(started.failure)
  const { pid } = started
  expect(await waitFor(async () => bareEnd(settings, pid, 0) ?? '', 'its end')).toBe(expected)
  expect(statSync(join(settings.watchdogDir, 'bare-gateway-end')).mode & 0o777).toBe(0o600)
  expect(() => process.kill(pid, 0)).toThrow()
  expect([bareEnd(settings, pid + 1, 0), bareEnd(settings, pid, Date.now() + 1000)]).toEqual([undefined, undefined])
})

const NESTED =
  '\tresource coalition = {\n\t\tstate = active\n\t\tpid = 99\n\t\truns = 42\n\t\tlast exit code = 7\n\t}\n'

test.each([
  ['\tstate = running\n\tpid = 12\n\truns = 3\n\tlast exit code = (never exited)\n', undefined, 3],
  ['\tstate = spawn scheduled\n\truns = 6\n\tlast exit code = 78: EX_CONFIG\n', 'exited with code 78', 6],
  ['\tstate = not running\n\truns = 6\n\tlast terminating signal = Killed: 9\n', 'was killed by SIGKILL (9)', 6],
  [
    '        state = not running\n        last terminating signal = Bus error: 10\n',
    expect.stringMatching(/\(10\)/),
    undefined,
  ],
])('of `launchctl print` only what is the job’s own counts: %j', (own, ended, runs) => {
  const job = readLaunchdJob(0, `gui/501/ai.openclaw.gateway = {\n${NESTED}${own}${NESTED}}\n`, '')
  expect(job).toMatchObject({ isOn: true, ended, starts: runs })
  expect([12, undefined]).toContain(job?.pid)
  expect(job?.running).toBe(own.includes('running\n\tpid'))
})
