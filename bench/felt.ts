/**
 * `npm run bench:felt [-- --rounds N] [--only <case>,…] [--logs <folder>]`: what its user feels, in real time: the seconds
 * from a fault until the real OpenClaw is healthy again, and until the human has a message. On a machine of its own with a
 * real systemd and cron (needs root), with default settings; only the installed jobs start a tier. The faults of the
 * rounds come at moments that are spread over the minute. Before each round the gateway is started and its boot measured,
 * and the watchers forget what was (logs, backoff, alerts), but for their known-good configs.
 *
 * A stopped run keeps what it has; `--only` keeps the other cases' rows. `--logs` copies the tiers' logs of each round.
 */
import { execFileSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { lockedPid } from '../test/faults/scene.ts'
import { openclawBin } from '../test/real/parts.ts'
import { bootPatientMachine, CHECKOUT } from '../test/real/patient-machine.ts'
import { USER } from '../test/support/container.ts'
import { waitFor } from '../test/support/wait-for.ts'
import type { Sight } from './felt-witness.ts'
import { publish, publishedRows, spread } from './figures.ts'

interface Case {
  name: string
  fault: () => Promise<unknown>
  /** It runs as a plain process; else as its own user service. */
  isBare?: boolean
  hasDoctor?: boolean
  /** What is aimed at: healthy within its boot and these seconds, or a human told. */
  aboveBootSec?: number
  toldSec?: number
}

const kill = () => signal('KILL')
const damage = async () => {
  rmSync(join(modules, PART), { recursive: true })
  await kill()
}
/** Those of a plain process come first: it becomes a service then. */
const CASES: Record<string, Case> = {
  'crash-bare': { name: 'kill -9, a plain process', fault: kill, isBare: true, aboveBootSec: 20 },
  'crash-supervised': { name: 'kill -9, a systemd service', fault: kill, aboveBootSec: 20 },
  hang: { name: 'SIGSTOP', fault: () => signal('STOP'), aboveBootSec: 50 },
  config: { name: 'broken config and kill -9', fault: breakConfig, aboveBootSec: 25 },
  package: { name: 'damaged package and kill -9, a scripted doctor and npm', fault: damage, hasDoctor: true },
  stranger: { name: 'kill -9, a stranger takes its port', fault: giveAwayPort, toldSec: 60 },
  'no-doctor': { name: 'damaged package and kill -9, no doctor', fault: damage, toldSec: 60 },
}
const HEAD = ['seconds, median (worst)', 'rounds', 'its own boot', 'healthy again', 'human told', 'aim', 'reached']
const UNIT = 'openclaw-gateway.service'
const TIMERS = ['com.openclaw.watchdog.timer', 'com.openclaw.healthcheck.timer']
/** Its boot needs this part of the package. */
const PART = '@openclaw'
const REPORT = { symptom: 'A module is missing.', root_cause: 'A damaged package.', fix: 'It was installed again.' }
const KEPT = ['known-good', 'launcher', 'receipt.json', 'compile-cache']

const options = {
  rounds: { type: 'string', default: '5' },
  only: { type: 'string' },
  logs: { type: 'string' },
} as const
const { values } = parseArgs({ options })
const chosen = values.only?.split(',') ?? Object.keys(CASES)
const unknown = chosen.find((id) => !(id in CASES))
if (unknown) throw new Error(`no case ${unknown}; there are ${Object.keys(CASES).join(', ')}`)

// The package below is shared, and is damaged: the machine sees a copy of its own.
const scratch = mkdtempSync('/var/tmp/felt-')
const modules = join(scratch, 'node_modules')
const whole = dirname(dirname(openclawBin))
for (const folder of ['upper', 'work', 'node_modules']) mkdirSync(join(scratch, folder))
const layers = `lowerdir=${whole},upperdir=${join(scratch, 'upper')},workdir=${join(scratch, 'work')}`
execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', layers, modules])
const machine = await bootPatientMachine('systemd', {}, modules).finally(() => process.on('exit', removeCopy))
const { must, tries, home } = machine
const config = readFileSync(machine.configPath, 'utf8').trimEnd()
const systemctl = (...args: string[]) => must('systemctl', '--user', ...args)
const inBackground = (command: string) => must('sh', '-c', `nohup setsid ${command} >/dev/null 2>&1 &`)
let isSetUp = false
for (const name of ['SIGINT', 'SIGTERM'] as const)
  process.once(name, () => void machine.stop().then(() => process.exit(1)))
try {
  await must('mkdir', ...['witness', 'bin', 'doctor'].map((name) => `${USER.home}/${name}`))
  await inBackground(`node ${CHECKOUT}/bench/felt-witness.ts ${USER.home}/witness`)
  const url = join(home, 'witness', 'url')
  await waitFor(() => existsSync(url), 'the witness')
  writeFileSync(join(machine.stateDir, '.env'), `DISCORD_WEBHOOK_URL=${readFileSync(url, 'utf8')}\n`)
  const rows = values.only ? publishedRows('felt') : new Map<string, unknown[]>()
  for (const id of Object.keys(CASES).filter((one) => chosen.includes(one))) {
    const rounds: Awaited<ReturnType<typeof play>>[] = []
    while (rounds.length < Number(values.rounds)) {
      rounds.push(await play(CASES[id]!, rounds.length))
      if (values.logs) cpSync(machine.memoryDir, join(values.logs, `${id}-${rounds.length}`), { recursive: true })
      rows.set(CASES[id]!.name, rowOf(CASES[id]!, rounds))
      const inOrder = Object.values(CASES).flatMap(({ name }) => (rows.has(name) ? [rows.get(name)!] : []))
      publish('felt', `From the fault on, the real OpenClaw, default settings, real time`, HEAD, inOrder)
    }
  }
} finally {
  await machine.stop()
}

function removeCopy(): void {
  execFileSync('umount', ['-l', modules])
  rmSync(scratch, { recursive: true })
}

/** One round; in seconds. */
async function play(one: Case, round: number) {
  // A boot on a busy machine may give up by itself.
  const bootSec = await startAgain(one).catch(() => startAgain(one))
  // The first minute of the jobs is over then: it begins with a tick. The golden ratio spreads any number of rounds.
  await delay((60 + ((0.5 + round * 0.618) % 1) * 60) * 1000)
  const faultMs = Date.now()
  await one.fault()
  const find = () => {
    if (existsSync(join(home, 'npm-was-called'))) mendPackage()
    const since = sights().filter(({ atMs }) => atMs > faultMs)
    const told = since.find((sight) => sight.told !== undefined)
    const changes = since.filter(({ isUp }) => isUp !== undefined)
    const last = changes.at(-1)
    const back = changes[0]?.isUp === false && last?.isUp && Date.now() - last.atMs > 20_000 ? last : undefined
    return (one.toldSec ? told : back) && { told, back }
  }
  const { told, back } = await waitFor(find, `${one.name}: its end`, 1_800_000)
  const secondsTo = (sight?: Sight) => sight && (sight.atMs - faultMs) / 1000
  return { bootSec, healthySec: secondsTo(back), toldSec: secondsTo(told) }
}

function rowOf({ name, aboveBootSec, toldSec }: Case, rounds: Awaited<ReturnType<typeof play>>[]): unknown[] {
  const figures = (pick: (round: (typeof rounds)[number]) => number | undefined) =>
    spread(rounds.flatMap((one) => pick(one) ?? []))
  const [boot, healthy, told] = [figures((r) => r.bootSec), figures((r) => r.healthySec), figures((r) => r.toldSec)]
  const cell = ({ median, worst }: typeof boot) => (median === undefined ? '' : `${median} (${worst})`)
  const aim = aboveBootSec ? `healthy ≤ boot + ${aboveBootSec}` : toldSec ? `told ≤ ${toldSec}` : ''
  const isReached = aboveBootSec ? healthy.median <= boot.median + aboveBootSec : told.median <= (toldSec ?? 0)
  return [name, rounds.length, cell(boot), cell(healthy), cell(told), aim, aim && (isReached ? 'yes' : 'no')]
}

function sights(): Sight[] {
  const lines = readFileSync(join(home, 'witness', 'sights'), 'utf8')
    .split('\n')
    .slice(0, -1)
  return lines.map((line) => JSON.parse(line))
}

async function signal(name: string): Promise<void> {
  await must('kill', `-${name}`, String(lockedPid(machine.stateDir, USER.uid)))
}

async function breakConfig(): Promise<void> {
  machine.writeConfig('{ gateway: { mode: "local", // and then the power went\n')
  await kill()
}

async function giveAwayPort(): Promise<void> {
  await inBackground("sh -c 'until python3 -m http.server 18789 --bind 127.0.0.1; do :; done'")
  await kill()
}

function mendPackage(): void {
  rmSync(join(home, 'npm-was-called'), { force: true })
  if (existsSync(join(modules, PART))) return
  cpSync(join(whole, PART), join(modules, 'new'), { recursive: true })
  renameSync(join(modules, 'new'), join(modules, PART))
}

function writeTool(name: string, script: string): void {
  writeFileSync(join(home, 'bin', name), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
}

/** Everything as it was, the gateway healthy, the jobs at work. Returns the seconds of its boot. */
async function startAgain({ isBare, hasDoctor }: Case): Promise<number> {
  if (isSetUp) {
    await machine.runAsRoot(['systemctl', 'stop', 'cron'])
    await systemctl('stop', ...TIMERS, ...TIMERS.map((timer) => timer.replace('timer', 'service')))
  }
  await tries('pkill', '-9', '-f', 'http.server')
  await tries('pkill', '-9', '-x', 'openclaw-gatewa')
  mendPackage()
  machine.writeConfig(`${config}\n`)
  // Without the minute that a download takes.
  const npm = `touch ~/npm-was-called; until [ -d /opt/openclaw/node_modules/${PART} ]; do sleep 0.2; done; echo changed`
  writeTool('npm', npm)
  writeTool('claude', `STAND_IN_CONTROL=~/doctor exec node ${CHECKOUT}/test/support/scripted-doctor.mjs "$@"`)
  if (!hasDoctor) rmSync(join(home, 'bin', 'claude'))
  const steps = ['reinstall_package', 'start_gateway', 'wait_until_healthy'].map((call) => ({ call }))
  writeFileSync(join(home, 'doctor', 'doctor.json'), JSON.stringify({ steps, report: REPORT }))

  if (!isBare && !existsSync(join(home, '.config/systemd/user', UNIT))) await must('openclaw', 'gateway', 'install')
  if (!isBare) {
    await systemctl('stop', UNIT)
    await tries('systemctl', '--user', 'reset-failed', UNIT)
  }
  await waitFor(() => sights().findLast((sight) => sight.isUp !== undefined)?.isUp === false, 'its end')
  const startedMs = Date.now()
  await (isBare ? inBackground('openclaw gateway run') : systemctl('start', UNIT))
  const up = await waitFor(() => sights().find(({ atMs, isUp }) => atMs > startedMs && isUp), 'the gateway', 300_000)
  const isStarted = async () =>
    (await tries('curl', '-s', 'http://127.0.0.1:18789/startupz')).stdout.includes('"started"')
  await waitFor(isStarted, 'its start', 300_000)
  await machine.ageBoots()

  for (const folder of [machine.watchdogDir, machine.memoryDir].filter(existsSync))
    for (const name of readdirSync(folder).filter((one) => !KEPT.includes(one)))
      rmSync(join(folder, name), { recursive: true })
  if (isSetUp) await systemctl('start', ...TIMERS)
  else await must('node', `${CHECKOUT}/install.ts`, '--yes')
  isSetUp = true
  await machine.runAsRoot(['systemctl', 'start', 'cron'])
  for (const tier of ['watchdog', 'healthcheck']) await machine.waitUntilRun(tier)
  return (up.atMs - startedMs) / 1000
}
