#!/usr/bin/env -S npx tsx
/**
 * The guardian: checks that Level 1, Level 2 and the monitor run and that none hangs, and revives them.
 * Started by cron every 5 min, so that it runs when launchd or systemd has dropped the others; and by Levels 1 and 2
 * when a peer is dead: `sh scripts/run-tier.sh watchdog-guardian --watchdog`.
 *
 * Exit 0  the watchers run, or were revived; or nothing is installed
 *      1  a watcher is dead and not revived yet
 *      2  unusable flags or settings, nothing was touched
 *      3  not acting: paused, another guardian runs, or this one was late itself (first run, sleep, boot)
 */
import { isInstalled, type Receipt, readReceipt, receiptPath } from '../lib/services/receipt.ts'
import { askJobs, jobName } from '../lib/services/supervisor.ts'
import * as watchers from '../lib/services/watchers.ts'
import { ABOUT_WATCHERS, ALL_TIERS, EXIT, MARKER, oneLine, TIERS, type TierName } from '../lib/tier/contract.ts'
import { lockHolder } from '../lib/tier/lock.ts'
import { type Outcome, runTier, type TierRun } from '../lib/tier/run.ts'
import type { Settings } from '../lib/tier/settings.ts'
import { shell } from '../lib/tier/shell.ts'

/** Restored once in a run, also when cron starts several dead tiers. */
let crontab: ReturnType<typeof restoreCrontab> | undefined

await runTier({
  tier: 'guardian',
  help: `The guardian of openclaw-self-healing: checks that watchdog, health check and monitor run, and revives them.
Started every 5 min by cron; can be run by hand at any time.`,
  exitCodes: '0 the watchers run or were revived, 1 one is dead and not revived yet',
  flags: {
    watchdog: 'Level 1 found a peer dead: check only those that it watches',
    healthcheck: 'the same for Level 2',
  },
  main,
})

async function main(run: TierRun): Promise<Outcome> {
  const { settings, flags, journal, dryRun } = run
  if (!isInstalled(settings)) return { code: EXIT.healthy, verdict: 'not installed' }
  const receipt = readReceipt(settings)
  for (const name of [...ALL_TIERS, 'doctor'] as const) await lockHolder(settings, name, !dryRun)

  // 1. Which job is not registered, which tier has not run for three intervals, which run takes too long?
  const watcher = flags.watchdog ? 'watchdog' : flags.healthcheck ? 'healthcheck' : 'guardian'
  if (watcher === 'guardian' && !watchers.isOnTime(run, watcher))
    return { code: EXIT.stoodDown, verdict: 'not on time' }
  // Setup takes the jobs out for a moment.
  const asksJobs = watcher === 'guardian' && !(await lockHolder(settings, 'setup'))
  const jobs = asksJobs ? await askJobs(settings, receipt?.scheduler ?? 'cron') : []
  for (const { tier, pended } of jobs) if (pended && !dryRun) await watchers.kickIfPended(run, tier)
  const missing = jobs
    .filter(({ registered }) => registered === false)
    .map(({ tier, detail }): watchers.Suspect => ({ tier, evidence: `is not registered (${detail})` }))
  const suspects = new Map([...missing, ...(await watchers.deadPeers(settings, watcher))].map((one) => [one.tier, one]))

  // 2. One that has run by itself since begins a new row. Until then it is dead for the human who was called.
  const book = watchers.readBook(settings, 'guardian').value
  const dead = new Set<TierName>()
  for (const [tier, { revivals, revivedAtMs }] of Object.entries(book.revived) as [TierName, watchers.Row][]) {
    const aloneSec = (watchers.heartbeatMs(settings, tier) - revivedAtMs) / 1000
    if (aloneSec > 2.5 * TIERS.guardian.intervalSec) delete book.revived[tier]
    else if (revivals >= settings.guardianMaxRevivals) dead.add(tier)
  }

  // 3. Revive them, and after three times in a row call a human.
  for (const { tier, evidence, pid } of suspects.values()) {
    const { revivals, revivedAtMs } = book.revived[tier] ?? { revivals: 0, revivedAtMs: 0 }
    dead.add(tier)
    journal.warn(`${tier} ${evidence}`)
    // Cron needs an interval to run what was restored.
    const sinceRevivalSec = Math.abs(Date.now() - revivedAtMs) / 1000
    if (dryRun || sinceRevivalSec < 0.9 * TIERS.guardian.intervalSec) continue
    if (pid) await watchers.endRun(run, tier, pid)
    const failure = await revive(settings, tier, receipt, pid).catch((error: Error) => error.message)
    const why = failure === undefined ? evidence : `${evidence}: ${oneLine(failure)}`
    const done = failure !== undefined ? 'not revived' : pid ? 'ended' : 'revived'
    journal.warn(MARKER.notice(`${ABOUT_WATCHERS}${done} ${tier}, which ${why}`))
    const row = revivals + 1
    book.revived[tier] = { revivals: row, revivedAtMs: Date.now() }
    if (tier === 'emergency-recovery') journal.error(MARKER.manual(`${tier} ${why} and was ended`))
    else if (row === settings.guardianMaxRevivals)
      journal.error(MARKER.manual(`${ABOUT_WATCHERS}${tier} was to be revived ${row} times in a row: it ${why}`))
    if (failure === undefined && row < settings.guardianMaxRevivals) dead.delete(tier)
  }
  if (!dryRun) watchers.writeBook(settings, 'guardian', book)
  if (dead.size > 0) return { code: EXIT.down, verdict: `dead: ${[...dead].join(' ')}` }
  return { code: EXIT.healthy, verdict: suspects.size > 0 ? `revived: ${[...suspects.keys()].join(' ')}` : 'all alive' }
}

