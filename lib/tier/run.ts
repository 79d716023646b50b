/** The frame of every tier script: flags, settings, pause, lock, first and last line, signals, errors → exit code. */
import { fileURLToPath } from 'node:url'
import { currentIncident } from '../incidents/history.ts'
import { EXIT, type ExitCode, MARKER, oneLine, parseMarker, TIERS, type TierName } from './contract.ts'
import { type Journal, openJournal } from './journal.ts'
import { isLock, type Lock, type LockHolder, lockHolder, longestRunSec, takeLock } from './lock.ts'
import { type Meter, noteMarker, noteRun, openMeter } from './metrics.ts'
import { pauseReason } from './pause.ts'

import { loadSettings, type Settings, SettingsError } from './settings.ts'
import { endRunningCommands, shell } from './shell.ts'

/** How a run ended: its exit code, and the verdict for the log's last line (`healthy` only if it was seen healthy). */
export interface Outcome {
  code: ExitCode
  verdict: string
}

/** What a tier's `main` works with. */
export interface TierRun {
  settings: Settings
  journal: Journal
  /** Examine and say what would be done; change nothing. */
  dryRun: boolean
  /** The tier's own flags, beside --help and --dry-run; true when given. */
  flags: Record<string, boolean>
  /** The numbers for Prometheus that no line of the log tells. */
  meter: Meter
  /** Aborted when the tier is told to stop (SIGTERM, SIGINT, SIGHUP). */
  signal: AbortSignal
  /** Registers something to undo when the run ends, however it ends (SIGKILL excepted). Last registered, first run. */
  onExit(cleanup: () => void | Promise<void>): void
  /** Says in the lock that this tier now treats the gateway, so that lower tiers stand down. */
  markAtWork(): void
}

export interface TierScript {
  tier: TierName
  /** What --help prints above the flags. */
  help: string
  /** What exit codes 0 and 1 mean, for a tier that does not treat the gateway. */
  exitCodes?: string
  /** Flags of this tier's own: name → meaning. */
  flags?: Record<string, string>
  /** True for Level 4, which has to speak exactly when nothing, the lock included, can be written. */
  runsWithoutLock?: boolean
  /** What is done although everything is paused, before the tier stands down. */
  whilePaused?: (run: Pick<TierRun, 'settings' | 'journal'>, pause: string) => Promise<void>
  /** Takes secrets out of everything that is logged; `secrets` are the known values. */
  redact: (text: string, secrets: readonly string[]) => string
  main: (run: TierRun) => Promise<Outcome>
}

/** Runs a tier's script. Sets `process.exitCode`; never throws. */
export async function runTier(script: TierScript): Promise<void> {
  // `… | head` closes the pipe early; the log file still gets every line.
  process.stdout.on('error', () => {})
  process.stderr.on('error', () => {})
  const flags = await readFlags(script)
  if (flags === undefined) return
  let settings: Settings
  try {
    settings = loadSettings()
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error
    process.stderr.write(`${script.tier}: ${error.message}\n`)
    process.exitCode = EXIT.unusable
    if (!process.stdout.isTTY && !flags['dry-run']) await tellByLauncher(script.tier, error.message)
    return
  }
  process.exitCode = await runWith(script, settings, flags)
}

/**
 * A job's standard error is read by no one, and one typo in `.env` stops Level 4 too: the launcher, which needs no
 * settings of ours, writes it into the tier's log and tells the human, once an hour per cause.
 */
async function tellByLauncher(tier: TierName, cause: string): Promise<void> {
  const launcher = fileURLToPath(new URL('../../scripts/run-tier.sh', import.meta.url))
  await shell({}, { timeoutSec: 30, input: cause })`sh ${launcher} --cannot-start ${TIERS[tier].script}`
}

async function readFlags(script: TierScript): Promise<Record<string, boolean> | undefined> {
  const own = script.flags ?? {}
  // As it is scheduled: node:util need not be loaded.
  if (process.argv.length === 2) return {}
  const { parseArgs } = await import('node:util')
  try {
    const { values } = parseArgs({
      options: Object.fromEntries(
        ['help', 'dry-run', ...Object.keys(own)].map((name) => [name, { type: 'boolean' as const, default: false }]),
      ),
    })
    if (!values.help) return values as Record<string, boolean>
    process.stdout.write(`${helpText(script, own)}\n`)
    process.exitCode = EXIT.healthy
  } catch (error) {
    process.stderr.write(`${script.tier}: ${(error as Error).message}\nTry --help.\n`)
    process.exitCode = EXIT.unusable
  }
  return undefined
}

function helpText(script: TierScript, own: Record<string, string>): string {
  const flags = { ...own, 'dry-run': 'examine and say what would be done; change nothing', help: 'print this' }
  return [
    script.help.trim(),
    '',
    'Flags:',
    ...Object.entries(flags).map(([name, meaning]) => `  --${name.padEnd(14)}${meaning}`),
    '',
    `Exit codes: ${script.exitCodes ?? '0 healthy when I left, 1 still down: the next tier’s turn'}, 2 unusable flags or settings, 3 stood down.`,
  ].join('\n')
}

