/** Configs that the gateway was healthy on, kept so that one of them can be put back. */
import { existsSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { localStamp, MARKER, NEEDS_ATTENTION, wholeWords } from '../tier/contract.ts'
import type { TierRun } from '../tier/run.ts'
import type { Settings } from '../tier/settings.ts'
import { readWhole, tried, writeFileAtomic } from '../tier/state.ts'
import { configHash, readConfig, validateConfig } from './config.ts'
import type { Examination } from './examination.ts'
import type { ProcessInfo } from './processes.ts'
import { type GatewayRecord, readRecord, writeRecord } from './record.ts'

const KEPT = 5
const STAMP = /^(\d{4})-(\d\d)-(\d\d)-(\d\d)(\d\d)(\d\d)/

type KnownGood = ReturnType<typeof knownGoods>[number]

function folder(settings: Settings): string {
  return join(settings.watchdogDir, 'known-good')
}

/** The kept configs, newest first. */
export function knownGoods(settings: Settings) {
  return readCopies(settings).flatMap(({ text, ...copy }) => (text === undefined ? [] : [{ ...copy, text }]))
}

/** All copies, newest first; the text is undefined where it does not match the hash in the name. */
function readCopies(settings: Settings) {
  const names = tried(() => readdirSync(folder(settings))) ?? []
  return names
    .filter((name) => /^\d{4}-\d\d-\d\d-\d{6}-[0-9a-f]{16}\.json5$/.test(name))
    .sort()
    .reverse()
    .map((name) => {
      const path = join(folder(settings), name)
      const hash = name.slice(-22, -6)
      const text = tried(() => readWhole(path))
      return { path, hash, text: text !== undefined && configHash(text) === hash ? text : undefined }
    })
}

/** Keeps the config once the gateway has been healthy on it and started with it, or validation passes it (else `unproven`). */
export async function keepKnownGood(
  settings: Settings,
  record: GatewayRecord,
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

/** Later than the newest copy, also when the clock was set back or summer time ends. */
function stampAfter(newest: string | undefined, nowMs: number): string {
  const now = localStamp(new Date(nowMs))
  const last = newest && STAMP.exec(basename(newest))
  if (!last || last[0] < now) return now
  const [year, month, day, hours, minutes, seconds] = last.slice(1).map(Number) as [number, ...number[]]
  return localStamp(new Date(year, month! - 1, day, hours, minutes, seconds! + 1))
}

/** Replaces the config, after a copy as `<name>.broken-<stamp>`, whose path it returns; undefined: there was none. */
export function putBack(settings: Settings, good: KnownGood, now: Date): string | undefined {
  const target = tried(() => realpathSync(settings.configPath))
  const name = `${target}.broken-${localStamp(now)}`
  let broken = name
  for (let n = 2; existsSync(broken); n++) broken = `${name}-${n}`
  if (target !== undefined) writeFileAtomic(broken, readFileSync(target))
  writeFileAtomic(target ?? settings.configPath, good.text)
  return target && broken
}

/** Puts the newest known-good config in place that validates, once in an incident. `blameless`: the present one is known-good. */
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
  for (const { path, text } of readCopies(settings))
    if (text === undefined) journal.warn(`known-good config ${path} is damaged; skipped`)
  const present = readConfig(settings)?.hash
  if (knownGoods(settings).some(({ hash }) => hash === present)) {
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

/** Undoes `rollBackConfig` when it has not helped, unless the config was changed since. */
export function undoRollBack({ settings, journal }: TierRun): void {
  const record = readRecord(settings).value
  const { replacedConfig, putBack } = record
  if (replacedConfig === undefined) return
  const present = readConfig(settings)?.hash
  if (present !== undefined && putBack.includes(present)) {
    const text = tried(() => readFileSync(replacedConfig))
    if (text === undefined) {
      journal.warn(`${replacedConfig} cannot be read; the known-good config stays in its place`)
      return
    }
    writeFileAtomic(realpathSync(settings.configPath), text)
    journal.warn(`the known-good config did not help: ${settings.configPath} is again what it was before`)
  }
  writeRecord(settings, { ...record, replacedConfig: undefined })
}
