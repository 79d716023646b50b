/** How the outbox goes through the channels: what each takes, what waits, and what is reported when one is gone. */
import { DEED } from '../tier/contract.ts'
import type { TierRun } from '../tier/run.ts'
import { type Alert, type Channel, mergeAlerts } from './alert.ts'
import { isFor, send } from './channels.ts'
import { composeChannelGone } from './compose.ts'
import { type Delivery, hash, type Ledger, NO_PROBLEM, NOT_TRIED, queued, saveLedger } from './ledger.ts'

/** By the tries: a service that takes messages without saying so must not get one every five minutes. */
const UNCERTAIN_PAUSES_SEC = [0, 0, 900, 3600]
const LONGEST_PAUSE_SEC = 6 * 3600
/** A 404 may have been a mistake. */
const GONE_PAUSE_SEC = 3600
/** An incident's reminder is among the newest. */
const MAX_WAITING = 50

/** Sends through all channels; when one turns out to be gone, the others report that. Keeps `ledger` up to date, here and on disk. */
export async function dispatch(run: TierRun, ledger: Ledger, channels: readonly Channel[]): Promise<void> {
  const { settings, journal, meter, signal } = run
  const dropped = ledger.outbox.length - MAX_WAITING
  if (dropped > 0) journal.error(`${dropped} alerts dropped: more than ${MAX_WAITING} wait to be delivered`)
  ledger.outbox = ledger.outbox.slice(-MAX_WAITING)
  const news: Alert[] = []
  do {
    ledger.outbox.push(...news.splice(0).map(queued))
    await Promise.all(channels.map(sendThrough))
    ledger.outbox = ledger.outbox.filter(({ alert, deliveries }) => {
      const concerned = channels.filter((one) => isFor(one, alert))
      const open = concerned.filter(({ name }) => !deliveries[name]?.done)
      if (open.length === 0) return channels.length === 0
      return open.length === concerned.length || !open.every((channel) => stateOf(channel).isGone)
    })
    saveLedger(settings, ledger)
  } while (news.length > 0 && channels.some((channel) => !stateOf(channel).isGone))

  function stateOf({ name, url, account = '' }: Channel) {
    const state = ledger.channels[name]
    const fingerprint = hash(`${url} ${account}`)
    return state?.fingerprint === fingerprint ? state : { ...NO_PROBLEM, fingerprint }
  }

  async function sendThrough(channel: Channel): Promise<void> {
    const due = ledger.outbox.filter((one) => {
      const delivery = one.deliveries[channel.name] ?? NOT_TRIED
      // Filing first reads what is there, and an end must not come before its beginning.
      return isFor(channel, one.alert) && !delivery.done && (channel.file || !isWaiting(delivery))
    })
    for (const batch of channel.file ? due.map((one) => [one]) : [due]) if (!(await deliver(channel, batch))) return
  }

  /** False when it is not to be tried with more. */
  async function deliver(channel: Channel, due: Ledger['outbox']): Promise<boolean> {
    const { name } = channel
    const before = stateOf(channel)
    if (due.length === 0 || isWaiting(before) || signal.aborted) return false
    const tried = due.map(({ deliveries }) => deliveries[name] ?? NOT_TRIED)
    const note = (deliveries: Delivery[]) => {
      for (const [i, one] of due.entries()) one.deliveries[name] = deliveries[i]!
      saveLedger(settings, ledger)
    }
    const now = new Date()
    const [ids, alerts] = [due.map(({ id }) => id), due.map((one) => one.alert)]
    const alert = mergeAlerts(alerts, now)
    const mayBeRepetition = tried.some(({ uncertainTries }) => uncertainTries > 0)
    const id = ids.join('+').slice(0, 200)

    // Killed while it sends, it is not known whether it arrived.
    note(tried.map(uncertain))
    const limits = { timeoutSec: settings.alertTimeoutSec, signal }
    const answer = await send(channel, alert, { now, mayBeRepetition, id }, limits)
    meter.add('alertDeliveries', { channel: name, result: answer.kind })
    const waitSec = answer.kind === 'later' ? answer.waitSec : answer.kind === 'gone' ? GONE_PAUSE_SEC : 0
    ledger.channels[name] = { ...before, notBeforeMs: inFuture(waitSec), isGone: answer.kind === 'gone' }
    if (answer.kind === 'delivered') {
      note(tried.map((one) => ({ ...one, done: true })))
      journal.info((alert.kind === 'digest' ? DEED.deliveredDigest : DEED.delivered)(name, alert.title))
      return true
    }
    note(answer.kind === 'later' && answer.arrived === 'perhaps' ? tried.map(uncertain) : tried)
    if (answer.kind === 'gone' && !before.isGone) news.push(composeChannelGone(name, answer.why, now))
    journal.error(`alert NOT delivered to ${name}: ${answer.why}; kept for a later run`)
    return false
  }
}

function uncertain({ done, uncertainTries }: Delivery): Delivery {
  const tries = uncertainTries + 1
  return { done, uncertainTries: tries, notBeforeMs: inFuture(UNCERTAIN_PAUSES_SEC[tries] ?? LONGEST_PAUSE_SEC) }
}

/** A time further ahead than any pause is from a wrong clock. */
function isWaiting({ notBeforeMs }: { notBeforeMs: number }): boolean {
  const leftMs = notBeforeMs - Date.now()
  return leftMs > 0 && leftMs <= LONGEST_PAUSE_SEC * 1000
}

/** Without a pause no time at all: it would become one when the clock is set back. */
function inFuture(pauseSec: number): number {
  return pauseSec > 0 ? Date.now() + pauseSec * 1000 : 0
}
