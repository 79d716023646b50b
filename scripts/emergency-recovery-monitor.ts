#!/usr/bin/env -S npx tsx
/**
 * Level 4, the monitor: the call to a human. Reads what the other tiers left in their logs and, when one of them wrote
 * MANUAL INTERVENTION REQUIRED, tells a human through Discord (and Slack, Telegram, ntfy, a webhook of one's own), with
 * everything needed to act; reminds while it lasts, and says when it is over.
 * Started by cron every 5 minutes; can be run by hand at any time.
 *
 * Exit 0  nothing to alert, or everything was delivered
 *      1  an alert could not be delivered yet; it is kept for the next run
 *      2  unusable flags or settings, nothing was touched
 *      3  I stood down: paused, or another monitor runs
 */
import { diskSighting, unwritableFolders } from '../lib/alerts/disk.ts'
import { readFrom, VERDICT } from '../lib/alerts/last-reading.ts'
import { type Ledger, readLedger, saveLedger } from '../lib/alerts/ledger.ts'
import { readSightings } from '../lib/alerts/sightings.ts'
import { EXIT } from '../lib/tier/contract.ts'
import { redact } from '../lib/tier/redact.ts'
import { type Outcome, runTier, type TierRun } from '../lib/tier/run.ts'

const UNDELIVERED = 'alerts of OpenClaw self-healing cannot be delivered; see the monitor log'

await runTier({
  tier: 'monitor',
  help: `Level 4 of openclaw-self-healing: tells a human when the other levels could not bring the OpenClaw Gateway back.
Started every 5 minutes by cron; can be run by hand at any time.`,
  flags: { 'test-alert': 'send a test through every configured channel and say what each answered' },
  runsWithoutLock: true,
  exitCodes: '0 nothing is left to be told, 1 an alert could not be delivered yet',
  redact,
  // A pause is deliberate: the service outside must not take it for a dead machine.
  whilePaused: (run, pause) => beat(run, undefined, `paused${/,? until .*/.exec(pause)?.[0] ?? ''}`),
  main,
})

async function main(run: TierRun): Promise<Outcome> {
  if (run.flags['test-alert']) return testAlert(run)
  run.meter.set('alertsWaiting', 0)
  const outcome = await monitor(run)
  if (!run.dryRun) await beat(run, outcome.code === EXIT.healthy ? undefined : UNDELIVERED, '')
  return outcome
}

async function monitor(run: TierRun): Promise<Outcome> {
  const { settings, journal, dryRun } = run

  // 1. What is open, and what could not be delivered so far.
  const now = new Date()
  const { ledger: before, problems } = readLedger(settings, dryRun)
  for (const problem of problems) journal.warn(problem)
  const hasBook = before.book.cases.length > 0 || before.book.histories.length > 0

  // 2. What recent logs say: MANUAL INTERVENTION REQUIRED, or the end of what was alerted.
  const { sightings, positions } = readSightings(settings, before.positions, readFrom(settings, now), hasBook, now)

  // 3. What no log can say: that nothing can be written.
  const troubles = unwritableFolders(settings, dryRun)
  for (const trouble of troubles) journal.error(`cannot be written: ${trouble}`)
  sightings.push(diskSighting(troubles, now))
  const week = settings.weeklyDigest ? await weekToTell(run, before.digestUntil, now) : undefined
  if (!hasBook && before.outbox.length === 0 && sightings.length === 1 && troubles.length === 0 && !week)
    return { code: EXIT.healthy, verdict: VERDICT.quiet }

  // 4. What of it is news, and once a week how the week was.
  const { updateCases } = await import('../lib/alerts/cases.ts')
  const { book, news } = updateCases(before.book, sightings, now, settings.alertWindowMin * 60)
  const { composeAlerts } = await import('../lib/alerts/compose.ts')
  const { envelope } = await import('../lib/alerts/dispatch.ts')
  const alerts = [...(await composeAlerts(settings, news, settings.notify === 'all', now)), ...(week?.digest ?? [])]
  for (const alert of alerts)
    journal.warn(`to be told: ${[alert.title, alert.lead, ...alert.whys].filter(Boolean).join(' / ')}`)

  // 5. It goes into the outbox, and the outbox goes to disk, before anything is sent.
  const outbox = [...before.outbox, ...alerts.map(envelope)]
  const digestUntil = week?.until ?? before.digestUntil
  return deliver(run, { ...before, positions, book, outbox, digestUntil }, now)
}

