/** Takes what is in the outbox to the human, through every channel, and keeps what could not be delivered. */
import { randomUUID } from 'node:crypto'
import { DEED } from '../tier/contract.ts'
import type { Journal } from '../tier/journal.ts'
import { type Alert, type Channel, mergeAlerts } from './alert.ts'
import { send, todoOf } from './channels.ts'
import { composeChannelGone } from './compose.ts'
import { type ChannelState, type Delivery, type Ledger, NO_PROBLEM, NOT_TRIED, type QueuedAlert } from './ledger.ts'
import { hash } from './news.ts'
import type { Answer, Limits } from './post.ts'

/** By the tries: a service that takes messages without saying so must not get one every five minutes. */
const UNCERTAIN_PAUSES_SEC = [0, 0, 900, 3600, 6 * 3600]
/** A 404 may have been a mistake. */
const GONE_PAUSE_SEC = 3600
/** An incident's reminder is among the newest. */
const MAX_WAITING = 50

interface Office extends Limits {
  channels: readonly Channel[]
  journal: Journal
  save: (ledger: Ledger) => void
  count: (channel: string, result: Answer['kind']) => void
}

export function queued(alert: Alert): QueuedAlert {
  return { id: randomUUID(), alert, deliveries: {} }
}

/** Sends through all channels; when one turns out to be gone, the others report that. Returns the new ledger. */
export async function dispatch(before: Ledger, office: Office): Promise<Ledger> {
  const { channels, journal } = office
  const dropped = before.outbox.length - MAX_WAITING
  if (dropped > 0) journal.error(`${dropped} alerts dropped: more than ${MAX_WAITING} wait to be delivered`)
  let ledger = { ...before, outbox: before.outbox.slice(-MAX_WAITING).map(afterInterruption) }
  const isGone = (channel: Channel) => stateOf(channel, ledger).isGone
  const wasGone = channels.filter(isGone)
  await sendAll(channels)
  const lost = channels.filter((one) => isGone(one) && !wasGone.includes(one))
  const others = channels.filter((one) => !isGone(one))
  if (lost.length === 0 || others.length === 0) return ledger
  const news = lost.map((one) => queued(composeChannelGone(one.name, stateOf(one, ledger).problem, new Date())))
  update({ outbox: [...ledger.outbox, ...news] })
  await sendAll(others)
  return ledger

  function update(change: Partial<Ledger>): void {
    ledger = { ...ledger, ...change }
    office.save(ledger)
  }

  async function sendAll(some: readonly Channel[]): Promise<void> {
    await Promise.all(some.map(sendThrough))
    const isDelivered = ({ deliveries }: QueuedAlert) => {
      const open = channels.filter(({ name }) => !deliveries[name]?.done)
      return open.length < channels.length && open.every(isGone)
    }
    update({ outbox: ledger.outbox.filter((one) => !isDelivered(one)) })
  }

  async function sendThrough(channel: Channel): Promise<void> {
    const { name } = channel
    const deliveryOf = ({ deliveries }: QueuedAlert) => deliveries[name] ?? NOT_TRIED
    const due = ledger.outbox.filter((one) => !deliveryOf(one).done && !isWaiting(deliveryOf(one)))
    if (due.length === 0 || isWaiting(stateOf(channel, ledger)) || office.signal?.aborted) return
    const ids = due.map(({ id }) => id)
    const note = (change: (delivery: Delivery) => Delivery, channelsAfter = ledger.channels) => {
      const noted = (one: QueuedAlert) => ({ ...one.deliveries, [name]: change(deliveryOf(one)) })
      const outbox = ledger.outbox.map((one) => (ids.includes(one.id) ? { ...one, deliveries: noted(one) } : one))
      update({ outbox, channels: channelsAfter })
    }
    const [now, alerts] = [new Date(), due.map((one) => one.alert)]
    const alert = mergeAlerts(alerts, now)
    const mayBeRepetition = due.some((one) => deliveryOf(one).uncertainTries > 0)
    const circumstances = { now, mayBeRepetition, id: ids.join('+').slice(0, 200) }

    note((delivery) => ({ ...delivery, isBeingSent: true }))
    const answer = await send(channel, alert, circumstances, office)
    note((delivery) => afterAnswer(delivery, answer), { ...ledger.channels, [name]: channelAfter(channel, answer) })
    office.count(name, answer.kind)
    if (answer.kind === 'delivered')
      return journal.info((alert.kind === 'digest' ? DEED.toldDigest : DEED.told)(name, alert.title))
    journal.error(`alert NOT delivered to ${name}: ${answer.why}; kept for a later run${todoOf(answer)}`)
  }
}

/** A time further ahead than any pause is from a wrong clock. */
function isWaiting({ notBeforeMs }: { notBeforeMs: number }): boolean {
  const leftMs = notBeforeMs - Date.now()
  return leftMs > 0 && leftMs <= UNCERTAIN_PAUSES_SEC.at(-1)! * 1000
}

/** Without a pause no time at all: it would become one when the clock is set back. */
function inFuture(pauseSec: number): number {
  return pauseSec > 0 ? Date.now() + pauseSec * 1000 : 0
}

function stateOf({ name, address }: Channel, { channels }: Ledger): ChannelState {
  const state = channels[name]
  return state?.fingerprint === hash(address) ? state : NO_PROBLEM
}

function afterInterruption(one: QueuedAlert): QueuedAlert {
  const deliveries = Object.entries(one.deliveries).map(([name, before]) => {
    const uncertainTries = before.uncertainTries + (before.isBeingSent ? 1 : 0)
    return [name, { ...before, isBeingSent: false, uncertainTries }]
  })
  return { ...one, deliveries: Object.fromEntries(deliveries) }
}

function afterAnswer(before: Delivery, answer: Answer): Delivery {
  const isUncertain = answer.kind === 'later' && answer.arrived === 'perhaps'
  const uncertainTries = before.uncertainTries + (isUncertain ? 1 : 0)
  const pauseSec = isUncertain ? (UNCERTAIN_PAUSES_SEC[uncertainTries] ?? UNCERTAIN_PAUSES_SEC.at(-1)!) : 0
  const notBeforeMs = inFuture(pauseSec)
  return { done: answer.kind === 'delivered', uncertainTries, isBeingSent: false, notBeforeMs }
}

function channelAfter({ address }: Channel, answer: Answer): ChannelState {
  const state = { ...NO_PROBLEM, fingerprint: hash(address) }
  if (answer.kind === 'delivered') return state
  const waitSec = answer.kind === 'later' ? answer.waitSec : GONE_PAUSE_SEC
  const notBeforeMs = inFuture(waitSec)
  return { ...state, problem: answer.why + todoOf(answer), isGone: answer.kind === 'gone', notBeforeMs }
}
