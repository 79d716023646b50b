/** Takes what is in the outbox to the human, through every channel, and keeps what could not be delivered. */
import { createHash, randomUUID } from 'node:crypto'
import { DEED } from '../tier/contract.ts'
import type { Journal } from '../tier/journal.ts'
import type { Alert } from './alert.ts'
import type { Answer, Channel } from './channel.ts'
import { composeChannelGone } from './compose.ts'
import type { ChannelState, Delivery, Envelope, Ledger } from './ledger.ts'
import { mergeAlerts } from './merge.ts'

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
  /** Counts an answer: `delivered`, or how it was not. */
  count: (channel: string, result: Answer['kind']) => void
}

/** More than these do not wait singly: the oldest are merged. Without a channel they would grow for ever. */
const MAX_WAITING = 50

/**
 * Sends what is due through all channels side by side; one that fails does not hold the others. When a channel turns
 * out to be gone for good, the others are told.
 * @returns the ledger with what is left in the outbox
 */
export async function dispatch(before: Ledger, office: Office): Promise<Ledger> {
  const after = await dispatchOnce({ ...before, outbox: mergeOldest(before.outbox.map(afterInterruption)) }, office)
  const lost = office.channels.filter((one) => stateOf(one, after).isGone && !stateOf(one, before).isGone)
  const others = office.channels.filter((one) => !stateOf(one, after).isGone)
  if (lost.length === 0 || others.length === 0) return after
  const now = new Date()
  const told = lost.map((one) => envelope(composeChannelGone(one.name, stateOf(one, after).problem, now)))
  return dispatchOnce({ ...after, outbox: [...after.outbox, ...told] }, { ...office, channels: others })
}

async function dispatchOnce(before: Ledger, office: Office): Promise<Ledger> {
  let ledger = before
  const update = (change: (ledger: Ledger) => Ledger) => {
    ledger = change(ledger)
    office.save(ledger)
  }
  await Promise.all(office.channels.map((channel) => sendThrough(channel, office, () => ledger, update)))
  const left = ledger.outbox.filter((one) => !isDelivered(one, office.channels, ledger))
  if (left.length < ledger.outbox.length) update((current) => ({ ...current, outbox: left }))
  return ledger
}

function mergeOldest(outbox: Envelope[]): Envelope[] {
  if (outbox.length <= MAX_WAITING) return outbox
  const oldest = outbox.slice(0, -MAX_WAITING / 2)
  // Each scope by itself: whether what is merged is over must still be seen when its end is told later.
  const scopes = [...new Set(oldest.map(({ alert }) => alert.scope))]
  const merged = scopes.map((scope) => mergeEnvelopes(oldest.filter(({ alert }) => alert.scope === scope)))
  return [...merged, ...outbox.slice(-MAX_WAITING / 2)]
}

/** Where some of them have arrived already, they arrive once more: better than one that never does. */
function mergeEnvelopes(waiting: Envelope[]): Envelope {
  const alerts = waiting.map(({ alert }) => alert)
  return waiting.length === 1 ? waiting[0]! : envelope(mergeAlerts(alerts, new Date()))
}

/** Delivered: through every channel, or through one at least when the others are gone for good. */
function isDelivered({ deliveries }: Envelope, channels: readonly Channel[], ledger: Ledger): boolean {
  const done = (channel: Channel) => deliveries[channel.name]?.done === true
  return channels.some(done) && channels.every((channel) => done(channel) || stateOf(channel, ledger).isGone)
}

/** Everything that is due goes in one message: after an outage nobody wants to read six of them. */
async function sendThrough(
  channel: Channel,
  { journal, signal, count }: Office,
  current: () => Ledger,
  update: (change: (ledger: Ledger) => Ledger) => void,
): Promise<void> {
  const { name } = channel
  if (isWaiting(stateOf(channel, current())) || signal.aborted) return
  const due = current().outbox.filter((one) => isDue(deliveryOf(one, name)))
  if (due.length === 0) return
  const now = new Date()
  const alert = mergeAlerts(
    due.map((one) => one.alert),
    now,
  )
  const ids = new Set(due.map(({ id }) => id))
  const mayBeRepetition = due.some((one) => deliveryOf(one, name).uncertainTries > 0)
  const circumstances = {
    now,
    mayBeRepetition,
    id: due
      .map(({ id }) => id)
      .join('+')
      .slice(0, 200),
  }

  update((ledger) => withDeliveries(ledger, ids, name, (before) => ({ ...before, isBeingSent: true })))
  const answer = await channel.send(alert, circumstances, signal)
  update((ledger) => ({
    ...withDeliveries(ledger, ids, name, (before) => afterAnswer(before, answer, Date.now())),
    channels: { ...ledger.channels, [name]: channelAfter(channel, answer, Date.now()) },
  }))
  count(name, answer.kind)
  if (answer.kind === 'delivered')
    return journal.info((alert.kind === 'digest' ? DEED.toldDigest : DEED.told)(name, alert.title))
  const todo = answer.kind === 'gone' ? `; ${answer.todo}` : ''
  journal.error(`alert NOT delivered to ${name}: ${answer.why}; kept for a later run${todo}`)
}

function isDue(delivery: Delivery): boolean {
  return !delivery.done && !isWaiting(delivery)
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

function deliveryOf({ deliveries }: Envelope, name: string): Delivery {
  return deliveries[name] ?? NOT_TRIED
}

function withDeliveries(
  ledger: Ledger,
  ids: ReadonlySet<string>,
  name: string,
  change: (before: Delivery) => Delivery,
): Ledger {
  const outbox = ledger.outbox.map((one) =>
    ids.has(one.id) ? { ...one, deliveries: { ...one.deliveries, [name]: change(deliveryOf(one, name)) } } : one,
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
    problem: answer.kind === 'gone' ? `${answer.why}; ${answer.todo}` : answer.why,
    isGone: answer.kind === 'gone',
    notBeforeMs: waitSec === 0 ? 0 : nowMs + waitSec * 1000,
  }
}

/** Tells whether the address is still the same, without writing the secret down once more. */
function fingerprint({ address }: Channel): string {
  return createHash('sha256').update(address).digest('hex').slice(0, 16)
}