/** Why it failed; throws that, too. */
async function revive(settings: Settings, tier: TierName, receipt: Receipt | undefined, endedPid: number | undefined) {
  if (!receipt) throw new Error(`${receiptPath(settings)} cannot be read; run setup again`)
  if (receipt.scheduler === 'cron' || (tier !== 'watchdog' && tier !== 'healthcheck'))
    return endedPid ? undefined : (crontab ??= restoreCrontab(settings, receipt))
  const name = jobName(settings, tier)
  const $ = shell(settings, { timeoutSec: 75 })
  if (receipt.scheduler === 'launchd') {
    const { launchdTarget, reload } = await import('../lib/services/launchd.ts')
    // Else `launchctl bootout` and `bootstrap`.
    if (!(await $`launchctl kickstart -k ${launchdTarget(name)}`).failure) return undefined
    return (await reload(settings, name, `${settings.home}/Library/LaunchAgents/${name}.plist`)).failure
  }
  const verb = (await lockHolder(settings, tier)) ? 'start' : 'restart'
  // A timer may be active and never fire again.
  const { failure } = await $`systemctl --user daemon-reload; systemctl --user enable ${name}.timer &&
    systemctl --user restart ${name}.timer && systemctl --user ${verb} --no-block ${name}.service`
  return failure
}

async function restoreCrontab(settings: Settings, { cronLines, scheduler }: Receipt): Promise<undefined> {
  const { cronTiers, editCrontab, withBlock } = await import('../lib/services/cron.ts')
  await editCrontab(settings, (text) => {
    const present = cronTiers(text, settings.profile)
    if (cronTiers(cronLines.join('\n'), settings.profile).every((tier) => present.includes(tier)))
      throw new Error(
        'cron does not run its lines (Linux: `systemctl status cron`; macOS: Login Items, Full Disk Access)',
      )
    // On a Mac a job without Full Disk Access may see no crontab: writing would replace it.
    if (text === '' && scheduler === 'launchd') throw new Error('crontab -l shows none, and there was one')
    return withBlock(text, cronLines, settings.profile)
  })
}
