/** The frame of every tier script: flags, settings, pause, lock, first and last line, signals, errors → exit code. */
import { fileURLToPath } from 'node:url'
import { currentIncident } from '../incidents/history.ts'
import { exitAsIn, print } from './by-hand.ts'
import { EXIT, type ExitCode, MARKER, oneLine, parseMarker, TIERS, type TierName } from './contract.ts'
import { type Journal, openJournal } from './journal.ts'
import { isLock, type Lock, lockHolder, longestRunSec, takeLock } from './lock.ts'
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
  flags: Record<string, boolean>
  /** Numbers that no line of the log tells. */
  meter: Meter
  signal: AbortSignal
  /** Registers a cleanup; the last one runs first. */
  onExit(cleanup: () => void | Promise<void>): void
  markAtWork(): void
}

interface TierScript {
  tier: TierName
  help: string
  exitCodes?: string
  flags?: Record<string, string>
  /** Level 4 has to speak even when no lock can be written. */
  runsWithoutLock?: boolean
  whilePaused?: (run: Pick<TierRun, 'settings' | 'journal'>, pause: string) => Promise<void>
  main: (run: TierRun) => Promise<Outcome>
}

export async function runTier(script: TierScript): Promise<void> {
  // `… | head` closes the pipe early; the log file still gets every line.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {})
  const unusable = await exitAsIn(script.tier, async () => {
    const meanings = { ...script.flags, 'dry-run': 'say what would be done; change nothing', help: 'print this' }
    const flags = await readFlags(Object.keys(meanings))
    if (flags.help) return print(helpOf(script, meanings))
    return runWith(script, loadSettings(), flags)
  })
  if (unusable instanceof SettingsError && !process.stdout.isTTY && !process.argv.includes('--dry-run')) {
    // A job's standard error is not read, and a typo in `.env` stops Level 4 too: the launcher needs none.
    const $ = shell({}, { timeoutSec: 30, input: unusable.message })
    await $`sh ${LAUNCHER} --cannot-start ${TIERS[script.tier].script}`
  }
}

async function readFlags(names: string[]): Promise<Record<string, boolean>> {
  if (process.argv.length === 2) return {}
  const { parseArgs } = await import('node:util')
  const options = Object.fromEntries(names.map((name) => [name, { type: 'boolean' as const, default: false }]))
  return parseArgs({ options }).values as Record<string, boolean>
}

function helpOf(script: TierScript, meanings: Record<string, string>): string {
  const lines = Object.entries(meanings).map(([name, meaning]) => `  --${name.padEnd(14)}${meaning}`)
  const codes = script.exitCodes ?? '0 healthy when I left, 1 still down: the next tier’s turn'
  const end = `Exit codes: ${codes}, 2 unusable flags or settings, 3 not acting.`
  return [script.help.trim(), '', 'Flags:', ...lines, '', end].join('\n')
}

async function runWith(script: TierScript, settings: Settings, flags: Record<string, boolean>): Promise<ExitCode> {
  const startedSec = process.uptime()
  const dryRun = flags['dry-run'] === true
  const secrets = [...settings.secrets]
  const hide = (text: string) => redact(text, secrets)
  const journal = openJournal(settings, script.tier, hide, dryRun)
  const meter = openMeter(settings, script.tier, journal, dryRun)
  if (!dryRun) countMarkers(journal, meter, settings)
  const abort = new AbortController()
  const cleanups: (() => void | Promise<void>)[] = []
  let lock: Lock | undefined
  let isAnotherAtWork = false

  const end = async (outcome: Outcome): Promise<ExitCode> => {
    for (const cleanup of cleanups.splice(0).reverse()) {
      try {
        await cleanup()
      } catch (error) {
        journal.warn(`cleanup failed: ${oneLine(String(error))}`)
      }
    }
    const seconds = process.uptime() - startedSec
    if (!isAnotherAtWork) {
      const longestSec = longestRunSec(settings, script.tier)
      meter.noteRun({ ...outcome, seconds, isPaused: pause !== undefined, longestSec })
    }
    const line = MARKER.runEnded(outcome.verdict, outcome.code, seconds)
    if (outcome.code === EXIT.down) journal.warn(line)
    else journal.info(line)
    lock?.release()
    return outcome.code
  }
  const stop = (signal: NodeJS.Signals) => {
    // A second signal (Ctrl-C, Level 2 passing its own on) must not cut the cleanup short.
    if (abort.signal.aborted) return
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
  if (pause !== undefined && !dryRun) {
    await script.whilePaused?.({ settings, journal }, pause)
    return standDown(pause)
  }

  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => stop(signal))
  try {
    if (!dryRun) {
      const taken = await takeLock(settings, script.tier).catch((error: unknown) => {
        if (!script.runsWithoutLock) throw error
      })
      isAnotherAtWork = taken !== undefined && !isLock(taken)
      if (taken && !isLock(taken))
        return await standDown(`another run is at work (pid ${taken.pid}, since ${taken.since})`)
      lock = taken ?? undefined
      const higher = await higherTierAtWork(settings, script.tier)
      if (higher !== undefined) return await standDown(higher)
    }
    if (pause !== undefined) journal.info(`dry run: would not act: ${pause}`)
    for (const problem of settings.envProblems) journal.warn(problem)
    const outcome = await script.main({
      ...{ settings, journal, secrets, hide, dryRun, flags, meter, signal: abort.signal },
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
    return await end(outcome)
  } catch (error) {
    // `stop` writes the last line and ends the process.
    if (abort.signal.aborted) return await new Promise<never>(() => {})
    return await end(describeFailure(error, settings, journal))
  }
}

function countMarkers(journal: Journal, meter: Meter, settings: Settings): void {
  for (const severity of ['info', 'warn', 'error'] as const) {
    const write = journal[severity]
    journal[severity] = (text) => {
      const marker = parseMarker(text)
      const isNew = marker?.kind === 'down' && currentIncident(settings) === undefined
      write(text)
      if (marker) meter.noteMarker(marker, isNew)
    }
  }
}

function describeFailure(error: unknown, settings: Settings, journal: Journal): Outcome {
  const { code, path = settings.watchdogDir } = error as NodeJS.ErrnoException
  if (code && ['ENOSPC', 'EDQUOT', 'EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EISDIR', 'EEXIST'].includes(code)) {
    journal.error(MARKER.manual(`${path} cannot be written (${code}); without its state this tier treats nothing`))
    return { code: EXIT.down, verdict: `cannot write (${code})` }
  }
  journal.error(`unexpected failure: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
  return { code: EXIT.down, verdict: 'failed' }
}

/** Why nothing more may be done: it was paused meanwhile, or a tier above is at work. */
export async function whyHandsOff(settings: Settings, tier: TierName): Promise<string | undefined> {
  return pauseReason(settings) ?? (await higherTierAtWork(settings, tier))
}

async function higherTierAtWork(settings: Settings, tier: TierName): Promise<string | undefined> {
  const { level } = TIERS[tier]
  for (const higher of ['emergency-recovery', 'healthcheck'] as const) {
    if (level === undefined || level >= TIERS[higher].level) continue
    const holder = await lockHolder(settings, higher)
    if (holder?.atWork) return `level ${TIERS[higher].level} is at work (pid ${holder.pid}, since ${holder.since})`
  }
  return undefined
}
