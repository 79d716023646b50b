/** Configs that the gateway was healthy on, kept so that one of them can be put back. */
import { existsSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { localStamp, MARKER, NEEDS_ATTENTION, wholeWords } from '../tier/contract.ts'
import type { TierRun } from '../tier/run.ts'
import type { Settings } from '../tier/settings.ts'
import { readWhole, tried, writeFileAtomic } from '../tier/state.ts'
import { configHash, readConfig, validateConfig } from './config.ts'
import type { Examination } from './examination.ts'
import type { ProcessInfo } from './processes.ts'
import { type GatewayRecord, readRecord, writeRecord } from './record.ts'

const KEPT = 5
const NAME = /^(?<stamp>\d{4}-\d\d-\d\d-\d{6})-(?<hash>[0-9a-f]{16})\.json5$/

const folderOf = (settings: Settings): string => join(settings.watchdogDir, 'known-good')

/** The kept configs, newest first; one whose text does not match the hash in its name is skipped. */
export function knownGoods(settings: Settings, warn: (problem: string) => void = () => {}) {
  const names = tried(() => readdirSync(folderOf(settings))) ?? []
  return names
    .toSorted()
    .reverse()
    .flatMap((name) => {
      const m = NAME.exec(name)
      if (!m) return []
      const { stamp, hash } = m.groups as { stamp: string; hash: string }
      const path = join(folderOf(settings), name)
      const text = tried(() => readWhole(path))
      if (text !== undefined && configHash(text) === hash) return [{ path, stamp, hash, text }]
      warn(`known-good config ${path} is damaged; skipped`)
      return []
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

  const path = join(folderOf(settings), `${stampAfter(kept[0]?.stamp, new Date(nowMs))}-${config.hash}.json5`)
  writeFileAtomic(path, config.text)
  const others = kept.filter(({ hash }) => hash !== config.hash)
  for (const old of kept) if (!others.slice(0, KEPT - 1).includes(old)) rmSync(old.path, { force: true })
  return { path }
}

/** Later than the newest copy, also when the clock was set back or summer time ends. */
function stampAfter(newest: string | undefined, now: Date): string {
  const stamp = localStamp(now)
  if (newest === undefined || newest < stamp) return stamp
  const asUtc = newest.replace(/-(\d\d)(\d\d)(\d\d)$/, 'T$1:$2:$3Z')
  return new Date(Date.parse(asUtc) + 1000).toISOString().slice(0, 19).replace('T', '-').replaceAll(':', '')
}

/** Replaces the config, after a copy as `<name>.broken-<stamp>`, whose path it returns; undefined: there was none. */
export function putBack(settings: Settings, good: { text: string }, now: Date): string | undefined {
  const target = tried(() => realpathSync(settings.configPath))
  const name = `${target}.broken-${localStamp(now)}`
  let broken = name
  for (let n = 2; existsSync(broken); n++) broken = `${name}-${n}`
  if (target !== undefined) writeFileAtomic(broken, readFileSync(target))
  writeFileAtomic(target ?? settings.configPath, good.text)
  return target && broken
}

/** Puts the newest known-good config in place if it validates, once in an incident. `blameless`: the present one is known-good. */
export async function rollBackConfig(run: TierRun, seen: Examination): Promise<'done' | 'blameless' | 'cannot'> {
  const { settings, journal } = run
  const keep = <T>(result: T, why: string): T => {
    journal.warn(`the config is not touched: ${why}`)
    return result
  }
  if (!settings.configRollback) return keep('cannot', 'CONFIG_ROLLBACK is off')
  const record = readRecord(settings).value
  if (record.putBack.length > 0) return keep('cannot', 'a known-good one was put back and did not help')
  const goods = knownGoods(settings, journal.warn)
  const present = readConfig(settings)?.hash
  if (goods.some(({ hash }) => hash === present)) return keep('blameless', 'the gateway was healthy on this one')
  const [good] = goods
  if (!good) return keep('cannot', 'no known-good one is there')

  const replacedConfig = putBack(settings, good, new Date())
  const kept = replacedConfig ? `the broken one is kept as ${replacedConfig}` : 'there was none'
  const what = `config rolled back: ${settings.configPath} was replaced by the known-good one of ${good.path}; ${kept}`
  journal.warn(MARKER.notice(`${NEEDS_ATTENTION}${what} (${wholeWords(seen.evidence, 160)})`))
  // Noted afterwards: noted first, it would never be put back after a kill in between.
  writeRecord(settings, { ...record, putBack: [good.hash], replacedConfig })
  const validation = await validateConfig(settings)
  if (validation?.valid !== false) return 'done'
  journal.warn(`the known-good config does not validate either: ${validation.issues}`)
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
