/**
 * Two faults at once, or one upon the other, mostly with a noisy log. storm.test.ts plays them on the stand-in,
 * real-storm.ts some of them on the real OpenClaw.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  appendFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { freeDiskMb, LOW_DISK_MB } from '../../lib/gateway/judge.ts'
import { breakPackage } from '../support/doctor-script.ts'
import type { Faults } from '../support/faults.ts'
import { standInLaunchctl } from '../support/launchctl.ts'
import { freePort } from '../support/ports.ts'
import { addProfile } from '../support/profiles.ts'
import { startStranger } from '../support/stranger.ts'
import { remarksIn, restartsIn } from '../support/tier-logs.ts'
import { waitFor } from '../support/wait-for.ts'
import { killGateway, type StandInScene } from './fault.ts'
import { isLive, isRunning, needsMount, onSmallDisk } from './scene.ts'
import type { Network } from './storm-play.ts'

export interface Storm extends StandInScene {
  network: Network
  /** Starts a tier; returns its exit code. */
  run(script: string, env?: Record<string, string>): Promise<number | null>
  /** What the user has written into the config; every one of them is still somewhere in the end. */
  versions: string[]
  /** The first of them. */
  good: string
  edit(text: string): void
  /** Processes that are not ours, and are still there in the end. */
  foreign: number[]
  faults(faults: Faults): void
  /** A person starts the gateway. */
  start(faults?: Faults, until?: 'boot' | 'ready' | 'exit'): Promise<number>
  /** A start that is a person's. */
  byHand<T>(start: () => Promise<T>): Promise<T>
  /** How often it was started by others than a person. */
  starts(): number
}

type Deed = (storm: Storm) => unknown

export interface Pair {
  name: string
  /** Entries of chat a second in the gateway's log, while it works. */
  noise?: number
  settings?: Record<string, string>
  absent?: string[]
  cannotBeMade?: () => string | undefined
  /** Upon a gateway that is healthy and whose config is known-good. */
  first: Deed
  /** Before tick `at` of a tier, or in its midst: once that is so, by what the tiers have said since the tick began. */
  later: readonly { at: number; once?: (storm: Storm, said: string) => unknown; happens: Deed }[]
  /** What Levels 1, 2 and 4 end with, round by round, ten minutes apart. */
  exits: readonly number[]
  /** By how much the clock is wrong at each tick. */
  clockSec?: readonly number[]
  starts: number
  /** Exactly the messages that a human gets, in order. */
  told: readonly RegExp[]
  ends: 'live' | 'down'
  check?: Deed
  /** It is played on the real OpenClaw, too: with these differences. */
  real?: Partial<Pair>
}

/** The real one's folder is on a small disk from the beginning. */
async function fillAndBreak(storm: Storm): Promise<void> {
  await breakConfig(storm)
  const hog = join(storm.stateDir, 'hog')
  writeFileSync(hog, Buffer.alloc((freeDiskMb(storm.stateDir)! - LOW_DISK_MB / 2) * 1024 * 1024))
  storm.onClose(() => rmSync(hog))
}

const BROKEN = '{ gateway: { mode: "local", // and then the power went'
const FLOOD = 300

const goodConfig = ({ good }: Storm) => good.trimEnd()
const isAtWork = (_: Storm, said: string) => remarksIn(said) > 0
const present = ({ configPath }: Storm) => readFileSync(configPath, 'utf8')
const pausePath = ({ stateDir }: Storm) => join(stateDir, 'self-healing.paused')
const pause = (storm: Storm) => writeFileSync(pausePath(storm), '')
const resume = (storm: Storm) => rmSync(pausePath(storm))

/** An edit of ten minutes ago. */
function editLongAgo(storm: Storm, text: string): void {
  storm.edit(text)
  const then = new Date(Date.now() - 600_000)
  utimesSync(storm.configPath, then, then)
}

async function breakConfig(storm: Storm): Promise<void> {
  await killGateway(storm)
  editLongAgo(storm, BROKEN)
}

const endStranger = async (storm: Storm) => {
  const pid = storm.foreign.pop()!
  process.kill(pid, 'SIGKILL')
}

