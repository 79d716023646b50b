/** The frame of every tier script: flags, settings, pause, lock, first and last line, signals, errors → exit code. */
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { currentIncident } from '../incidents/history.ts'
import { awakeSec } from './awake.ts'
import { exitAsIn, print } from './by-hand.ts'
import { EXIT, type ExitCode, MARKER, NEEDS_ATTENTION, oneLine, parseMarker, TIERS, type TierName } from './contract.ts'
import { type Journal, openJournal, readTail } from './journal.ts'
import { isLock, type Lock, lockHolder, longestRunSec, readLock, takeLock } from './lock.ts'
import { type Meter, openMeter } from './metrics.ts'
import { pauseReason } from './pause.ts'
import { redact } from './redact.ts'
import { loadSettings, type Settings, SettingsError } from './settings.ts'
import { endRunningCommands, shell } from './shell.ts'

export const LAUNCHER = fileURLToPath(new URL('../../scripts/run-tier.sh', import.meta.url))

/** `verdict` is for the last line: `healthy` only if the gateway was seen healthy. */
export interface Outcome {
  code: ExitCode
  verdict: string
}

export interface TierRun {
  settings: Settings
  journal: Journal
  /** What `hide` and the log leave out; a tier may add to it. */
  secrets: string[]
  hide: (text: string) => string
  dryRun: boolean
  pause: string | undefined
  flags: Record<string, boolean>
  meter: Meter
  signal: AbortSignal
  onExit(cleanup: () => void | Promise<void>): void
  markAtWork(): void
}

interface TierScript {
  tier: TierName
  help: string
  exitCodes?: string
  flags?: Record<string, string>
  main: (run: TierRun) => Promise<Outcome>
}

export async function runTier(script: TierScript): Promise<void> {
  // `… | head` closes the pipe early; the log file still gets every line.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})
  const unusable = await exitAsIn(script.tier, async () => {
    const meanings = { ...script.flags, 'dry-run': 'say what would be done; change nothing', help: 'print this' }
    const flag = { type: 'boolean', default: false } as const
    const options = Object.fromEntries(Object.keys(meanings).map((name) => [name, flag]))
    const flags = parseArgs({ options }).values as Record<string, boolean>
    if (flags.help) return print(helpOf(script, meanings))
    return runWith(script, loadSettings(), flags)
  })
  if (unusable instanceof SettingsError && !process.stdout.isTTY && !process.argv.includes('--dry-run')) {
    // A job's standard error is not read, and a typo in `.env` stops Level 4 too: the launcher needs none.
    const $ = shell({}, { timeoutSec: 30, input: unusable.message })
    await $`sh ${LAUNCHER} --cannot-start ${TIERS[script.tier].script}`
  }
}

function helpOf(script: TierScript, meanings: Record<string, string>): string {
  const lines = Object.entries(meanings).map(([name, meaning]) => `  --${name.padEnd(14)}${meaning}`)
  const codes = script.exitCodes ?? '0 healthy when I left, 1 still down: the next tier’s turn'
  const end = `Exit codes: ${codes}, 2 unusable flags or settings, 3 not acting.`
  return [script.help.trim(), '', 'Flags:', ...lines, '', end].join('\n')
}

