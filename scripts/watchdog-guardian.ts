#!/usr/bin/env -S npx tsx
/**
 * The guardian: checks that Level 1, Level 2 and the monitor run and that none hangs, and revives them.
 * Started by cron every 5 min, so that it runs when launchd or systemd has dropped the others; and by Levels 1 and 2
 * when a peer is dead: `sh scripts/run-tier.sh watchdog-guardian --healthcheck`.
 *
 * Exit 0  the watchers run, or were revived; or nothing is installed
 *      1  a watcher is dead and not revived yet
 *      2  unusable flags or settings, nothing was touched
 *      3  not acting: paused, another guardian runs, or this one was late itself (first run, sleep, boot)
 */
import { setTimeout as delay } from 'node:timers/promises'
import { readEvents } from '../lib/incidents/logs.ts'
import { isInstalled, type Receipt, readReceipt, receiptPath } from '../lib/services/receipt.ts'
import { type Book, endRun, heartbeatMs, lookAtPeers, type Suspect, writeBook } from '../lib/services/watchers.ts'
import { ABOUT_WATCHERS, EXIT, MARKER, oneLine, TIERS, type TierName } from '../lib/tier/contract.ts'
import { lockHolder, longestRunSec } from '../lib/tier/lock.ts'
import { type Outcome, runTier, type TierRun } from '../lib/tier/run.ts'
import { shell } from '../lib/tier/shell.ts'

/** Restored once in a run, also when cron starts several dead tiers. */
let crontab: ReturnType<typeof restoreCrontab> | undefined

await runTier({
  tier: 'guardian',
  help: `The guardian of openclaw-self-healing: checks that watchdog, health check and monitor run, and revives them.
Started every 5 min by cron; can be run by hand at any time.`,
  exitCodes: '0 the watchers run or were revived, 1 one is dead and not revived yet',
  flags: {
    watchdog: 'Level 2 found Level 1 dead: revive it alone',
    healthcheck: 'Level 1 found Level 2 dead: revive it alone',
    guardian: 'Level 1 found that cron does not run the guardian: restore the crontab lines',
  },
  main,
})

async function main(run: TierRun): Promise<Outcome> {
  const { settings, flags } = run
  if (!isInstalled(settings)) return { code: EXIT.healthy, verdict: 'not installed' }
  // It ends the runs that hang, and must not hang itself.
  setTimeout(() => process.kill(process.pid, 'SIGTERM'), longestRunSec(settings, 'guardian') * 1000).unref()

  // 1. Which tier has not run for three intervals, which run takes too long?
  const named = (['watchdog', 'healthcheck', 'guardian'] as const).filter((tier) => flags[tier])
  const { book, isOnTime, suspects, nowMs } = await lookAtPeers(run, 'guardian', named)
  if (!isOnTime) return { code: EXIT.stoodDown, verdict: 'not on time' }
  for (const tier of Object.keys(book.revived) as ScheduledTier[]) {
    const aloneMs = heartbeatMs(settings, tier) - book.revived[tier]!.revivedAtMs
    if (aloneMs <= 2500 * TIERS[tier].intervalSec) continue
    delete book.revived[tier]
    if (!run.dryRun) writeBook(settings, 'guardian', book)
  }

  // 2. Do launchd or systemd still have Level 1 and Level 2?
  const scheduler = readReceipt(settings)?.scheduler
  if (named.length === 0 && scheduler !== undefined && scheduler !== 'cron') {
    const { askJobs } = await import('../lib/services/jobs.ts')
    const others = (['watchdog', 'healthcheck'] as const).filter((tier) => !suspects.some((one) => one.tier === tier))
    const ask = async () =>
      (await askJobs(settings, scheduler, others)).filter(([, { registered }]) => registered === false)
    let missing = await ask()
    // Asked twice: an installer at work takes the jobs out for a moment.
    if (missing.length > 0) missing = await delay(settings.guardianPatienceSec * 1000).then(ask)
    for (const [tier, { detail }] of missing) suspects.push({ tier, evidence: `is not registered (${detail})` })
  }

  // 3. Revive them.
  const dead = new Set<string>()
  const revived: TierName[] = []
  for (const suspect of suspects) {
    const result = await treat(run, book, suspect, nowMs)
    if (result === 'dead') dead.add(suspect.tier)
    if (result === 'revived') revived.push(suspect.tier)
  }

  // 4. One for which a human was called is dead until it runs by itself: exit code 0 would end the alert.
  for (const [tier, { isHumanCalled }] of Object.entries(book.revived)) if (isHumanCalled) dead.add(tier)
  if (dead.size > 0) return { code: EXIT.down, verdict: `dead: ${[...dead].join(' ')}` }
  return { code: EXIT.healthy, verdict: revived.length > 0 ? `revived: ${revived.join(' ')}` : 'all alive' }
}

type ScheduledTier = Exclude<TierName, 'emergency-recovery'>