/** It finds its port taken, and gives up. */
const gatewayIsGone = ({ box, foreign }: Storm) =>
  waitFor(() => !box.processes().some((pid) => isRunning(pid) && !foreign.includes(pid)), 'its end', 120_000)

async function letStrangerIn(storm: Storm): Promise<void> {
  const stranger = await startStranger(storm.box)
  storm.onClose(stranger.end)
  storm.foreign.push(stranger.pid)
}

const REFUSES_SECRETS = { code: 1, stderr: 'Gateway failed to start: required secrets are unavailable.' }
const SECRETS_OUT: Faults = { exitAtBoot: REFUSES_SECRETS }

let updater: ReturnType<typeof spawn>
let missing = ''

/** OpenClaw's updater by its title, with half a package; a start in the midst of it fails. */
async function updateBegins(storm: Storm): Promise<void> {
  await killGateway(storm)
  const { home, packageDir } = storm.box
  updater = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], {
    argv0: 'openclaw-update',
    env: { HOME: home },
  })
  await once(updater, 'spawn')
  storm.foreign.push(updater.pid!)
  missing = join(packageDir, 'entry.js')
  await storm.start({ missingModule: missing }, 'exit')
}

async function updateEnds(storm: Storm): Promise<void> {
  storm.foreign.pop()
  updater.kill('SIGKILL')
  // npm writes every file of the package.
  writeFileSync(missing, '')
  storm.faults({ missingModule: missing })
}

const REINSTALL = [{ call: 'reinstall_package' }, { call: 'start_gateway' }, { call: 'wait_until_healthy' }]
const REPORT = { symptom: 'It ends at once.', root_cause: 'A file is missing.', fix: 'Reinstalled.' }

async function losePackage(storm: Storm): Promise<void> {
  await killGateway(storm)
  missing = breakPackage(storm.box)
}

/** The next call of that command of OpenClaw waits until `goOn`. */
function holdAt({ box }: Storm, command: string): void {
  const [held, go] = [join(box.root, 'held'), join(box.root, 'go')]
  const hold = `[ "$1 $2" != "${command}" ] || [ -e '${held}' ] || { touch '${held}'; while [ ! -e '${go}' ]; do sleep 0.1; done; }`
  const program = join(box.binDir, 'openclaw-held')
  renameSync(join(box.binDir, 'openclaw'), program)
  box.addTool(
    'openclaw',
    `${hold}
exec '${program}' "$@"`,
  )
}
const isHeld = ({ box }: Storm) => existsSync(join(box.root, 'held'))
const goOn = ({ box }: Storm) => writeFileSync(join(box.root, 'go'), '')

/** Level 2 has found what it will put back, and has not put it back yet. */
async function breakConfigAndHold(storm: Storm): Promise<void> {
  await breakConfig(storm)
  holdAt(storm, 'config validate')
}

const repairConfig = (storm: Storm) => storm.edit(goodConfig(storm).replace('{', '{ // mine\n'))

const knownGoods = ({ stateDir }: Storm) => {
  const folder = join(stateDir, 'watchdog', 'known-good')
  return readdirSync(folder).map((name) => join(folder, name))
}

/** The last process dies as V8 says it. */
function runOutOfMemory({ box, pid }: Storm): void {
  const collection = `[${pid}:0x16a15000]    30622 ms: Mark-Compact 380.9 (513.6) -> 380.1 (512.8) MB`
  const words = 'FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory'
  appendFileSync(box.gatewayLog, `\n<--- Last few GCs --->\n\n${collection}\n\n${words}\n`)
}

/** launchd's job: it starts the gateway again by itself. */
async function superviseAndHang(storm: Storm): Promise<void> {
  standInLaunchctl(storm.box, `state = running\npid = ${storm.pid}\nruns = 1\n`)
  await storm.signal('SIGSTOP')
}

async function supervisorRestarts(storm: Storm): Promise<void> {
  await killGateway(storm)
  const pid = await storm.start()
  writeFileSync(join(storm.box.root, 'job'), `state = running\npid = ${pid}\nruns = 2\n`)
}