async function runWith(script: TierScript, settings: Settings, flags: Record<string, boolean>): Promise<ExitCode> {
  const startedSec = awakeSec()
  const dryRun = flags['dry-run'] === true
  const secrets = [...settings.secrets]
  const hide = (text: string) => redact(text, secrets)
  const journal = openJournal(settings, script.tier, hide, dryRun)
  const meter = openMeter(settings, script.tier, journal, dryRun)
  let isHumanNeeded = false
  if (!dryRun) countMarkers(journal, meter, settings, () => (isHumanNeeded = true))
  const abort = new AbortController()
  const cleanups: (() => void | Promise<void>)[] = []
  let lock: Lock | undefined
  let isAnotherAtWork = false
  let isEnding = false

  const end = async (outcome: Outcome): Promise<ExitCode> => {
    isEnding = true
    for (const cleanup of cleanups.splice(0).reverse()) {
      try {
        await cleanup()
      } catch (error) {
        journal.warn(`cleanup failed: ${oneLine(String(error))}`)
      }
    }
    const seconds = awakeSec() - startedSec
    if (!isAnotherAtWork) {
      const longestSec = longestRunSec(settings, script.tier)
      meter.noteRun({ ...outcome, seconds, isPaused: pause !== undefined, longestSec })
    }
    journal[outcome.code === EXIT.down ? 'warn' : 'info'](MARKER.runEnded(outcome.verdict, outcome.code, seconds))
    lock?.release()
    if (isHumanNeeded && script.tier !== 'monitor') await callHuman(settings)
    return outcome.code
  }
  const stop = (signal: NodeJS.Signals) => {
    // A second signal (Ctrl-C, Level 2 passing its own on) must not cut the cleanup short, nor one the call to a human.
    if (isEnding) return
    abort.abort()
    endRunningCommands()
    void end({ code: EXIT.down, verdict: `stopped by ${signal}` }).then((code) => process.exit(code))
  }

  const pause = pauseReason(settings)
  const standDown = async (why: string) => {
    journal.info(`not acting: ${why}`)
    return end({ code: EXIT.stoodDown, verdict: 'stood down' })
  }
  journal.info(MARKER.runStarted(process.pid))
  // Level 4 tells what was done before the pause, and has to speak even when no lock can be written.
  const isSpeaker = script.tier === 'monitor'
  if (pause !== undefined && !dryRun && !isSpeaker) return standDown(pause)

  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => stop(signal))
  try {
    if (!dryRun) {
      const taken = await takeLock(settings, script.tier).catch((error: unknown) => {
        if (!isSpeaker) throw error
      })
      isAnotherAtWork = taken !== undefined && !isLock(taken)
      if (taken && !isLock(taken))
        return await standDown(`another run is at work (pid ${taken.pid}, since ${taken.since})`)
      lock = taken ?? undefined
      const higher = await higherTierAtWork(settings, script.tier)
      if (higher !== undefined) return await standDown(higher)
    }
    if (pause !== undefined && dryRun) journal.info(`dry run: would not act: ${pause}`)
    // Once a day, in the log that begins with it.
    const said = settings.envProblems.length > 0 ? readTail(journal.path, 4 << 20) : ''
    for (const problem of settings.envProblems) if (!said.includes(hide(problem))) journal.warn(problem)
    const outcome = await script.main({
      ...{ settings, journal, secrets, hide, dryRun, pause, flags, meter, signal: abort.signal },
      onExit: (cleanup) => {
        if (abort.signal.aborted) void cleanup()
        else cleanups.push(cleanup)
      },
      markAtWork: () => {
        lock?.markAtWork()
        // A Mac that sleeps would use up the time limits of Levels 2 and 3.
        void shell(settings)`caffeinate -i -w ${process.pid} >/dev/null 2>&1 &`
        meter.set('atWork', 1)
        meter.flush()
      },
    })
    if (!abort.signal.aborted) return await end(outcome)
  } catch (error) {
    if (!abort.signal.aborted) return await end(describeFailure(error, settings, journal))
  }
  // `stop` writes the last line and ends the process.
  return new Promise<never>(() => {})
}

/** The call to a human does not wait for cron. One that is at work may have read the logs before the last words came. */
async function callHuman(settings: Settings): Promise<void> {
  const deadline = performance.now() + 40_000
  for (;;) {
    const { code } = await shell(settings, { timeoutSec: 50 })`sh ${LAUNCHER} ${TIERS.monitor.script} --called`
    if (code !== EXIT.stoodDown || pauseReason(settings) || performance.now() > deadline) return
    await delay(1000)
  }
}

function countMarkers(journal: Journal, meter: Meter, settings: Settings, callHuman: () => void): void {
  for (const severity of ['info', 'warn', 'error'] as const) {
    const write = journal[severity]
    journal[severity] = (text) => {
      const marker = parseMarker(text)
      const isNew = marker?.kind === 'down' && currentIncident(settings) === undefined
      write(text)
      if (marker) meter.noteMarker(marker, isNew)
      const isUrgent = marker?.kind === 'notice' && marker.what.startsWith(NEEDS_ATTENTION)
      if (marker?.kind === 'manual' || isUrgent) callHuman()
    }
  }
}

function describeFailure(error: unknown, settings: Settings, journal: Journal): Outcome {
  const { code, path = settings.watchdogDir } = error as NodeJS.ErrnoException
  if (code && ['ENOSPC', 'EDQUOT', 'EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EISDIR', 'EEXIST'].includes(code)) {
    const isState = path.startsWith(settings.watchdogDir)
    const so = isState ? 'cannot be written; without its state this tier treats nothing' : 'cannot be read or written'
    journal.error(MARKER.manual(`${path} ${so} (${code})`))
    return { code: EXIT.down, verdict: `cannot write (${code})` }
  }
  journal.error(`unexpected failure: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
  return { code: EXIT.down, verdict: 'failed' }
}

/** Why nothing more may be done: another run took its place, it was paused meanwhile, or a tier above is at work. */
export async function whyHandsOff(settings: Settings, tier: TierName): Promise<string | undefined> {
  if (readLock(settings, tier)?.pid !== process.pid)
    return 'its lock was taken away, as from one that is stopped or hangs'
  return pauseReason(settings) ?? (await higherTierAtWork(settings, tier))
}

async function higherTierAtWork(settings: Settings, tier: TierName): Promise<string | undefined> {
  const { level } = TIERS[tier]
  for (const higher of ['emergency-recovery', 'healthcheck'] as const) {
    if (level === undefined || level >= TIERS[higher].level) continue
    const holder = readLock(settings, higher)?.atWork ? await lockHolder(settings, higher, true) : undefined
    if (holder) return `level ${TIERS[higher].level} is at work (pid ${holder.pid}, since ${holder.since})`
  }
  return undefined
}
