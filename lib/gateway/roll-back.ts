/** Level 2's remedy for a config that keeps the gateway down: the last one that it was healthy on is put back. */
import { readFileSync, realpathSync } from 'node:fs'
import { MARKER, NEEDS_A_LOOK, wholeWords } from '../tier/contract.ts'
import type { TierRun } from '../tier/run.ts'
import { writeFileAtomic } from '../tier/state.ts'
import { readConfig, validateConfig } from './config.ts'
import type { Examination } from './examine.ts'
import { damagedCopies, isKnownGood, knownGoods, putBack } from './known-good.ts'
import { readRecord, writeRecord } from './record.ts'

/**
 * Puts the newest known-good config in place that validates. Says in the log what was done and where the file that was
 * replaced is kept.
 * @returns `blameless` when the config in place is itself a known-good one; `cannot` when there is nothing to put back,
 *   or when it was done in this trouble already: an older config would not boot where the newest one does not
 */
export async function putBackKnownGood(run: TierRun, seen: Examination): Promise<'done' | 'blameless' | 'cannot'> {
  const { settings, journal } = run
  if (!settings.configRollback) {
    journal.warn('the config is not touched: CONFIG_ROLLBACK is off')
    return 'cannot'
  }
  if (readRecord(settings).value.putBack.length > 0) {
    journal.warn('no other config is put back: one that the gateway was healthy on did not help')
    return 'cannot'
  }
  for (const copy of damagedCopies(settings)) journal.warn(`known-good config ${copy} is damaged; passed over`)
  if (isKnownGood(settings)) {
    journal.warn('the config is not touched: the gateway was healthy on just this one, so the reason is elsewhere')
    return 'blameless'
  }
  let replaced: string | undefined
  for (const [index, good] of knownGoods(settings).entries()) {
    if (index === 0) replaced = putBack(settings, good, new Date())
    else writeFileAtomic(realpathSync(settings.configPath), good.text)
    const kept = replaced ? `the broken one is kept as ${replaced}` : 'there was none'
    const what = `config rolled back: ${settings.configPath} was replaced by the known-good one of ${good.path}; ${kept}`
    journal.warn(MARKER.notice(`${NEEDS_A_LOOK}${what} (${wholeWords(seen.evidence, 160)})`))
    // Noted afterwards: a tier that is killed before this leaves a config that is known to be good; noted first, it
    // would never be put back.
    const record = readRecord(settings).value
    writeRecord(settings, { ...record, putBack: [...record.putBack, good.hash], replacedConfig: replaced })
    const validation = await validateConfig(settings)
    if (validation?.valid !== false) return 'done'
    journal.warn(`that one does not validate either (${validation.issues}); trying an older one`)
  }
  journal.warn('there is no known-good config (left) to put back')
  giveBackConfig(run)
  return 'cannot'
}

/**
 * Takes back what `putBackKnownGood` did when it has not helped: the file that its owner wrote is the one to repair.
 * Nothing is done when somebody has changed the config since, or when nothing was put back.
 */
export function giveBackConfig({ settings, journal }: TierRun): void {
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
