/** Each output of test/fixtures/macos, printed by a tool of that name, has its right reading. */
import { chmodSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { isGatewayCommand } from '../../lib/gateway/processes.ts'
import { warnings } from '../../lib/install/machine.ts'
import { editCrontab, readCrontab } from '../../lib/services/cron.ts'
import { domainNotes, explained, isDisabled, launchdJob } from '../../lib/services/launchd.ts'
import { noteSupervision } from '../../lib/services/supervision.ts'
import { listeners, listProcesses } from '../../lib/tier/process-table.ts'
import { loadSettings, type Settings } from '../../lib/tier/settings.ts'
import { shell } from '../../lib/tier/shell.ts'
import '../support/without-proc.mjs'

const FOLDER = join(import.meta.dirname, '..', 'fixtures', 'macos')
const GATEWAY = 'ai.openclaw.gateway'
const CLAUDE = { name: 'claude', found: '/usr/local/bin/claude' }

/** A machine on which that tool prints that file, and ends with that code. */
function machine(tool: string, file: string, code: number): Settings {
  const home = mkdtempSync(join(tmpdir(), 'oc-mac-'))
  onTestFinished(() => rmSync(home, { recursive: true }))
  const addTool = (name: string, what: string, code = 0) => {
    const out = code === 0 ? '' : ' >&2'
    writeFileSync(join(home, name), `#!/bin/sh\ncat '${join(FOLDER, `${what}.txt`)}'${out}\nexit ${code}\n`)
    chmodSync(join(home, name), 0o700)
  }
  addTool('ps', 'ps')
  addTool(tool, file, code)
  return loadSettings({ HOME: home, PATH: `${home}:/usr/bin:/bin` })
}

const idle = { isOn: true, running: false, restarting: false, stopping: false, pended: false, cannotStart: undefined }
const running = { ...idle, running: true, parked: false }
const parked = { ...idle, parked: true }
const pended = { ...parked, pended: true }
const boxed = (cannotStart: { program?: string; folder?: string }) => ({ ...parked, cannotStart, lastExitCode: 78 })
const spawning = { ...idle, restarting: true, parked: false }
const stopping = { ...idle, stopping: true, parked: false }
const gone = { ...idle, isOn: false, parked: false, pid: undefined }

const CELLAR_NODE = '/opt/homebrew/Cellar/node/25.9.0_3/bin/node'

const jobs: Record<string, [reading: Record<string, unknown>, code?: number]> = {
  'print-running': [{ ...running, pid: 4711, starts: 1, ended: undefined }],
  'print-running-10.14': [{ ...running, pid: 4711, starts: 1 }],
  'print-running-after-crashes': [{ ...running, pid: 88_213, starts: 9, ended: 'exited with code 1' }],
  'print-pended-speculative': [{ ...pended, starts: 0, ended: undefined }],
  'print-pended-inefficient': [{ ...pended, starts: 3, ended: 'exited with code 1' }],
  'print-pended-semaphore': [{ ...pended, ended: 'was killed by SIGKILL (9)' }],
  'print-pended-interval': [pended],
  'print-idle-calendar': [{ ...parked, starts: 211, lastExitCode: 0 }],
  'print-spawn-scheduled-first': [{ ...spawning, ended: undefined }],
  'print-crash-loop': [{ ...spawning, starts: 14, lastExitCode: 1 }],
  'print-crash-loop-penalty-box': [{ ...spawning, starts: 14, lastExitCode: 1 }],
  'print-penalty-box-exited': [boxed({ program: CELLAR_NODE })],
  'print-refused-78': [{ ...spawning, starts: 5, lastExitCode: 78 }],
  'print-xpcproxy': [{ ...spawning, pid: 5120 }],
  'print-penalty-box-node-gone': [boxed({ program: CELLAR_NODE })],
  'print-spawn-failed-node-gone': [boxed({ program: CELLAR_NODE })],
  'print-penalty-box-log-folder-gone': [boxed({ folder: '/Users/otto/.openclaw/logs' })],
  'print-penalty-box-working-folder-gone': [boxed({ folder: '/Users/otto/claw' })],
  'print-penalty-box-all-there': [boxed({})],
  'print-sigtermed': [{ ...stopping, pid: 4711 }],
  'print-sigkilled': [{ ...stopping, pid: 4711 }],
  'print-exited': [stopping],
  'print-stopped-and-disabled': [{ ...parked, lastExitCode: undefined, ended: 'was killed by SIGTERM (15)' }],
  'print-killed': [{ ...spawning, lastExitCode: undefined, ended: 'was killed by SIGKILL (9)' }],
  'print-bus-error': [{ ...parked, ended: expect.stringMatching(/\(10\)$/) }],
  'print-nested-blocks': [{ ...parked, pid: undefined, lastExitCode: undefined }],
  'print-abort-trap': [{ ...spawning, ended: 'was killed by SIGABRT (6)' }],
  'print-jetsam': [{ ...parked, detail: expect.stringContaining('JETSAM_REASON_MEMORY_PERPROCESSLIMIT') }],
  'print-given-up': [{ ...parked, starts: 12, lastExitCode: 1 }],
  'print-not-loaded': [gone, 113],
  'print-not-loaded-13': [gone, 113],
  'print-no-session': [{ ...gone, detail: expect.stringContaining('nobody is logged in') }, 112],
  'print-wrong-domain': [{ ...gone, detail: expect.stringContaining('Login Items') }, 125],
}

const SETUP_TOKEN = expect.stringContaining('claude setup-token')

type Row = [tool: string, code: number, read: (settings: Settings) => unknown, reading: unknown]

const asked = (verb: string) => async (settings: Settings) =>
  explained(await shell(settings)`launchctl ${verb} gui/501`).failure

const others: Record<string, Row> = {
  'domain-normal': ['launchctl', 0, domainNotes, []],
  'domain-on-demand-only': ['launchctl', 0, domainNotes, [expect.stringContaining('on-demand')]],
  'disabled-gateway': ['launchctl', 0, (settings) => isDisabled(settings, GATEWAY), true],
  'disabled-another': ['launchctl', 0, (settings) => isDisabled(settings, GATEWAY), false],
  'disabled-12': ['launchctl', 0, (settings) => isDisabled(settings, GATEWAY), true],
  'disabled-12-another': ['launchctl', 0, (settings) => isDisabled(settings, GATEWAY), false],
  'bootstrap-5': ['launchctl', 5, asked('bootstrap'), expect.stringMatching(/already.*Login Items.*Input\/output/)],
  'bootstrap-119': ['launchctl', 119, asked('bootstrap'), expect.stringMatching(/`launchctl enable`/)],
  'bootstrap-122': ['launchctl', 122, asked('bootstrap'), expect.stringMatching(/not yours.*another volume/)],
  'bootstrap-125': ['launchctl', 125, asked('bootstrap'), expect.stringMatching(/logged in.*Login Items/)],
  'kickstart-113': ['launchctl', 113, asked('kickstart'), expect.stringMatching(/npm run setup/)],
  ps: [
    'ps',
    0,
    async (settings) =>
      (await listProcesses(settings)).map(({ pid, memoryMb, ageSec, cpuSec, command }) => [
        ...[pid, memoryMb, ageSec, cpuSec, isGatewayCommand(command)],
      ]),
    [
      [1, 21, 12 * 86_400 + 11_045, 761.2, false],
      [171, 44, 12 * 86_400 + 11_021, 187.55, false],
      [4711, 403, 7869, 242.91, true],
      [4712, 96, 7858, 11.08, false],
      [5120, 8, 2, 0.03, true],
      [5200, 60, 41, 1.77, false],
      [1180, 12, 36_000, 20.1, false],
      [5300, 400, 41, 60.49, true],
    ],
  ],
  lsof: [
    'lsof',
    0,
    async (settings) => (await listeners(settings)).filter(({ address }) => address.endsWith(':18789')),
    [
      { pid: 4711, address: '127.0.0.1:18789' },
      { pid: 4711, address: '[::1]:18789' },
    ],
  ],
  list: ['launchctl', 0, supervisorOf(4711), 'launchd: ai.openclaw.gateway'],
  'list-terminal-agent': ['launchctl', 0, supervisorOf(5300), 'none'],
  'keychain-36': ['security', 36, (settings) => warnings(settings, '/', 'launchd', [CLAUDE]), [SETUP_TOKEN]],
  'keychain-44': ['security', 44, (settings) => warnings(settings, '/', 'launchd', [CLAUDE]), [SETUP_TOKEN]],
  'crontab-none': ['crontab', 1, readCrontab, { text: '' }],
  'crontab-not-permitted': ['crontab', 1, refusal, expect.stringMatching(/not permitted.*Full Disk Access/)],
  'crontab-interrupted': ['crontab', 1, refusal, expect.stringMatching(/Interrupted.*Full Disk Access/)],
}

function supervisorOf(pid: number) {
  return async (settings: Settings): Promise<string> => (await noteSupervision(settings, pid)).supervisor
}

async function refusal(settings: Settings): Promise<string> {
  return editCrontab(settings, () => 'x\n').catch((error: Error) => error.message)
}

test.each(Object.entries(jobs))('launchctl: %s', async (file, [reading, code = 0]) => {
  expect(await launchdJob(machine('launchctl', file, code), GATEWAY)).toMatchObject(reading)
})

test.each(Object.entries(others))('%s', async (file, [tool, code, read, reading]) => {
  expect(await read(machine(tool, file, code))).toEqual(reading)
})

test('every output has a reading', () => {
  const files = readdirSync(FOLDER).filter((name) => name.endsWith('.txt'))
  expect(files.sort()).toEqual([...Object.keys(jobs), ...Object.keys(others)].map((name) => `${name}.txt`).sort())
})