async function treat(run: TierRun, book: Book, suspect: Suspect, nowMs: number): Promise<'alive' | 'revived' | 'dead'> {
  const { settings, journal, dryRun } = run
  const { tier, evidence, pid } = suspect
  const before = book.revived[tier]
  // Cron needs an interval to run what was restored.
  if (before && Math.abs(nowMs - before.revivedAtMs) < 900 * TIERS.guardian.intervalSec) return 'dead'
  // After waking up everything is late: it gets a moment to write.
  if (!pid && !before && (await hasWritten(run, tier, nowMs))) return 'alive'
  if (run.signal.aborted || !isInstalled(settings)) return 'alive'
  if (dryRun) {
    journal.info(`dry run: would revive: ${tier} ${evidence}`)
    return 'dead'
  }
  journal.warn(`${tier} ${evidence}`)
  if (pid) await endRun(run, tier, pid)
  if (tier === 'emergency-recovery') {
    const now = new Date()
    const { events } = readEvents(settings, { from: now, to: now }, now, [tier])
    const own = events.filter(({ log }) => log === events.at(-1)!.log)
    if (!own.some((event) => event.kind === 'said' && event.said.kind === 'manual'))
      journal.error(MARKER.manual(`${tier} ${evidence} and was ended`))
    return 'revived'
  }

  const { done, failure } = await revive(run, tier, pid, nowMs)
  const why = failure === undefined ? '' : `: ${oneLine(failure)}`
  journal.warn(
    MARKER.notice(`${ABOUT_WATCHERS}${failure === undefined ? 'revived' : 'not revived'} ${tier}: ${done}${why}`),
  )
  const revivals = (before?.revivals ?? 0) + 1
  const isHopeless =
    revivals > settings.guardianMaxRevivals || (revivals === settings.guardianMaxRevivals && why !== '')
  if (isHopeless && !before?.isHumanCalled)
    journal.error(
      MARKER.manual(`${ABOUT_WATCHERS}${tier} ${evidence}; tried to revive it ${revivals} times in a row${why}`),
    )
  book.revived[tier] = { revivals, revivedAtMs: nowMs, isHumanCalled: isHopeless }
  writeBook(settings, 'guardian', book)
  return failure === undefined ? 'revived' : 'dead'
}

async function revive(run: TierRun, tier: ScheduledTier, endedPid: number | undefined, nowMs: number) {
  const { settings } = run
  const receipt = readReceipt(settings)
  if (!receipt) return { done: 'nothing', failure: `${receiptPath(settings)} cannot be read; run setup again` }
  if (tier === 'monitor' || tier === 'guardian' || receipt.scheduler === 'cron')
    return endedPid ? { done: 'ended its run', failure: undefined } : (crontab ??= restoreCrontab(run, receipt))

  const $ = shell(settings, { timeoutSec: 75 })
  const { askJobs, jobName, jobPlist } = await import('../lib/services/jobs.ts')
  const name = jobName(settings, tier)
  const isAtWork = (await lockHolder(settings, tier)) !== undefined
  let done: string
  let failure: string | undefined
  if (receipt.scheduler === 'launchd') {
    const { bootstrap } = await import('../lib/services/launchd.ts')
    const isLoaded = (await askJobs(settings, 'launchd', [tier]))[0]![1].registered
    done = `launchctl ${isLoaded ? 'kickstart' : 'bootstrap'} ${name}`
    if (isLoaded)
      ({ failure } = await $`launchctl kickstart ${isAtWork ? [] : ['-k']} gui/${process.getuid!()}/${name}`)
    // `launchctl enable`, then `launchctl bootstrap gui/$UID <plist>`.
    else ({ failure } = await bootstrap(settings, name, jobPlist(settings, tier)))
  } else {
    done = `systemctl --user enable and restart ${name}.timer, start ${name}.service`
    await $`systemctl --user daemon-reload`
    // A timer may be active and never fire again.
    const steps = [
      await $`systemctl --user enable ${name}.timer`,
      await $`systemctl --user restart ${name}.timer`,
      await $`systemctl --user ${isAtWork ? 'start' : 'restart'} --no-block ${name}.service`,
    ]
    failure = steps.find((step) => step.failure)?.failure
  }
  if (failure === undefined && !(await hasWritten(run, tier, nowMs)))
    failure = `it was started and wrote nothing for ${settings.guardianPatienceSec} s`
  return { done, failure }
}

async function restoreCrontab({ settings }: TierRun, { cronLines, entries, scheduler }: Receipt) {
  const { cronTiers, editCrontab, withBlock } = await import('../lib/services/cron.ts')
  const hadOne = entries.some((entry) => entry.kind === 'cron-block' && entry.existed)
  let isThere = false
  try {
    await editCrontab(settings, (text) => {
      const present = cronTiers(text, settings.profile)
      isThere = cronTiers(cronLines.join('\n'), settings.profile).every((tier) => present.includes(tier))
      // On a Mac a job without Full Disk Access may see no crontab: writing would replace it.
      if (!isThere && text === '' && hadOne && scheduler === 'launchd')
        throw new Error('crontab -l says that there is no crontab, and there was one: nothing is written over it')
      return isThere ? text : withBlock(text, cronLines, settings.profile)
    })
  } catch (error) {
    return { done: 'crontab', failure: (error as Error).message }
  }
  if (!isThere) return { done: 'putting our crontab lines back', failure: undefined }
  const help = 'Linux: `systemctl status cron`; macOS: Full Disk Access for cron'
  return { done: 'crontab -l', failure: `its crontab line is in place, but cron does not run it (${help})` }
}

async function hasWritten({ settings, signal }: TierRun, tier: TierName, sinceMs: number): Promise<boolean> {
  for (const end = performance.now() + settings.guardianPatienceSec * 1000; ; await delay(250)) {
    const lastMs = heartbeatMs(settings, tier)
    if (lastMs > sinceMs && lastMs <= Date.now()) return true
    if (signal.aborted || performance.now() > end) return false
  }
}