const mount = (storm: Storm, how: string) => execFileSync('mount', ['-o', how, storm.box.memoryDir])

function lockLogs(storm: Storm): void {
  const { memoryDir } = storm.box
  execFileSync('mount', ['--bind', memoryDir, memoryDir])
  storm.onClose(() => execFileSync('umount', ['-l', memoryDir]))
  mount(storm, 'remount,bind,ro')
}

let otherPort = 0
let other: Awaited<ReturnType<typeof addProfile>>
let otherPid = 0

/** Its `.env` names the port of the first one, its config another. */
async function addSecondInstallation(storm: Storm): Promise<void> {
  other = await addProfile(storm.box, 'two')
  // Whether it finds the first one's gateway or its absence is chance, and so is whether it calls: nobody hears it here.
  appendFileSync(join(other.stateDir, '.env'), `OPENCLAW_GATEWAY_PORT="${storm.port}"\nDISCORD_WEBHOOK_URL=""\n`)
  otherPid = await storm.byHand(other.startGateway)
}

export const pairs: Pair[] = [
  {
    name: 'a crash, after chat that looks like the end of a gateway',
    noise: FLOOD,
    first: killGateway,
    later: [],
    exits: [0, 0, 0],
    starts: 1,
    told: [],
    ends: 'live',
    real: {},
    check: ({ log }) => expect(log('watchdog')).toMatch(/DOWN absent: /),
  },
  {
    name: 'a crash, after its log was emptied and chat stands in it alone',
    first: async (storm) => {
      const chat = '[whatsapp] inbound: what does this mean?\ndatabase disk image is malformed'
      writeFileSync(storm.box.gatewayLog, `${new Date().toISOString()} ${chat}\n`)
      await killGateway(storm)
    },
    later: [],
    exits: [0, 0, 0],
    starts: 1,
    told: [],
    ends: 'live',
    check: ({ log }) => expect(log('watchdog')).toMatch(/DOWN absent: /),
  },
  {
    name: 'config broken, the disk nearly full',
    cannotBeMade: needsMount,
    first: async (storm) => {
      storm.onClose(onSmallDisk(storm.stateDir, '64m'))
      await breakConfig(storm)
    },
    later: [],
    noise: 20,
    exits: [1, 0, 0, 0, 0, 0, 0, 0, 0],
    starts: 1,
    told: [/openclaw\.json/, /\d+ MB/],
    ends: 'live',
    real: { first: fillAndBreak },
    check: (storm) => expect(present(storm)).toBe(storm.good),
  },
  {
    name: 'config broken, the disk full: nothing is written over',
    cannotBeMade: needsMount,
    first: async (storm) => {
      storm.onClose(onSmallDisk(storm.stateDir, '64m'))
      await breakConfig(storm)
      const hog = join(storm.stateDir, 'hog')
      execFileSync('sh', ['-c', `head -c 58M /dev/zero >'${hog}'`])
    },
    later: [{ at: 3, happens: ({ stateDir }) => rmSync(join(stateDir, 'hog')) }],
    exits: [1, 1, 0, 1, 0, 0],
    starts: 1,
    told: [/\d+ MB/, /is back[\s\S]*openclaw\.json/],
    ends: 'live',
  },
  {
    name: 'a hang; what waits for its port takes it when it is ended',
    settings: { OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '2', HEALTH_CHECK_HTTP_TIMEOUT: '5' },
    noise: FLOOD,
    first: (storm) => storm.signal('SIGSTOP'),
    later: [
      { at: 0, once: isAtWork, happens: letStrangerIn },
      {
        at: 3,
        async happens(storm) {
          await gatewayIsGone(storm)
          await endStranger(storm)
        },
      },
    ],
    exits: [1, 1, 0, 0, 0, 0],
    starts: 2,
    told: [/\bnode\b.{1,4}pid \d+/, /is back/],
    ends: 'live',
    real: { settings: {} },
  },
  {
    name: 'a secret store and the alerts are out of reach, with the network',
    first: async (storm) => {
      await killGateway(storm)
      storm.faults(SECRETS_OUT)
      storm.network.cut()
    },
    later: [
      { at: 3, happens: ({ network }) => network.mend() },
      { at: 6, happens: (storm) => storm.start() },
    ],
    exits: [1, 1, 1, 1, 1, 0, 0, 0, 0],
    starts: 2,
    told: [/required secrets are unavailable/, /is back/],
    ends: 'live',
  },
  {
    name: 'a crash while the network is out: its end is told when it is back',
    settings: { NOTIFY: 'all' },
    first: async (storm) => {
      await killGateway(storm)
      storm.network.cut()
    },
    later: [{ at: 3, happens: ({ network }) => network.mend() }],
    exits: [0, 0, 1, 0, 0, 0],
    starts: 1,
    told: [/recovered by level 1/],
    ends: 'live',
  },
  {
    name: 'config broken; the user repairs it while Level 2 works, and starts it',
    noise: FLOOD,
    first: breakConfigAndHold,
    later: [
      {
        at: 1,
        once: isHeld,
        happens: async (storm) => {
          repairConfig(storm)
          await storm.start()
          goOn(storm)
        },
      },
    ],
    exits: [1, 0, 0, 0, 0, 0],
    starts: 0,
    told: [],
    ends: 'live',
    check: (storm) => expect(present(storm)).toBe(storm.versions.at(-1)),
  },
  {
    name: 'config broken; the user repairs it while Level 2 works, and does not start it',
    first: breakConfigAndHold,
    later: [
      {
        at: 1,
        once: isHeld,
        happens: (storm) => {
          repairConfig(storm)
          goOn(storm)
        },
      },
    ],
    exits: [1, 0, 0, 0, 0, 0],
    starts: 1,
    told: [],
    ends: 'live',
    real: {},
    check: (storm) => expect(present(storm)).toBe(storm.versions.at(-1)),
  },
  {
    name: 'config broken; the user repairs it while Level 3 works, and does not start it',
    settings: { CONFIG_ROLLBACK: 'off', EMERGENCY_RECOVERY_TIMEOUT: '6' },
    first: async (storm) => {
      storm.box.writeDoctorScript({ steps: [{ waitMs: 60_000 }] })
      await breakConfig(storm)
    },
    later: [{ at: 1, once: ({ box }) => box.prompts().length > 0, happens: repairConfig }],
    exits: [1, 0, 0, 0, 0, 0],
    starts: 1,
    told: [],
    ends: 'live',
    check: (storm) => expect(present(storm)).toBe(storm.versions.at(-1)),
  },
  {
    name: 'a broken config is put back, and the editor saves its buffer again before the start',
    first: async (storm) => {
      await breakConfig(storm)
      holdAt(storm, 'gateway run')
    },
    later: [
      {
        at: 1,
        once: isHeld,
        happens: (storm) => {
          editLongAgo(storm, BROKEN)
          goOn(storm)
        },
      },
    ],
    exits: [1, 0, 0, 0, 0, 0],
    starts: 2,
    told: [/openclaw\.json/],
    ends: 'live',
  },
  {
    name: 'two installations name one port, and the gateway crashes',
    noise: 50,
    first: async (storm) => {
      await addSecondInstallation(storm)
      expect((await other.run('gateway-watchdog')).code).toBe(1)
      await killGateway(storm)
    },
    later: [
      {
        at: 0,
        once: (_, said) => said.includes('DOWN '),
        happens: async () => {
          await Promise.all([other.run('gateway-watchdog'), other.run('gateway-healthcheck')])
        },
      },
    ],
    exits: [0, 0, 0, 0, 0, 0],
    starts: 1,
    told: [],
    ends: 'live',
    check: async () => {
      expect(other.gatewayPid()).toBe(otherPid)
      expect(await isLive(other.port)).toBe(true)
    },
  },
  {
    name: 'config broken, and the clock is set back and forward',
    first: breakConfig,
    later: [],
    clockSec: [0, -3600, -3600, 7200, 7200, 7200, 0, 0, 0],
    exits: [1, 0, 0, 0, 0, 0, 0, 0, 0],
    starts: 1,
    told: [/openclaw\.json/],
    ends: 'live',
  },
  {
    name: 'config broken, and the log folder becomes read-only',
    cannotBeMade: needsMount,
    first: breakConfig,
    later: [
      { at: 1, happens: lockLogs },
      { at: 3, happens: (storm) => mount(storm, 'remount,bind,rw') },
    ],
    exits: [1, 0, 0, 0, 0, 0],
    starts: 1,
    told: [/openclaw\.json[\s\S]*cannot write|cannot write[\s\S]*openclaw\.json/, /can write its files again/],
    ends: 'live',
    real: {},
  },
  {
    name: 'a crash, and a pause in the middle of the restart',
    noise: FLOOD,
    first: async (storm) => {
      await killGateway(storm)
      storm.faults({ heldIn: 'boot' })
    },
    later: [
      {
        at: 0,
        once: ({ box }) => box.events().filter(({ what }) => what === 'boot').length > 1,
        happens: (storm) => {
          pause(storm)
          storm.faults({})
        },
      },
      { at: 3, happens: resume },
    ],
    exits: [0, 3, 3, 0, 0, 0],
    starts: 1,
    told: [],
    ends: 'live',
    real: {
      later: [
        { at: 0, once: (_, said) => restartsIn(said) > 0, happens: pause },
        { at: 3, happens: resume },
      ],
    },
  },
  {
    name: 'config broken, and a pause right after it was put back',
    first: breakConfig,
    later: [
      { at: 2, happens: pause },
      { at: 6, happens: resume },
    ],
    exits: [1, 0, 3, 3, 3, 3, 0, 0, 0],
    starts: 1,
    told: [/openclaw\.json/],
    ends: 'live',
  },
  {
    name: 'a part of the package is missing, and Level 3 is killed while the doctor edits',
    first: async (storm) => {
      storm.box.writeDoctorScript({
        steps: [{ call: 'set_config', args: { path: 'logging.level', value: 'debug' } }, { waitMs: 60_000 }],
      })
      await losePackage(storm)
    },
    later: [
      {
        at: 1,
        once: ({ box }) => box.events().some(({ what }) => what.startsWith('doctor called set_config')),
        happens: (storm) => {
          const lock = readFileSync(join(storm.stateDir, 'watchdog', 'emergency-recovery.lock'), 'utf8')
          process.kill(JSON.parse(lock).pid, 'SIGKILL')
          expect(present(storm)).not.toBe(storm.good)
        },
      },
      { at: 3, happens: ({ box }) => box.writeDoctorScript({ steps: REINSTALL, report: REPORT }) },
    ],
    exits: [1, 1, 0, 1, 0, 0],
    starts: 1,
    told: [/SIGKILL/, /is back/],
    ends: 'live',
    check: (storm) => {
      expect(present(storm)).toBe(storm.good)
      expect(storm.box.events().filter(({ what }) => what === 'doctor started')).toHaveLength(2)
    },
  },
  {
    name: 'a crash, and a part of the package is gone',
    noise: FLOOD,
    first: async (storm) => {
      storm.box.writeDoctorScript({ steps: REINSTALL, report: REPORT })
      await killGateway(storm)
      missing = join(storm.box.packageDir, 'dist', 'run-command.mjs')
      storm.box.addTool('npm', `mkdir -p '${join(missing, '..')}'; touch '${missing}'; echo "changed 1 package"`)
      storm.faults({ missingModule: missing })
    },
    later: [],
    exits: [1, 0, 0, 0, 0, 0],
    // By Level 1, which finds out so, and by the doctor.
    starts: 2,
    told: [],
    ends: 'live',
  },
  {
    name: 'a stranger has the port, and the config is broken',
    first: async (storm) => {
      await breakConfig(storm)
      await letStrangerIn(storm)
    },
    later: [{ at: 3, happens: endStranger }],
    exits: [1, 1, 0, 1, 0, 0],
    starts: 1,
    told: [/\bnode\b.{1,4}pid \d+/, /is back[\s\S]*openclaw\.json/],
    ends: 'live',
  },
  {
    name: 'config broken, and out of memory',
    noise: FLOOD,
    first: async (storm) => {
      await breakConfig(storm)
      runOutOfMemory(storm)
    },
    later: [],
    exits: [1, 0, 0, 0, 0, 0],
    starts: 1,
    told: [/openclaw\.json/],
    ends: 'live',
  },
  {
    name: 'a crash during an update, which ends well',
    first: updateBegins,
    later: [{ at: 3, happens: updateEnds }],
    exits: [1, 3, 0, 0, 0, 0],
    starts: 1,
    told: [],
    ends: 'live',
  },
  {
    name: 'two crashes in one minute',
    noise: FLOOD,
    settings: { OPENCLAW_WATCHDOG_BACKOFF: '3' },
    first: killGateway,
    later: [{ at: 1, happens: async (storm) => storm.signal('SIGKILL', await storm.pidNow()) }],
    exits: [0, 0, 0, 0, 0, 0],
    starts: 2,
    told: [],
    ends: 'live',
    real: {},
  },
  {
    name: 'a part of the package is gone, no doctor is there, no alert gets out',
    absent: ['claude'],
    first: async (storm) => {
      storm.network.cut()
      await losePackage(storm)
    },
    later: [
      { at: 6, happens: ({ network }) => network.mend() },
      {
        at: 9,
        happens: async (storm) => {
          writeFileSync(missing, '')
          await storm.start()
        },
      },
    ],
    exits: [1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0],
    starts: 0,
    told: [/Cannot find module/, /is back/],
    ends: 'live',
  },
  {
    name: 'a hang, and its supervisor restarts it while Level 1 makes sure',
    settings: { OPENCLAW_WATCHDOG_HEALTH_TIMEOUT: '3', OPENCLAW_WATCHDOG_RETRY_DELAY: '3' },
    noise: FLOOD,
    first: superviseAndHang,
    later: [{ at: 0, once: isAtWork, happens: supervisorRestarts }],
    exits: [0, 0, 0, 0, 0, 0],
    starts: 0,
    told: [],
    ends: 'live',
  },
  {
    name: 'config broken, and what was known-good is damaged: the user repairs it',
    absent: ['claude'],
    first: async (storm) => {
      for (const path of knownGoods(storm)) appendFileSync(path, 'half a sector')
      await breakConfig(storm)
    },
    later: [{ at: 6, happens: (storm) => storm.edit(goodConfig(storm)) }],
    exits: [1, 1, 0, 1, 1, 0, 0, 0, 0],
    starts: 1,
    told: [/openclaw\.json/, /is back/],
    ends: 'live',
  },
  {
    name: "config broken, and what was known-good is damaged: OpenClaw's own copy serves",
    first: async (storm) => {
      for (const path of knownGoods(storm)) appendFileSync(path, 'half a sector')
      writeFileSync(`${storm.configPath}.last-good`, storm.good)
      await breakConfig(storm)
    },
    later: [],
    exits: [1, 0, 0, 0, 0, 0],
    starts: 1,
    told: [/openclaw\.json/],
    ends: 'live',
  },
  {
    name: 'its port is changed by a valid edit, and it crashes',
    noise: FLOOD,
    first: async (storm) => {
      otherPort = await freePort()
      editLongAgo(storm, goodConfig(storm).replace(String(storm.port), String(otherPort)))
      await killGateway(storm)
    },
    later: [],
    exits: [0, 0, 0, 0, 0, 0, 0, 0, 0],
    starts: 1,
    told: [/OPENCLAW_GATEWAY_(?:URL|PORT)/],
    ends: 'down',
    check: async (storm) => {
      expect(await isLive(otherPort)).toBe(true)
      expect(present(storm)).toBe(storm.versions.at(-1))
    },
  },
  {
    name: 'config broken, and a secret is missing',
    absent: ['claude'],
    first: async (storm) => {
      await breakConfig(storm)
      storm.faults(SECRETS_OUT)
    },
    later: [{ at: 3, happens: (storm) => storm.start() }],
    exits: [1, 1, 0, 0, 0, 0],
    // With the config that was put back, and once more for a secret that was late.
    starts: 2,
    told: [/required secrets are unavailable/, /is back/],
    ends: 'live',
    check: (storm) => expect(present(storm)).toBe(storm.good),
  },
]