/** 4a. The digest of the week that ended last (of that one only, however long nobody told any), if it was not told yet. */
async function weekToTell(run: TierRun, toldUntil: string, now: Date) {
  const { endOfLastWeek, isDigestSent } = await import('../lib/report/digest.ts')
  const until = endOfLastWeek(now)
  if (isDigestSent(toldUntil, until, now)) return undefined
  const { configuredChannels, howToConfigure } = await import('../lib/alerts/channels.ts')
  if (configuredChannels(run.settings).length === 0) {
    run.journal.warn(`WEEKLY_DIGEST is on, but ${howToConfigure(run.settings)}: nobody can be sent it`)
    return { until: until.toISOString(), digest: [] }
  }
  const { composeDigest } = await import('../lib/report/digest.ts')
  return { until: until.toISOString(), digest: [await composeDigest(run.settings, until, now)] }
}

/** 6. Every channel gets everything. What one does not take stays in the outbox. */
async function deliver(run: TierRun, written: Ledger, now: Date): Promise<Outcome> {
  const { settings, journal, dryRun, meter } = run
  if (dryRun) return showInstead(run, written, now)
  const saved = saveLedger(settings, written)
  if (saved === undefined) {
    journal.error('what was told can be written down nowhere: speaking on the full and the half hour only')
    meter.set('alertsWaiting', written.outbox.length)
    // A digest would be sent each time anew: it waits until it can be written down that it was.
    written = { ...written, outbox: written.outbox.filter(({ alert }) => alert.kind !== 'digest') }
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
  const count = (channel: string, result: string) => meter.add('alertDeliveries', { channel, result })
  const delivery = dispatch(latest, { channels, journal, signal: run.signal, save, count })
  // Told to stop in the middle: the answer to a request under way is still written down.
  run.onExit(async () => void (await delivery))
  const { outbox } = await delivery
  meter.set('alertsWaiting', outbox.length)

  if (channels.length === 0) journal.error(`nobody can be told: ${howToConfigure(settings)}`)
  for (const { alert } of outbox) journal.error(`waiting to be delivered: ${alert.title}: ${alert.whys.join(' / ')}`)
  return outbox.length === 0
    ? { code: EXIT.healthy, verdict: VERDICT.delivered }
    : { code: EXIT.down, verdict: VERDICT.kept }
}

/** 7. The dead man's switch: from outside it is seen that this machine lives, and whether it can call. */
async function beat(
  { settings, journal }: Pick<TierRun, 'settings' | 'journal'>,
  failure: string | undefined,
  remark: string,
): Promise<void> {
  if (!settings.heartbeatUrl) return
  const { sendHeartbeat } = await import('../lib/alerts/heartbeat.ts')
  const problem = await sendHeartbeat(settings.heartbeatUrl, failure, remark, settings.alertTimeoutSec)
  if (problem) journal.warn(`the heartbeat was not taken: ${problem}`)
}

async function showInstead(run: TierRun, { outbox }: Ledger, now: Date): Promise<Outcome> {
  const { headline, plainBody } = await import('../lib/alerts/plain.ts')
  for (const { alert, id } of outbox) {
    const body = plainBody(alert, { now, id, mayBeRepetition: false }, 8000, 4000)
    run.journal.info(`dry run: would send:\n${headline(alert, 300)}\n${body}`)
  }
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
    const circumstances = { now, id: `test-${now.getTime()}`, mayBeRepetition: false }
    const answer = await channel.send(composeTestAlert(settings, now), circumstances, run.signal)
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
