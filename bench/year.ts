/**
 * A year of ticks on a simulated clock: the real scripts with all their decisions, state files and logs, run inside this
 * process one after the other as launchd and cron would start them, against the stand-in gateway and a strict stand-in
 * for Discord. What is bounded must come out bounded: restarts, messages, files, bytes.
 *
 * Simulated are the clock, most quiet hours (every tick is run on one day in eight weeks, and from an hour before each fault
 * until it is over; otherwise one in thirty), fsync, and Level 3, which only says that a human is needed.
 */
import fs, {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { localDay, localIso, localStamp, parseDeed, parseLine, parseMarker } from '../lib/tier/contract.ts'
import { createSandbox, projectDir, type Sandbox, waitFor } from '../test/support/sandbox.ts'
import { startStranger } from '../test/support/stranger.ts'
import { startWebhookReceiver } from '../test/support/webhook-receiver.ts'
import { publish } from './figures.ts'

const MINUTE_MS = 60_000
const DAY_MS = 24 * 60 * MINUTE_MS

/** Script → minutes between two runs, and the minute in which the first one falls. */
const SCHEDULE: readonly [script: string, everyMin: number, atMin: number][] = [
  ['gateway-watchdog', 3, 0],
  ['gateway-healthcheck', 5, 1],
  ['emergency-recovery-monitor', 5, 2],
  ['watchdog-guardian', 5, 2],
]

/** What happens on which days: something every few days, and once an outage that lasts until a human comes. */
const FAULTS = [
  { name: 'crash', every: 6, on: 1 },
  { name: 'hang', every: 15, on: 7 },
  { name: 'broken config', every: 30, on: 12 },
  { name: 'channels down for two hours', every: 20, on: 3 },
  { name: 'stranger on the port for three hours', every: 120, on: 60 },
] as const

/** @param days how long the year is */
export async function simulateYear(days: number): Promise<void> {
  const receiver = await startWebhookReceiver()
  const box = await createSandbox({ settings: { DISCORD_WEBHOOK_URL: receiver.url, OPENCLAW_STOP_GRACE: '1' } })
  const clock = simulatedClock(Date.now() - days * DAY_MS)
  try {
    const tiers = await loadTiers(box)
    await box.startGateway()
    installReceipt(box)
    const year = await live(box, tiers, clock, days)
    report(year, receiver.delivered().length)
  } finally {
    clock.stop()
    await box.close()
    await receiver.close()
  }
}

/** Twenty hours are left for what follows. */
const FAULT_AT_MIN = 240

interface Year {
  ticks: number
  faults: Record<string, number>
  /** Marked lines in the logs, by kind. */
  lines: Record<string, number>
  /** What the folders held at the end of each week. */
  weeks: { stateBytes: number; stateFiles: number; logBytes: number; logFiles: number }[]
  /** Bytes of the daily logs of days on which every tick was run. */
  wholeDays: number[]
  /** `<script> <exit code>` → runs. */
  exits: Record<string, number>
}

async function live(box: Sandbox, tiers: Tiers, clock: Clock, days: number): Promise<Year> {
  const year: Year = { ticks: 0, faults: {}, lines: {}, weeks: [], wholeDays: [], exits: {} }
  const levelThreeSaid = levelThreeReader(box)
  const begin = clock.now()
  for (let day = 0; day < days; day++) {
    const fault = FAULTS.find(({ every, on }) => day % every === on)
    let end: { atMin: number; undo: () => void } | undefined
    let wholeUntilMin = day % 56 === 0 ? Number.POSITIVE_INFINITY : 0
    for (let minute = 0; minute < 24 * 60; minute++) {
      if (fault && minute === FAULT_AT_MIN) {
        year.faults[fault.name] = (year.faults[fault.name] ?? 0) + 1
        end = await produce(box, fault.name)
        wholeUntilMin = Math.max(wholeUntilMin, (end?.atMin ?? minute) + 60)
      }
      if (end && minute >= end.atMin) {
        end.undo()
        end = undefined
      }
      for (const [script, everyMin, atMin] of SCHEDULE) {
        const isRun = minute < wholeUntilMin || (fault && minute >= FAULT_AT_MIN - 60 && minute < FAULT_AT_MIN)
        if (minute % (isRun ? everyMin : everyMin * 30) !== atMin) continue
        clock.set(begin + day * DAY_MS + minute * MINUTE_MS)
        const { code, lines } = await tiers[script]!(clock)
        settleTimes(box, clock.now())
        year.ticks++
        year.exits[`${script} ${code}`] = (year.exits[`${script} ${code}`] ?? 0) + 1
        for (const kind of [...lines, ...levelThreeSaid()].flatMap(kindOf))
          year.lines[kind] = (year.lines[kind] ?? 0) + 1
      }
    }
    if (day % 7 === 6) year.weeks.push(sizes(box))
    if (day % 56 === 0) year.wholeDays.push(logBytesOf(box, localDay(new Date(clock.now()))))
  }
  return year
}

/** @returns what ends it, for what the tiers do not end */
async function produce(box: Sandbox, name: (typeof FAULTS)[number]['name']) {
  const kill = async () => {
    for (const pid of box.processes()) process.kill(pid, 'SIGKILL')
    await waitFor(() => box.processes().length === 0, 'the end of the gateway')
  }
  switch (name) {
    case 'crash':
      return void (await kill())
    case 'hang':
      for (const pid of box.processes()) process.kill(pid, 'SIGSTOP')
      return undefined
    case 'broken config':
      await kill()
      return void box.writeConfig('{ broken')
    case 'channels down for two hours':
      box.setFaults({ suppressed: ['discord'] })
      return { atMin: FAULT_AT_MIN + 120, undo: () => box.setFaults({}) }
    case 'stranger on the port for three hours': {
      await kill()
      const stranger = await startStranger(box)
      return { atMin: FAULT_AT_MIN + 180, undo: stranger.end }
    }
  }
}

function kindOf(line: string): string[] {
  const text = parseLine(line)?.text
  if (text === undefined) return []
  const kind = parseDeed(text)?.kind ?? parseMarker(text)?.kind
  return kind && !kind.startsWith('run-') ? [kind] : []
}

/** What Level 3's logs say that they did not at the call before: in the course of the year they are thrown away. */
function levelThreeReader({ memoryDir, memoryFiles }: Sandbox): () => string[] {
  const linesRead = new Map<string, number>()
  return () =>
    memoryFiles('emergency-recovery-')
      .filter((name) => /^emergency-recovery-[\d-]+\.log$/.test(name))
      .flatMap((name) => {
        const lines = readFileSync(join(memoryDir, name), 'utf8').split('\n').filter(Boolean)
        const fresh = lines.slice(linesRead.get(name) ?? 0)
        linesRead.set(name, lines.length)
        return fresh
      })
}

type Tiers = Record<string, (clock: Clock) => Promise<{ code: number; lines: string[] }>>

/** The scripts as functions: the same text, but that `await runTier(…)` waits to be called. */
async function loadTiers(box: Sandbox): Promise<Tiers> {
  Object.assign(process.env, { ...box.env, NODE_NO_WARNINGS: '1' })
  process.argv.splice(2)
  const levelThree = join(box.root, 'level-three.sh')
  writeFileSync(
    levelThree,
    `printf '[%s] [emergency-recovery] [ERROR] MANUAL INTERVENTION REQUIRED: simulated\n' "$SIMULATED_TIME" >>"${box.memoryDir}/emergency-recovery-$SIMULATED_STAMP.log"\nexit 1\n`,
  )
  const folder = mkdtempSync(join(tmpdir(), 'bench-year-'))
  const tiers: Tiers = {}
  for (const [script] of SCHEDULE) {
    const text = readFileSync(join(projectDir, 'scripts', `${script}.ts`), 'utf8')
      .replaceAll("'../lib/", `'${pathToFileURL(projectDir).href}/lib/`)
      .replaceAll("import('execa')", `import('${import.meta.resolve('execa')}')`)
      .replace("new URL('./run-tier.sh', import.meta.url)", `new URL('${pathToFileURL(levelThree).href}')`)
      .replace('await runTier({', 'export const tick = () => runTier({')
    const file = join(folder, `${script}.ts`)
    writeFileSync(file, text)
    const { tick } = (await import(pathToFileURL(file).href)) as { tick: () => Promise<void> }
    tiers[script] = async (clock) => {
      Object.assign(process.env, {
        SIMULATED_TIME: localIso(new Date(clock.now())),
        SIMULATED_STAMP: localStamp(new Date(clock.now())),
      })
      const write = process.stdout.write
      let said = ''
      process.stdout.write = (text: string | Uint8Array) => {
        said += text
        return true
      }
      try {
        await tick()
      } finally {
        process.stdout.write = write
        for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP', 'error']) process.removeAllListeners(name)
        for (const stream of [process.stdout, process.stderr]) stream.removeAllListeners('error')
      }
      const code = Number(process.exitCode ?? 0)
      process.exitCode = 0
      return { code, lines: said.split('\n') }
    }
  }
  rmSync(folder, { recursive: true, force: true })
  return tiers
}

/** Installed, by cron alone: the watchers look at each other, and have no launchd or systemd to ask. */
function installReceipt({ stateDir }: Sandbox): void {
  mkdirSync(join(stateDir, 'watchdog'), { recursive: true })
  const receipt = {
    installedAt: new Date().toISOString(),
    root: projectDir,
    scheduler: 'cron',
    cronLines: [],
    entries: [],
  }
  writeFileSync(join(stateDir, 'watchdog', 'receipt.json'), JSON.stringify(receipt))
}

/** What was written just now was written in simulated time. */
function settleTimes(box: Sandbox, nowMs: number): void {
  for (const name of box.memoryFiles()) {
    const path = join(box.memoryDir, name)
    if (statSync(path).mtimeMs > nowMs) utimesSync(path, nowMs / 1000, nowMs / 1000)
  }
}

function logBytesOf({ memoryDir, memoryFiles }: Sandbox, day: string): number {
  return memoryFiles()
    .filter((name) => name.includes(day))
    .reduce((sum, name) => sum + statSync(join(memoryDir, name)).size, 0)
}

function sizes(box: Sandbox) {
  const of = (folder: string) =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .map((name) => statSync(join(folder, name)))
      .filter((stat) => stat.isFile())
      .map(({ size }) => size)
  const state = of(join(box.stateDir, 'watchdog'))
  const logs = of(box.memoryDir)
  const sum = (numbers: number[]) => numbers.reduce((a, b) => a + b, 0)
  return { stateBytes: sum(state), stateFiles: state.length, logBytes: sum(logs), logFiles: logs.length }
}

interface Clock {
  now(): number
  set(ms: number): void
  stop(): void
}

/** `Date` runs on from the time that was set last; and nothing waits for the disk. */
function simulatedClock(startMs: number): Clock {
  const RealDate = Date
  const { fsyncSync } = fs
  let offsetMs = startMs - RealDate.now()
  const now = () => RealDate.now() + offsetMs
  globalThis.Date = new Proxy(RealDate, {
    construct: (target, args) => (args.length === 0 ? new target(now()) : Reflect.construct(target, args)),
    get: (target, name) => (name === 'now' ? now : Reflect.get(target, name)),
  })
  fs.fsyncSync = () => {}
  syncBuiltinESMExports()
  return {
    now,
    set: (ms) => {
      offsetMs = ms - RealDate.now()
    },
    stop: () => {
      globalThis.Date = RealDate
      fs.fsyncSync = fsyncSync
      syncBuiltinESMExports()
    },
  }
}

function report(year: Year, messages: number): void {
  const largest = (key: keyof Year['weeks'][number], weeks: Year['weeks']) =>
    Math.max(...weeks.map((week) => week[key]))
  const half = Math.floor(year.weeks.length / 2)
  const [first, second] = [year.weeks.slice(0, half), year.weeks.slice(half)]
  const count = (kind: string) => year.lines[kind] ?? 0
  const rows = [
    ['', 'in the year'],
    ['ticks run', year.ticks],
    ...Object.entries(year.faults).map(([name, times]) => [`fault: ${name}`, times]),
    ['restarts and starts', count('restart')],
    ['calls for a human in the logs', count('manual')],
    ['messages to a human', messages],
    ['state, largest, first half-year', `${largest('stateFiles', first)} files, ${largest('stateBytes', first)} bytes`],
    [
      'state, largest, second half-year',
      `${largest('stateFiles', second)} files, ${largest('stateBytes', second)} bytes`,
    ],
    ['logs of a whole day, bytes', `${Math.min(...year.wholeDays)} to ${Math.max(...year.wholeDays)}`],
    ['logs, largest, first half-year', `${largest('logFiles', first)} files, ${largest('logBytes', first)} bytes`],
    ['logs, largest, second half-year', `${largest('logFiles', second)} files, ${largest('logBytes', second)} bytes`],
  ]
  publish('year', 'A simulated year', { ...year, messages }, rows)
}
