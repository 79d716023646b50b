/** Configs that the gateway was healthy on, kept so that one of them can be put back. */
import { existsSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { localStamp, MARKER, NEEDS_ATTENTION, wholeWords } from '../tier/contract.ts'
import type { TierRun } from '../tier/run.ts'
import type { Settings } from '../tier/settings.ts'
import { readWhole, writeFileAtomic } from '../tier/state.ts'
import { configHash, readConfig, validateConfig } from './config.ts'
import type { Examination } from './examination.ts'
import type { ProcessInfo } from './processes.ts'
import { type PatientRecord, readRecord, writeRecord } from './record.ts'

const KEPT = 5
/** As `localStamp` writes it. */
const STAMP = /^(\d{4})-(\d\d)-(\d\d)-(\d\d)(\d\d)(\d\d)/

export interface KnownGood {
  path: string
  hash: string
  text: string
}

function folder(settings: Settings): string {
  return join(settings.watchdogDir, 'known-good')
}

/** The kept configs, newest first. */
export function knownGoods(settings: Settings): KnownGood[] {
  return readCopies(settings).filter((copy): copy is KnownGood => copy.text !== undefined)
}

/** Copies that are unreadable, or whose content does not match the hash in their name. */
function damagedCopies(settings: Settings): string[] {
  return readCopies(settings).flatMap(({ path, text }) => (text === undefined ? [path] : []))
}

/** All kept copies, newest first; one whose text is undefined is damaged. */
function readCopies(settings: Settings): { path: string; hash: string; text: string | undefined }[] {
  let names: string[]
  try {
    names = readdirSync(folder(settings)).filter((name) => /^\d{4}-\d\d-\d\d-\d{6}-[0-9a-f]{16}\.json5$/.test(name))
  } catch {
    return []
  }
  return names
    .sort()
    .reverse()
    .map((name) => {
      const path = join(folder(settings), name)
      const hash = name.slice(-22, -6)
      try {
        const text = readWhole(path)
        return { path, hash, text: configHash(text) === hash ? text : undefined }
      } catch {
        return { path, hash, text: undefined }
      }
    })
}

/**
 * Keeps the present config (the last five) once the gateway has been healthy on it for long enough and it is proven: the
 * process started with it, or OpenClaw's own validation passes it. `unproven`: it does not.
 */
export async function keepKnownGood(
  settings: Settings,
  record: PatientRecord,
  gateway: ProcessInfo | undefined,
  nowMs: number,
): Promise<{ path: string } | 'unproven' | undefined> {
  const config = readConfig(settings)
  if (!config || config.hash !== record.configHash) return undefined
  if (nowMs - record.configHealthySinceMs < settings.knownGoodAfterSec * 1000) return undefined
  const kept = knownGoods(settings)
  if (kept[0]?.hash === config.hash) return undefined
  // An age of whole seconds: it may have started up to a second before that.
  const bootedWithIt = gateway !== undefined && config.modifiedMs < nowMs - (gateway.ageSec + 1) * 1000
  if (!bootedWithIt && (await validateConfig(settings))?.valid !== true) return 'unproven'

  const path = join(folder(settings), `${stampAfter(readCopies(settings)[0]?.path, nowMs)}-${config.hash}.json5`)
  writeFileAtomic(path, config.text)
  for (const old of kept.filter((one) => one.hash === config.hash)) rmSync(old.path, { force: true })
  for (const old of knownGoods(settings).slice(KEPT)) rmSync(old.path, { force: true })
  return { path }
}

/** A stamp later than the newest copy's, also when the clock was set back or summer time ends. */
function stampAfter(newest: string | undefined, nowMs: number): string {
  const now = localStamp(new Date(nowMs))
  const last = newest && STAMP.exec(basename(newest))
  if (!last || last[0] < now) return now
  const [year, month, day, hours, minutes, seconds] = last.slice(1).map(Number) as [number, ...number[]]
  return localStamp(new Date(year, month! - 1, day, hours, minutes, seconds! + 1))
}

/**
 * Replaces the config (through a link, too) after it was copied beside itself as `<name>.broken-<stamp>` (0600).
 * Returns that copy's path; undefined: there was no config. Throws what the file system throws.
 */
export function putBack(settings: Settings, good: KnownGood, now: Date): string | undefined {
  let target = settings.configPath
  try {
    target = realpathSync(settings.configPath)
  } catch {
    // There is no config at all: that is what is being repaired.
    writeFileAtomic(target, good.text)
    return undefined
  }
  const broken = freeName(`${target}.broken-${localStamp(now)}`)
  writeFileAtomic(broken, readFileSync(target))
  writeFileAtomic(target, good.text)
  return broken
}

function freeName(name: string): string {
  let free = name
  for (let n = 2; existsSync(free); n++) free = `${name}-${n}`
  return free
}

function isKnownGood(settings: Settings): boolean {
  const present = readConfig(settings)?.hash
  return knownGoods(settings).some((good) => good.hash === present)
}

/**
 * Level 2's remedy: puts the newest known-good config in place that validates.
 * @returns `blameless` when the config in place is itself a known-good one; `cannot` when there is nothing to put back,
 *   or it was done in this trouble already: an older config would not boot where the newest one does not
 */
export async function rollBackConfig(run: TierRun, seen: Examination): Promise<'done' | 'blameless' | 'cannot'> {
  const { settings, journal } = run
  if (!settings.configRollback) {
    journal.warn('the config is not touched: CONFIG_ROLLBACK is off')
    return 'cannot'
  }
  if (readRecord(settings).value.putBack.length > 0) {
    journal.warn('no other config is put back: a known-good one did not help')
    return 'cannot'
  }
  for (const copy of damagedCopies(settings)) journal.warn(`known-good config ${copy} is damaged; skipped`)
  if (isKnownGood(settings)) {
    journal.warn('the config is not touched: the gateway was healthy on this one')
    return 'blameless'
  }
  let replaced: string | undefined
  for (const [index, good] of knownGoods(settings).entries()) {
    if (index === 0) replaced = putBack(settings, good, new Date())
    else writeFileAtomic(realpathSync(settings.configPath), good.text)
    const kept = replaced ? `the broken one is kept as ${replaced}` : 'there was none'
    const what = `config rolled back: ${settings.configPath} was replaced by the known-good one of ${good.path}; ${kept}`
    journal.warn(MARKER.notice(`${NEEDS_ATTENTION}${what} (${wholeWords(seen.evidence, 160)})`))
    // Noted afterwards: noted first, it would never be put back after a kill in between.
    const record = readRecord(settings).value
    writeRecord(settings, { ...record, putBack: [...record.putBack, good.hash], replacedConfig: replaced })
    const validation = await validateConfig(settings)
    if (validation?.valid !== false) return 'done'
    journal.warn(`that one does not validate either (${validation.issues}); trying an older one`)
  }
  journal.warn('there is no known-good config (left) to put back')
  undoRollBack(run)
  return 'cannot'
}

/** Undoes `rollBackConfig` when it has not helped, unless the config was changed since: its owner's file is to be repaired. */
export function undoRollBack({ settings, journal }: TierRun): void {
  const record = readRecord(settings).value
  const { replacedConfig, putBack } = record
  if (replacedConfig === undefined) return
  const present = readConfig(settings)?.hash
  if (present !== undefined && putBack.includes(present)) {
    let text: Buffer
    try {
      text = readFileSync(replacedConfig)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      journal.warn(`${replacedConfig} cannot be read (${code}); the known-good config stays in its place`)
      return
    }
    writeFileAtomic(realpathSync(settings.configPath), text)
    journal.warn(`the known-good config did not help: ${settings.configPath} is again what it was before`)
  }
  writeRecord(settings, { ...record, replacedConfig: undefined })
}
