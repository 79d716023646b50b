/** Takes what is in the outbox to the human, through every channel, and keeps what could not be delivered. */
import { randomUUID } from 'node:crypto'
import { DEED } from '../tier/contract.ts'
import type { TierRun } from '../tier/run.ts'
import { type Alert, type Channel, mergeAlerts } from './alert.ts'
import { send } from './channels.ts'
import { composeChannelGone } from './compose.ts'
import { type Delivery, hash, type Ledger, NO_PROBLEM, NOT_TRIED, type QueuedAlert, saveLedger } from './ledger.ts'

/** By the tries: a service that takes messages without saying so must not get one every five minutes. */
const UNCERTAIN_PAUSES_SEC = [0, 0, 0, 900, 3600]
const LONGEST_PAUSE_SEC = 6 * 3600
/** A 404 may have been a mistake. */
const GONE_PAUSE_SEC = 3600
/** An incident's reminder is among the newest. */
const MAX_WAITING = 50

export function queued(alert: Alert): QueuedAlert {
  return { id: randomUUID(), alert, deliveries: {} }
}

/** Sends through all channels; when one turns out to be gone, the others report that. Keeps `ledger` up to date, here and on disk. */
export async function dispatch(run: TierRun, ledger: Ledger, channels: readonly Channel[]): Promise<void> {
  const { settings, journal, meter, signal } = run
  const dropped = ledger.outbox.length - MAX_WAITING
  if (dropped > 0) journal.error(`${dropped} alerts dropped: more than ${MAX_WAITING} wait to be delivered`)
  ledger.outbox = ledger.outbox.slice(-MAX_WAITING)
  const news: Alert[] = []
  await sendAll(channels)
  const others = channels.filter((channel) => !stateOf(channel).isGone)
  if (news.length === 0 || others.length === 0) return
  ledger.outbox.push(...news.map(queued))
  await sendAll(others)

  function stateOf({ name, address }: Channel) {
    const state = ledger.channels[name]
    return state?.fingerprint === hash(address) ? state : { ...NO_PROBLEM, fingerprint: hash(address) }
  }

  async function sendAll(some: readonly Channel[]): Promise<void> {
    await Promise.all(some.map(sendThrough))
    ledger.outbox = ledger.outbox.filter(({ deliveries }) => {
      const open = channels.filter(({ name }) => !deliveries[name]?.done)
      return open.length === channels.length || !open.every((channel) => stateOf(channel).isGone)
    })
    saveLedger(settings, ledger)
  }

  async function sendThrough(channel: Channel): Promise<void> {
    const { name } = channel
    const before = stateOf(channel)
    const deliveryOf = ({ deliveries }: QueuedAlert) => deliveries[name] ?? NOT_TRIED
    const due = ledger.outbox.filter((one) => !deliveryOf(one).done && !isWaiting(deliveryOf(one)))
    if (due.length === 0 || isWaiting(before) || signal.aborted) return
    const tried = due.map(deliveryOf)
    const note = (deliveries: Delivery[]) => {
      for (const [i, one] of due.entries()) one.deliveries[name] = deliveries[i]!
      saveLedger(settings, ledger)
    }
    const now = new Date()
    const alerts = due.map((one) => one.alert)
    const alert = mergeAlerts(alerts, now)
    const mayBeRepetition = tried.some(({ uncertainTries }) => uncertainTries > 0)
    const ids = due.map((one) => one.id)
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
      journal.info((alert.kind === 'digest' ? DEED.toldDigest : DEED.told)(name, alert.title))
      return
    }
    note(answer.kind === 'later' && answer.arrived === 'perhaps' ? tried.map(uncertain) : tried)
    if (answer.kind === 'gone' && !before.isGone) news.push(composeChannelGone(name, answer.why, now))
    journal.error(`alert NOT delivered to ${name}: ${answer.why}; kept for a later run`)
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
