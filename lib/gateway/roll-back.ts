/** Level 2's remedy for a config that keeps the gateway down: the last one that it was healthy on is put back. */
import { readFileSync, realpathSync } from 'node:fs'
import { MARKER, NEEDS_A_LOOK, oneLine } from '../tier/contract.ts'
import type { TierRun } from '../tier/run.ts'
import { writeFileAtomic } from '../tier/state.ts'
import { validateConfig } from './config.ts'
import type { Examination } from './examine.ts'
import { damagedCopies, nextCandidate, putBack } from './known-good.ts'
import { readRecord, writeRecord } from './record.ts'

/**
 * Puts the newest known-good config in place that was not tried for this failure and that validates. Says in the log
 * what was done and where the broken file is kept. Returns false when nothing could be put back.
 */
export async function putBackKnownGood(run: TierRun, seen: Examination): Promise<boolean> {
  const { settings, journal } = run
  if (!settings.configRollback) {
    journal.warn('the config is not touched: CONFIG_ROLLBACK is off')
    return false
  }
  for (const copy of damagedCopies(settings)) journal.warn(`known-good config ${copy} is damaged; passed over`)
  let broken: string | undefined
  for (let attempt = 1; ; attempt++) {
    const record = readRecord(settings).value
    const good = nextCandidate(settings, record.putBack)
    if (!good) {
      journal.warn('there is no known-good config (left) to put back')
      if (broken) {
        // None of ours was any better: the file that its owner wrote is the one to repair.
        writeFileAtomic(realpathSync(settings.configPath), readFileSync(broken))
        journal.warn(`${settings.configPath} is again what it was before`)
      }
      return false
    }
    if (attempt === 1) broken = putBack(settings, good, new Date())
    else writeFileAtomic(realpathSync(settings.configPath), good.text)
    const kept = broken ? `the broken one is kept as ${broken}` : 'there was none'
    const what = `config rolled back: ${settings.configPath} was replaced by the known-good one of ${good.path}; ${kept}`
    journal.warn(MARKER.notice(`${NEEDS_A_LOOK}${what} (${oneLine(seen.evidence, 160)})`))
    // Noted afterwards: a tier that is killed before this puts it back once more, which harms nothing; noted first, it
    // would never be put back.
    writeRecord(settings, { ...record, putBack: [...record.putBack, good.hash] })
    const validation = await validateConfig(settings)
    if (validation?.valid !== false) return true
    journal.warn(`that one does not validate either (${validation.issues}); trying an older one`)
  }
}
