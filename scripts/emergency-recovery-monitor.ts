#!/usr/bin/env -S npx tsx
/**
 * Level 4, the monitor: the call to a human. Reads what the other tiers left in their logs and, when one of them wrote
 * MANUAL INTERVENTION REQUIRED, sends everything needed to act to Discord (and Slack, Telegram, ntfy, a webhook);
 * reminds while it lasts, and says when it is over. Started by cron every 5 minutes; can be run by hand at any time.
 *
 * Exit 0  nothing to alert, or everything was delivered
 *      1  an alert could not be delivered yet; it is kept for the next run
 *      2  unusable flags or settings, nothing was touched
 *      3  not acting: paused, or another monitor runs
 */
import { type Ledger, queued, readLedger, saveLedger } from '../lib/alerts/ledger.ts'
import { readHappenings, unwritableFolders, whatIsNew } from '../lib/alerts/news.ts'
import { EXIT } from '../lib/tier/contract.ts'
import { type Outcome, runTier, type TierRun } from '../lib/tier/run.ts'

const QUIET: Outcome = { code: EXIT.healthy, verdict: 'nothing to alert' }
const DELIVERED: Outcome = { code: EXIT.healthy, verdict: 'alerts delivered' }
const KEPT: Outcome = { code: EXIT.down, verdict: 'alerts not delivered' }

await runTier({
  tier: 'monitor',
  help: `Level 4 of openclaw-self-healing: alerts a human when the other levels could not bring the OpenClaw Gateway back.
Started every 5 minutes by cron; can be run by hand at any time.`,
  flags: {
    'test-alert': 'send a test through every configured channel and say what each answered',
    called: 'as the other levels do: for 30 s at most, and nothing that cannot be written down',
  },
  exitCodes: '0 nothing is left to be sent, 1 an alert could not be delivered yet',
  main,
})

async function main(run: TierRun): Promise<Outcome> {
  if (run.flags['test-alert']) return testAlert(run)
  const outcome = await monitor(run)
  if (run.pause && !run.dryRun) {
    run.journal.info(`not acting: ${run.pause}`)
    await beat(run, undefined, `paused${/,? until .*/.exec(run.pause)?.[0] ?? ''}`)
    return { code: EXIT.stoodDown, verdict: 'stood down' }
  }
  const failure = 'alerts of OpenClaw self-healing cannot be delivered; see the monitor log'
  if (!run.dryRun) await beat(run, outcome.code === EXIT.healthy ? undefined : failure)
  return outcome
}

async function monitor(run: TierRun): Promise<Outcome> {
  const { settings, journal, dryRun, pause } = run

  // 1. What is open, what could not be delivered so far, and whether anything can be written.
  const now = new Date()
  const { ledger, problems } = readLedger(settings, dryRun)
  for (const problem of problems) journal.warn(problem)
  const troubles = dryRun ? [] : unwritableFolders(settings)
  for (const trouble of troubles) journal.error(`cannot be written: ${trouble}`)
  const digest = settings.weeklyDigest && !pause ? await import('../lib/report/digest.ts') : undefined
  const week = await digest?.digestDue(settings, journal, ledger, now)

  // 2. What happened since, and what of it is news; while it is paused, only what was done before.
  const { happenings, history, told } = readHappenings(settings, ledger, now, pause !== undefined)
  const disk = { scope: 'disk', at: now } as const
  if (troubles.length === 0) happenings.push({ ...disk, kind: 'over' })
  else happenings.push({ ...disk, kind: 'call', why: troubles.join('; '), log: '' })
  const { book, news: all } = whatIsNew(ledger.book, happenings, now, settings.alertWindowMin * 60)
  const news = pause === undefined ? all : all.filter(({ kind }) => kind === 'notice')

  // 3. It goes into the outbox, and the outbox goes to disk, before anything is sent.
  const composer = news.length > 0 ? await import('../lib/alerts/compose.ts') : undefined
  const alerts = [...((await composer?.composeAlerts(settings, news, history, now)) ?? []), ...(week ?? [])]
  for (const { title, evidence, lead, whys } of alerts)
    journal.warn(`to be sent: ${[title, evidence, lead, ...whys].filter(Boolean).join(' / ')}`)
  // Of what heals itself again and again, one that waits is enough.
  const waits = ({ kind, issue }: (typeof alerts)[number]) =>
    kind === 'recurred' && ledger.outbox.some(({ alert }) => alert.kind === kind && alert.issue?.key === issue?.key)
  ledger.outbox.push(...alerts.filter((one) => !waits(one)).map(queued))
  Object.assign(ledger, { told }, pause === undefined && { readAt: now.toISOString(), book })
  return deliver(run, ledger, now)
}

