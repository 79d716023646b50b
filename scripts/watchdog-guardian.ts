#!/usr/bin/env -S npx tsx
import { lookAfterPeers } from '../lib/services/look-after.ts'
import { EXIT } from '../lib/tier/contract.ts'
/**
 * The guardian: watches the watchers. Are Level 1 and Level 2 registered with launchd or systemd, did they log lately,
 * does none of their runs hang? It revives them, and calls a human when that fails several times in a row.
 * Started by cron every 5 min, so that it lives when launchd or systemd has dropped the others.
 *
 * Exit 0  the watchers live, or were brought back; or nothing is installed, and nobody is missed
 *      1  a watcher is dead and could not be brought back yet
 *      2  unusable flags or settings, nothing was touched
 *      3  I stood down: paused, another guardian runs, or I was late myself (sleep, boot) and accuse nobody this time
 */
import { redact } from '../lib/tier/redact.ts'
import { type Outcome, runTier, type TierRun } from '../lib/tier/run.ts'

await runTier({
  tier: 'guardian',
  help: `The guardian of openclaw-self-healing: looks whether watchdog and health check live, and revives them.
Started every 5 min by cron; can be run by hand at any time.`,
  exitCodes: '0 the watchers live or were brought back, 1 one is dead and could not be brought back yet',
  redact,
  main,
})

async function main(run: TierRun): Promise<Outcome> {
  const { journal } = run
  const { installed, onTime, dead, revived } = await lookAfterPeers(run, 'guardian')
  if (!installed) {
    journal.info('nothing is installed (no receipt), so nobody is missed')
    return { code: EXIT.healthy, verdict: 'not installed' }
  }
  if (!onTime) {
    journal.info('no tick of mine came on time before this one (first run, sleep, boot): I accuse nobody this time')
    return { code: EXIT.stoodDown, verdict: 'not on time' }
  }
  if (dead.length > 0) return { code: EXIT.down, verdict: `dead: ${dead.join(' ')}` }
  return { code: EXIT.healthy, verdict: revived.length > 0 ? `revived: ${revived.join(' ')}` : 'all alive' }
}
