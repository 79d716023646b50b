/** All instruments in one table, and the one way to call them: the limits, and no deed without its line in the log. */
import { appendFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { isUp } from '../gateway/examine.ts'
import { formatLine, oneLine } from '../tier/contract.ts'
import { tried } from '../tier/state.ts'
import { ACT_INSTRUMENTS } from './act.ts'
import { CONFIG_INSTRUMENTS } from './act-config.ts'
import { type Arguments, type Deed, type Instrument, Refused } from './instrument.ts'
import { READ_INSTRUMENTS } from './read.ts'
import { FILE_INSTRUMENTS } from './read-files.ts'
import type { InstrumentCall, Session, SessionState } from './session.ts'

export const INSTRUMENTS: Readonly<Record<string, Instrument>> = {
  ...READ_INSTRUMENTS,
  ...FILE_INSTRUMENTS,
  ...CONFIG_INSTRUMENTS,
  ...ACT_INSTRUMENTS,
}

const MAX_CALLS = 300
const TOO_MANY = `${MAX_CALLS} calls were made in this session: stop.`
/** Arguments that are longer are refused by their own limits, and are not kept. */
const MAX_KEPT_CHARS = 100_000
const MAX_ANSWER_CHARS = 24_000

/** Arguments, limits and policy first, then the line in the log, then the deed. A refusal is an answer; never throws. */
export async function callInstrument(
  session: Session,
  name: string,
  args: Arguments,
): Promise<{ text: string; isError: boolean }> {
  // Another server of this session may have been at work before.
  session.reload()
  if (session.state.calls.length >= MAX_CALLS + 10) return { text: `Refused: ${TOO_MANY}`, isError: true }
  const isShort = (tried(() => JSON.stringify(args).length) ?? Number.POSITIVE_INFINITY) <= MAX_KEPT_CHARS
  const kept = isShort ? args : { tooLong: true }
  const one: InstrumentCall = { at: Date.now(), by: process.pid, name, args: kept, acts: false, decision: 'started' }
  try {
    const instrument = Object.hasOwn(INSTRUMENTS, name) ? INSTRUMENTS[name]! : undefined
    if (!instrument) throw new Refused(`There is no instrument ${oneLine(name, 60)}.`)
    one.acts = instrument.acts === true
    assertArguments(instrument, args)
    assertLimits(session.state, name)
    if (one.acts) await assertIll(session)
    const deed = await instrument.prepare(session, args)
    await record(session, one)
    const text = await within(instrument.limitSec, deed)
    one.decision = 'done'
    session.note(one)
    return { text: await shown(session, text), isError: false }
  } catch (error) {
    one.why = oneLine(await session.hide((error as Error).message), 400)
    one.decision = error instanceof Refused ? 'refused' : 'failed'
    await record(session, one).catch(() => {})
    const text = await shown(session, (error as Error).message)
    return { text: one.decision === 'refused' ? `Refused: ${text}` : `It failed: ${text}`, isError: true }
  }
}

function assertArguments({ arguments: known = {} }: Instrument, args: Arguments): void {
  const unknown = Object.keys(args).find((name) => !Object.hasOwn(known, name))
  if (unknown !== undefined)
    throw new Refused(
      `It has no argument ${oneLine(unknown, 60)}; its arguments: ${Object.keys(known).join(', ') || 'none'}.`,
    )
  for (const [name, { type, optional, choices, max = 300 }] of Object.entries(known)) {
    const value = args[name]
    if (value === undefined || value === null) {
      if (optional) continue
      throw new Refused(`The argument ${name} is missing.`)
    }
    const isOfType = type === 'value' || (type === 'integer' ? Number.isSafeInteger(value) : typeof value === type)
    if (!isOfType) throw new Refused(`${name} must be ${type === 'integer' ? 'a whole number' : `a ${type}`}.`)
    const text = typeof value === 'string' ? value : JSON.stringify(value)
    if (text.length > max) throw new Refused(`${name} is longer than ${max} characters.`)
    if (text.includes('\0')) throw new Refused(`${name} holds a NUL character.`)
    if (choices && !choices.includes(String(value))) throw new Refused(`${name} must be one of ${choices.join(', ')}.`)
  }
}

function assertLimits({ calls }: SessionState, name: string): void {
  if (calls.length >= MAX_CALLS && name !== 'write_report') throw new Refused(TOO_MANY)
  const { most, group = name } = INSTRUMENTS[name]!
  const isOfGroup = (one: InstrumentCall) => (INSTRUMENTS[one.name]?.group ?? one.name) === group
  const used = calls.filter((one) => isOfGroup(one) && one.decision !== 'refused').length
  if (most !== undefined && used >= most)
    throw new Refused(`${name} may be used ${most === 1 ? 'once' : `${most} times`} in a session, and was.`)
}

/** Nothing is done to a gateway that does not need it, and nothing once the tier that watches the outcome has ended. */
async function assertIll(session: Session): Promise<void> {
  const { tier, tierPid } = session.context
  try {
    process.kill(tierPid, 0)
  } catch {
    throw new Refused(`The ${tier} that started this session has ended: stop.`)
  }
  const { verdict, evidence } = await session.examine(false)
  if (isUp(verdict)) throw new Refused('The gateway is healthy: write the report and stop.')
  if (verdict === 'stopped-on-purpose' || verdict === 'impostor')
    throw new Refused(`${evidence}: that is for a human. Write the report and stop.`)
}

/** No line in the log, no deed: throws when it cannot be written. */
async function record(session: Session, one: InstrumentCall): Promise<void> {
  const { context } = session
  const args = oneLine(await session.hide(JSON.stringify(one.args)), 240)
  const decision = one.decision === 'started' ? 'allowed' : one.decision
  const text = `INSTRUMENT ${decision} ${oneLine(one.name, 60)} ${args}${one.why ? `: ${one.why}` : ''}`
  const line = formatLine(new Date(), context.tier, decision === 'allowed' ? 'INFO' : 'WARN', text)
  session.note(one)
  appendFileSync(context.logPath, `${line}\n`, { mode: 0o600 })
}

async function within(limitSec: number, deed: Deed): Promise<string> {
  const over = new AbortController()
  const limit = delay(limitSec * 1000, undefined, { signal: over.signal }).then(() => {
    throw new Error(`no answer within ${limitSec} s`)
  })
  return Promise.race([Promise.resolve().then(deed), limit]).finally(() => over.abort())
}

async function shown(session: Session, text: string): Promise<string> {
  const safe = await session.hide(text)
  if (safe.length <= MAX_ANSWER_CHARS) return safe || '(nothing)'
  return `${safe.slice(0, MAX_ANSWER_CHARS)}\n(cut here; ${safe.length - MAX_ANSWER_CHARS} characters more: ask for fewer lines, or search)`
}