/** 4. Every channel gets everything. What one does not take stays in the outbox. */
async function deliver(run: TierRun, ledger: Ledger, now: Date): Promise<Outcome> {
  const { settings, journal, meter } = run
  if (run.dryRun) {
    const { bodyOf, headline } = await import('../lib/alerts/alert.ts')
    const shown = { now, id: '', mayBeRepetition: false }
    for (const { alert } of ledger.outbox) {
      const { kind, issue } = alert
      if (kind !== 'recurred')
        journal.info(`dry run: would send:\n${headline(alert, 300)}\n${bodyOf(alert, shown, 8000)}`)
      if (issue) journal.info(`dry run: would file on GitHub:\n${issue.title}\n\n${issue.text}`)
    }
    return ledger.outbox.length === 0 ? QUIET : KEPT
  }
  meter.set('alertsWaiting', ledger.outbox.length)
  if (!saveLedger(settings, ledger)) {
    journal.error('what was sent cannot be written down: sending on the full and the half hour only')
    ledger.outbox = ledger.outbox.filter(({ alert }) => alert.kind !== 'digest')
    if (run.flags.called || now.getMinutes() % 30 >= 5) return KEPT
  }
  if (ledger.outbox.length === 0) return QUIET

  const { configuredChannels, noChannel } = await import('../lib/alerts/channels.ts')
  const { dispatch } = await import('../lib/alerts/outbox.ts')
  const channels = configuredChannels(settings)
  const limit = run.flags.called ? AbortSignal.timeout(30_000) : run.signal
  const delivery = dispatch({ ...run, signal: AbortSignal.any([run.signal, limit]) }, ledger, channels)
  run.onExit(() => delivery)
  await delivery
  meter.set('alertsWaiting', ledger.outbox.length)

  if (channels.length === 0) journal.error(noChannel(settings))
  for (const { alert } of ledger.outbox)
    journal.error(`waiting to be delivered: ${alert.title}: ${alert.whys.join(' / ')}`)
  return ledger.outbox.length === 0 ? DELIVERED : KEPT
}

/** 5. The dead man's switch (https://healthchecks.io/docs/http_api/): a service outside notices when no ping comes. */
async function beat({ settings, journal }: Pick<TierRun, 'settings' | 'journal'>, failure?: string, remark = '') {
  if (!settings.heartbeatUrl) return
  const { post } = await import('../lib/alerts/post.ts')
  const url = new URL(settings.heartbeatUrl)
  if (failure !== undefined) url.pathname = `${url.pathname.replace(/\/+$/, '')}/fail`
  const headers = { 'Content-Type': 'text/plain; charset=utf-8' }
  const answer = await post(url.href, { body: failure ?? remark, headers }, { timeoutSec: settings.alertTimeoutSec })
  if (answer.kind !== 'delivered') journal.warn(`the heartbeat was not taken: ${answer.why}`)
}

async function testAlert({ settings, journal, dryRun, signal }: TierRun): Promise<Outcome> {
  const { configuredChannels, formProblems, noChannel, sendTest } = await import('../lib/alerts/channels.ts')
  const channels = configuredChannels(settings)
  if (channels.length === 0) journal.error(noChannel(settings))
  for (const problem of formProblems(settings)) journal.warn(problem)
  for (const { name } of dryRun ? channels : []) journal.info(`dry run: would send a test to ${name}`)
  const answers = dryRun ? [] : await sendTest(settings, signal)
  for (const { isTaken, said } of answers) journal[isTaken ? 'info' : 'error'](said)
  const isWell = channels.length > 0 && answers.every(({ isTaken }) => isTaken)
  return { code: isWell ? EXIT.healthy : EXIT.down, verdict: 'test alert' }
}
