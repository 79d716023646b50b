/** Takes what is in the outbox to the human, through every channel, and keeps what could not be delivered. */
import { createHash, randomUUID } from 'node:crypto'
import type { Journal } from '../tier/journal.ts'
import type { Alert } from './alert.ts'
import type { Answer, Channel } from './channel.ts'
import type { ChannelState, Delivery, Envelope, Ledger } from './ledger.ts'

export function envelope(alert: Alert): Envelope {
  return { id: randomUUID(), alert, deliveries: {} }
}

/**
 * After so many tries that may have arrived, so long until the next (in seconds): a service that takes messages but
 * never says so must not be sent the same one every five minutes.
 */
const UNCERTAIN_PAUSES_SEC = [0, 0, 900, 3600, 6 * 3600]

/** A channel that is gone is asked again this much later: it costs nothing, and a 404 may have been a mistake. */
const GONE_PAUSE_SEC = 3600

const NOT_TRIED: Delivery = { done: false, uncertainTries: 0, isBeingSent: false, notBeforeMs: 0 }
const NO_PROBLEM: ChannelState = { fingerprint: '', notBeforeMs: 0, problem: '', isGone: false }

export interface Office {
  channels: readonly Channel[]
  journal: Journal
  signal: AbortSignal
  /** Writes the ledger down; called before and after each request. */
  save: (ledger: Ledger) => void
}

/**
 * Sends what is due, oldest first, through all channels side by side; one that fails does not hold the others.
 * @returns the ledger with what is left in the outbox
 */
export async function dispatch(before: Ledger, office: Office): Promise<Ledger> {
  let ledger: Ledger = { ...before, outbox: before.outbox.map(afterInterruption) }
  const update = (change: (ledger: Ledger) => Ledger) => {
    ledger = change(ledger)
    office.save(ledger)
  }
  await Promise.all(office.channels.map((channel) => sendThrough(channel, office, () => ledger, update)))
  const left = ledger.outbox.filter((one) => !isDelivered(one, office.channels, ledger))
  if (left.length < ledger.outbox.length) update((current) => ({ ...current, outbox: left }))
  return ledger
}

/** Delivered: through every channel, or through one at least when the others are gone for good. */
function isDelivered({ deliveries }: Envelope, channels: readonly Channel[], ledger: Ledger): boolean {
  const done = (channel: Channel) => deliveries[channel.name]?.done === true
  return channels.some(done) && channels.every((channel) => done(channel) || stateOf(channel, ledger).isGone)
}

/** Stops at the first message that is not taken: a service that refuses one now would refuse the next as well. */
async function sendThrough(
  channel: Channel,
  { journal, signal }: Office,
  current: () => Ledger,
  update: (change: (ledger: Ledger) => Ledger) => void,
): Promise<void> {
  const { name } = channel
  if (isWaiting(stateOf(channel, current()))) return
  for (const { id, alert } of current().outbox) {
    const delivery = deliveryOf(current(), id, name)
    if (signal.aborted) return
    if (delivery.done || isWaiting(delivery)) continue
    update((ledger) => withDelivery(ledger, id, name, { ...delivery, isBeingSent: true }))
    const circumstances = { now: new Date(), mayBeRepetition: delivery.uncertainTries > 0 }
    const answer = await channel.send(alert, circumstances, signal)
    update((ledger) => ({
      ...withDelivery(ledger, id, name, afterAnswer(delivery, answer, Date.now())),
      channels: { ...ledger.channels, [name]: channelAfter(channel, answer, Date.now()) },
    }))
    if (answer.kind === 'delivered') {
      journal.info(`alert delivered to ${name}: ${alert.title}`)
      continue
    }
    const todo = answer.kind === 'gone' ? `; ${answer.todo}` : ''
    journal.error(`alert NOT delivered to ${name}: ${answer.why}; kept for a later run${todo}`)
    return
  }
}

/** A time further ahead than any pause was written by a clock that was wrong then: it is not waited for. */
function isWaiting({ notBeforeMs }: { notBeforeMs: number }): boolean {
  const leftMs = notBeforeMs - Date.now()
  return leftMs > 0 && leftMs <= UNCERTAIN_PAUSES_SEC.at(-1)! * 1000
}

/** What is known of a channel; nothing, when its address was changed since. */
export function stateOf(channel: Channel, { channels }: Ledger): ChannelState {
  const state = channels[channel.name]
  return state?.fingerprint === fingerprint(channel) ? state : NO_PROBLEM
}

function deliveryOf({ outbox }: Ledger, id: string, name: string): Delivery {
  return outbox.find((one) => one.id === id)?.deliveries[name] ?? NOT_TRIED
}

function withDelivery(ledger: Ledger, id: string, name: string, delivery: Delivery): Ledger {
  const outbox = ledger.outbox.map((one) =>
    one.id === id ? { ...one, deliveries: { ...one.deliveries, [name]: delivery } } : one,
  )
  return { ...ledger, outbox }
}

/** The run before this one died while it was sending: whether the message arrived, nobody knows. */
function afterInterruption(one: Envelope): Envelope {
  const deliveries = Object.entries(one.deliveries).map(([name, delivery]): [string, Delivery] => [
    name,
    delivery.isBeingSent ? { ...delivery, isBeingSent: false, uncertainTries: delivery.uncertainTries + 1 } : delivery,
  ])
  return { ...one, deliveries: Object.fromEntries(deliveries) }
}

function afterAnswer(before: Delivery, answer: Answer, nowMs: number): Delivery {
  const isUncertain = answer.kind === 'later' && answer.arrived === 'perhaps'
  const uncertainTries = before.uncertainTries + (isUncertain ? 1 : 0)
  const pauseSec = isUncertain ? (UNCERTAIN_PAUSES_SEC[uncertainTries] ?? UNCERTAIN_PAUSES_SEC.at(-1)!) : 0
  return {
    done: answer.kind === 'delivered',
    uncertainTries,
    isBeingSent: false,
    notBeforeMs: pauseSec === 0 ? 0 : nowMs + pauseSec * 1000,
  }
}

function channelAfter(channel: Channel, answer: Answer, nowMs: number): ChannelState {
  const state = { ...NO_PROBLEM, fingerprint: fingerprint(channel) }
  if (answer.kind === 'delivered') return state
  const waitSec = answer.kind === 'later' ? answer.waitSec : GONE_PAUSE_SEC
  return {
    ...state,
    problem: answer.why,
    isGone: answer.kind === 'gone',
    notBeforeMs: waitSec === 0 ? 0 : nowMs + waitSec * 1000,
  }
}

/** Tells whether the address is still the same, without writing the secret down once more. */
function fingerprint({ address }: Channel): string {
  return createHash('sha256').update(address).digest('hex').slice(0, 16)
}