async function runWith(script: TierScript, settings: Settings, flags: Record<string, boolean>): Promise<ExitCode> {
  const startedSec = process.uptime()
  const dryRun = flags['dry-run'] === true
  const log = openJournal(settings, script.tier, (text) => script.redact(text, settings.secrets), dryRun)
  const meter = openMeter(settings, script.tier, log, dryRun)
  const journal = dryRun ? log : metered(log, meter, settings)
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
      noteRun(meter, script.tier, { ...outcome, seconds, isPaused: pause !== undefined, longestSec })
      meter.flush()
    }
    const line = MARKER.runEnded(outcome.verdict, outcome.code, seconds)
    if (outcome.code === EXIT.down) journal.warn(line)
    else journal.info(line)
    lock?.release()
    return outcome.code
  }
  const stop = (signal: NodeJS.Signals) => {
    // A second signal (Ctrl-C reaches the whole group, and Level 2 passes its own on) must not cut the cleanup short.
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
      const taken = await takeLockOf(script, settings)
      isAnotherAtWork = taken !== undefined && !isLock(taken)
      if (taken !== undefined && !isLock(taken))
        return await standDown(`another run is at work (pid ${taken.pid}, since ${taken.since})`)
      lock = taken
      const higher = await higherTierAtWork(settings, script.tier)
      if (higher !== undefined) return await standDown(higher)
    }
    if (pause !== undefined) journal.info(`dry run: would not act: ${pause}`)
    for (const problem of settings.envProblems) journal.warn(problem)
    const outcome = await script.main({
      settings,
      journal,
      dryRun,
      flags,
      meter,
      signal: abort.signal,
      onExit: (cleanup) => {
        // Told to stop in the moment in which something was opened: it is closed at once.
        if (abort.signal.aborted) void cleanup()
        else cleanups.push(cleanup)
      },
      markAtWork: () => {
        lock?.markAtWork()
        // Time that a Mac sleeps through would count against the limits of Levels 2 and 3.
        void shell(settings)`caffeinate -i -w ${process.pid} >/dev/null 2>&1 &`
        meter.set('atWork', 1)
        meter.flush()
      },
    })
    return await end(outcome)
  } catch (error) {
    // Stopped: `stop` above is already writing the last line and will end the process.
    if (abort.signal.aborted) return await new Promise<never>(() => {})
    return await end(describeFailure(error, settings, journal))
  }
}

/** A journal whose markers count. */
function metered(log: Journal, meter: Meter, settings: Settings): Journal {
  const counted = (write: (text: string) => void) => (text: string) => {
    const marker = parseMarker(text)
    const isNew = marker?.kind === 'down' && currentIncident(settings) === undefined
    write(text)
    if (marker) noteMarker(meter, marker, isNew)
  }
  return {
    get path() {
      return log.path
    },
    info: counted(log.info),
    warn: counted(log.warn),
    error: counted(log.error),
  }
}

/** Undefined when the lock cannot be written and the tier can do without. */
async function takeLockOf(script: TierScript, settings: Settings): Promise<Lock | LockHolder | undefined> {
  try {
    return await takeLock(settings, script.tier)
  } catch (error) {
    if (script.runsWithoutLock) return undefined
    throw error
  }
}

/** An unknown error is a failure, never a success; a full or forbidden disk is said in words that help. */
function describeFailure(error: unknown, settings: Settings, journal: Journal): Outcome {
  const { code, path } = error as NodeJS.ErrnoException
  if (code && ['ENOSPC', 'EDQUOT', 'EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EISDIR', 'EEXIST'].includes(code)) {
    const where = path ?? settings.watchdogDir
    // Without its memory a tier cannot count restarts, and one that cannot count must not restart.
    journal.error(MARKER.manual(`${where} cannot be written (${code}); without its state this tier treats nothing`))
    return { code: EXIT.down, verdict: `cannot write (${code})` }
  }
  journal.error(`unexpected failure: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`)
  return { code: EXIT.down, verdict: 'failed' }
}

/** A sentence when nothing more may be done: somebody has paused everything meanwhile, or a tier above is at work. */
export async function whyHandsOff(settings: Settings, tier: TierName): Promise<string | undefined> {
  return pauseReason(settings) ?? (await higherTierAtWork(settings, tier))
}

/** A sentence when a tier above `tier` treats the gateway right now. Monitor and guardian stand beside the ladder. */
async function higherTierAtWork(settings: Settings, tier: TierName): Promise<string | undefined> {
  const level = TIERS[tier].level
  if (level === undefined || level >= 3) return undefined
  for (const higher of ['emergency-recovery', 'healthcheck'] as const) {
    if (TIERS[higher].level <= level) continue
    const holder = await lockHolder(settings, higher)
    if (holder?.atWork) return `level ${TIERS[higher].level} is at work (pid ${holder.pid}, since ${holder.since})`
  }
  return undefined
}
