#!/usr/bin/env -S npx tsx
/**
 * Level 4, the monitor: the call to a human. Reads what the other tiers left in their logs and, when one of them wrote
 * MANUAL INTERVENTION REQUIRED, tells Discord, with everything that a human needs to act.
 * Started by cron every 5 minutes; can be run by hand at any time.
 *
 * Exit 0  nothing to alert, or everything was delivered
 *      1  an alert could not be delivered yet; it is kept for the next run
 *      2  unusable flags or settings, nothing was touched
 *      3  I stood down: paused, or another monitor runs
 */
import { updateCases } from '../lib/alerts/cases.ts'
import { unwritableFolders } from '../lib/alerts/disk.ts'
import { readFrom, VERDICT } from '../lib/alerts/last-reading.ts'
import { type Ledger, readLedger, saveLedger } from '../lib/alerts/ledger.ts'
import { redact } from '../lib/alerts/redact.ts'
import { readSightings } from '../lib/alerts/sightings.ts'
import { EXIT } from '../lib/tier/contract.ts'
import { type Outcome, runTier, type TierRun } from '../lib/tier/run.ts'

await runTier({
  tier: 'monitor',
  help: `Level 4 of openclaw-self-healing: tells a human when the other levels could not bring the OpenClaw Gateway back.
Started every 5 minutes by cron; can be run by hand at any time.`,
  flags: { 'test-alert': 'send a test through every configured channel and say what each answered' },
  runsWithoutLock: true,
  redact,
  main,
})

async function main(run: TierRun): Promise<Outcome> {
  const { settings, journal, dryRun } = run
  if (run.flags['test-alert']) return testAlert(run)

  // 1. What is open, and what could not be delivered so far.
  const now = new Date()
  const { ledger: before, problems } = readLedger(settings, dryRun)
  for (const problem of problems) journal.warn(problem)

  // 2. Recent logs with MANUAL INTERVENTION REQUIRED that were not alerted yet.
  const hasOpen = before.cases.length > 0
  const { sightings, positions } = readSightings(settings, before.positions, readFrom(settings, now), hasOpen, now)
  const { cases, news } = updateCases(before.cases, sightings)

  // 3. What nobody else can say: that nothing can be written.
  const troubles = unwritableFolders(settings, dryRun)
  for (const trouble of troubles) journal.error(`cannot be written: ${trouble}`)
  const diskTrouble = troubles.join('; ')
  const diskNews = diskTrouble === before.diskTrouble ? [] : troubles

  if (!hasOpen && before.outbox.length === 0 && sightings.length === 0 && diskTrouble === before.diskTrouble)
    return { code: EXIT.healthy, verdict: VERDICT.quiet }

  // 4. The alerts go into the outbox, and the outbox goes to disk, before anything is sent.
  const { composeAlert, composeDiskAlert } = await import('../lib/alerts/compose.ts')
  const { envelope } = await import('../lib/alerts/dispatch.ts')
  const alerts = [
    ...(news.length > 0 ? [await composeAlert(settings, news, cases, now)] : []),
    ...(diskNews.length > 0 ? [composeDiskAlert(diskNews, now)] : []),
  ]
  for (const alert of alerts) journal.warn(`a human is needed: ${alert.title}: ${alert.whys.join(' / ')}`)
  const outbox = [...before.outbox, ...alerts.map(envelope)]
  return deliver(run, { ...before, positions, cases, diskTrouble, outbox }, now)
}

/** 5. Discord, with the tail of the log. What it does not take stays in the outbox. */
async function deliver(run: TierRun, written: Ledger, now: Date): Promise<Outcome> {
  const { settings, journal, dryRun } = run
  if (dryRun) return showInstead(run, written, now)
  const saved = saveLedger(settings, written)
  if (saved === undefined) {
    journal.error('what was alerted can be written down nowhere: speaking on the full and the half hour only')
    if (now.getMinutes() % 30 >= 5) return { code: EXIT.down, verdict: VERDICT.kept }
  }
  if (written.outbox.length === 0) return { code: EXIT.healthy, verdict: VERDICT.quiet }

  const { configuredChannels, howToConfigure } = await import('../lib/alerts/channels.ts')
  const { dispatch } = await import('../lib/alerts/dispatch.ts')
  const channels = configuredChannels(settings)
  let latest = saved ?? written
  const save = (ledger: Ledger) => {
    latest = saveLedger(settings, { ...ledger, saved: latest.saved }) ?? latest
  }
  const delivery = dispatch(latest, { channels, journal, signal: run.signal, save })
  // Told to stop in the middle: the answer to a request under way is still written down.
  run.onExit(async () => void (await delivery))
  const { outbox } = await delivery

  if (channels.length === 0) journal.error(`nobody can be told: ${howToConfigure(settings)}`)
  for (const { alert } of outbox) journal.error(`waiting to be delivered: ${alert.title}: ${alert.whys.join(' / ')}`)
  return outbox.length === 0
    ? { code: EXIT.healthy, verdict: VERDICT.delivered }
    : { code: EXIT.down, verdict: VERDICT.kept }
}

async function showInstead(run: TierRun, { outbox }: Ledger, now: Date): Promise<Outcome> {
  const { discordContent } = await import('../lib/alerts/discord.ts')
  for (const { alert } of outbox)
    run.journal.info(`dry run: would send:\n${discordContent(alert, { now, mayBeRepetition: false })}`)
  return outbox.length === 0
    ? { code: EXIT.healthy, verdict: VERDICT.quiet }
    : { code: EXIT.down, verdict: VERDICT.kept }
}

async function testAlert(run: TierRun): Promise<Outcome> {
  const { settings, journal } = run
  const { composeTestAlert } = await import('../lib/alerts/compose.ts')
  const { configuredChannels, howToConfigure } = await import('../lib/alerts/channels.ts')
  const now = new Date()
  const channels = configuredChannels(settings)
  if (channels.length === 0) journal.error(`nobody can be told: ${howToConfigure(settings)}`)
  let failures = 0
  for (const channel of channels) {
    if (run.dryRun) {
      journal.info(`dry run: would send a test to ${channel.name}`)
      continue
    }
    const answer = await channel.send(composeTestAlert(now), { now, mayBeRepetition: false }, run.signal)
    if (answer.kind === 'delivered') {
      journal.info(`${channel.name} took the test: ${answer.said}`)
      continue
    }
    failures++
    journal.error(
      `${channel.name} did not take the test: ${answer.why}${answer.kind === 'gone' ? `; ${answer.todo}` : ''}`,
    )
  }
  const isWell = channels.length > 0 && failures === 0
  return { code: isWell ? EXIT.healthy : EXIT.down, verdict: VERDICT.tested }
}
