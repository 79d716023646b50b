/** Configs that the gateway was healthy on, kept so that one of them can be put back. */
import { existsSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { localStamp, MARKER, NEEDS_ATTENTION, wholeWords } from '../tier/contract.ts'
import type { TierRun } from '../tier/run.ts'
import type { Settings } from '../tier/settings.ts'
import { namesIn, readWhole, tried, writeFileAtomic } from '../tier/state.ts'
import { configHash, isConfigWritable, readConfig, validateConfig } from './config.ts'
import type { Examination } from './judge.ts'
import type { ProcessInfo } from './processes.ts'
import { type GatewayRecord, readRecord, writeRecord } from './record.ts'

const KEPT = 5
const NAME = /^(?<stamp>\d{4}-\d\d-\d\d-\d{6})-(?<hash>[0-9a-f]{16})\.json5$/

const folderOf = (settings: Settings): string => join(settings.watchdogDir, 'known-good')

/** The kept configs, newest first; one whose text does not match the hash in its name is skipped. */
export function knownGoods(settings: Settings, warn: (problem: string) => void = () => {}) {
  return namesIn(folderOf(settings))
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
  const kept = knownGoods(settings)
  // The first one is kept at once: a broken edit may come in the first minutes.
  const isProven = nowMs - record.configHealthySinceMs >= settings.knownGoodAfterSec * 1000
  if ((!isProven && kept.length > 0) || kept[0]?.hash === config.hash) return undefined
  // An age of whole seconds: it may have started up to a second before that.
  const bootedWithIt = gateway !== undefined && config.modifiedMs < nowMs - (gateway.ageSec + 1) * 1000
  if (!bootedWithIt && !isProven) return undefined
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

/** Copies the config to `<name>.<why>-<stamp>` beside it. Returns the path; undefined: there is none. */
export function copyConfig(settings: Settings, why: string, now = new Date()): string | undefined {
  const target = tried(() => realpathSync(settings.configPath))
  if (target === undefined) return undefined
  const name = `${target}.${why}-${localStamp(now)}`
  let copy = name
  for (let n = 2; existsSync(copy); n++) copy = `${name}-${n}`
  writeFileAtomic(copy, readFileSync(target))
  return copy
}

/** Replaces the config, after a copy as `<name>.broken-<stamp>`, whose path it returns; undefined: there was none. */
export function putBack(settings: Settings, good: { text: string }, now: Date): string | undefined {
  const broken = copyConfig(settings, 'broken', now)
  writeFileAtomic(tried(() => realpathSync(settings.configPath)) ?? settings.configPath, good.text)
  return broken
}

const MOST_PUT_BACK = 3

/** Puts the newest known-good config in place if it validates, until it did not help. `blameless`: the present one is known-good. */
export async function rollBackConfig(run: TierRun, seen: Examination) {
  const { settings, journal } = run
  const keep = <T>(result: T, why: string): T => {
    journal.warn(`the config is not touched: ${why}`)
    return result
  }
  if (!settings.configRollback) return keep('cannot', 'CONFIG_ROLLBACK is off')
  if (!isConfigWritable(settings)) return keep('cannot', 'this account may not write it')
  const record = readRecord(settings).value
  if (record.putBackInVain) return keep('cannot', 'a known-good one was put back and did not help')
  if (record.putBack.length >= MOST_PUT_BACK) return keep('cannot', 'what was put back was replaced again and again')
  const goods = knownGoods(settings, journal.warn)
  const present = readConfig(settings)?.hash
  if (goods.some(({ hash }) => hash === present)) return keep('blameless', 'the gateway was healthy on this one')
  const { openclawCommand } = await import('./host.ts')
  const candidates = [...goods, ...openclawsOwn(settings)].filter(({ hash }) => hash !== present)
  const good = await firstValid(settings, candidates, await openclawCommand(settings, seen.service))
  if (!good) return keep('cannot', 'no earlier one is there that validates')

  if (readConfig(settings)?.hash !== present) return keep('edited', 'it was edited meanwhile')
  const replacedConfig = putBack(settings, good, new Date())
  const kept = replacedConfig ? `the broken one is kept as ${replacedConfig}` : 'there was none'
  const what = `config rolled back: ${settings.configPath} was replaced by the known-good one of ${good.path}; ${kept}`
  journal.warn(MARKER.notice(`${NEEDS_ATTENTION}${what} (${wholeWords(seen.evidence, 160)})`))
  // Noted afterwards: noted first, it would never be put back after a kill in between.
  writeRecord(settings, { ...record, putBack: [...record.putBack, good.hash], replacedConfig })
  return 'done'
}

/** Notes that it has not come up on what was put back, if that is still in place: a broken buffer may have been saved again. */
export function notePutBackInVain(settings: Settings): void {
  const record = readRecord(settings).value
  const present = readConfig(settings)?.hash
  if (present && record.putBack.includes(present)) writeRecord(settings, { ...record, putBackInVain: true })
}

/** OpenClaw's own copies (2026.9.6): the last that it booted with, and those before its own writes. */
function openclawsOwn({ configPath }: Settings) {
  return ['last-good', 'bak', 'bak.1', 'bak.2', 'bak.3', 'bak.4'].flatMap((ending) => {
    const path = `${configPath}.${ending}`
    const text = tried(() => readWhole(path))
    return text === undefined ? [] : [{ path, text, hash: configHash(text) }]
  })
}

async function firstValid<T extends { text: string }>(settings: Settings, goods: T[], command: string[]) {
  const trial = `${settings.configPath}.trial-${process.pid}`
  try {
    for (const good of goods) {
      writeFileAtomic(trial, good.text)
      const env = { ...settings.childEnv, OPENCLAW_CONFIG_PATH: trial }
      if ((await validateConfig({ ...settings, childEnv: env }, command))?.valid !== false) return good
    }
  } finally {
    rmSync(trial, { force: true })
  }
  return undefined
}

/** Undoes `rollBackConfig` when it has not helped, unless the config was changed since. */
export function undoRollBack({ settings, journal }: TierRun): void {
  const record = readRecord(settings).value
  const { replacedConfig, putBack } = record
  if (replacedConfig === undefined) return
  const present = readConfig(settings)?.hash
  if (present !== undefined && putBack.includes(present)) {
    const text = tried(() => readFileSync(replacedConfig))
    if (text !== undefined) writeFileAtomic(realpathSync(settings.configPath), text)
    const then = text === undefined ? `it stays: ${replacedConfig} cannot be read` : 'it is again what it was before'
    journal.warn(`the known-good config did not help; ${then}`)
  }
  writeRecord(settings, { ...record, replacedConfig: undefined })
}
