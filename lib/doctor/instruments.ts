/** All instruments in one table, and the one way to call them: the limits, and no deed without its line in the log. */
import { appendFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { isUp } from '../gateway/examine.ts'
import { openclawsWork } from '../gateway/follow-up.ts'
import { formatLine, oneLine } from '../tier/contract.ts'
import { readLock } from '../tier/lock.ts'
import { tried } from '../tier/state.ts'
import { ACT_INSTRUMENTS } from './act.ts'
import { type Arguments, type Deed, type Instrument, Refused } from './instrument.ts'
import { READ_INSTRUMENTS } from './read.ts'
import type { InstrumentCall, Session, SessionState } from './session.ts'

export const INSTRUMENTS: Readonly<Record<string, Instrument>> = {
  ...READ_INSTRUMENTS,
  ...ACT_INSTRUMENTS,
}

/** What the doctor reads about them, and docs/doctor.md shows. */
const TABLE = `
gateway_status: The state of the gateway now: verdict and evidence, its process, who owns its port, what its supervisor says, restarts within the hour.
read_journal: The journal of the gateway’s systemd unit (Linux).
read_config: The gateway’s config: every setting’s name; values that are switches, numbers, modes, log levels and models, all others as [hidden]. One that cannot be parsed is shown line by line, with unknown words hidden.
validate_config: Asks the service’s own OpenClaw whether it accepts the config, and why not.
openclaw_doctor_lint: OpenClaw’s own read-only health checks (\`openclaw doctor --lint --json\`); works when the gateway is down.
openclaw_stability: What OpenClaw noted of its last fatal end (\`openclaw gateway stability --bundle latest\`); works when the gateway is down.
openclaw_status: \`openclaw status\`, for people.
past_incidents: What was logged in this incident, and what was learned in earlier ones.
processes_and_ports: The processes of this account without their arguments, and who listens on the gateway’s port.
host_facts: Disk, memory, load, time of boot, traces of the out-of-memory killer, PATH, the Node versions, OpenClaw’s package.
list_logs: Lists the logs that read_log can read, newest first, with size and time.
read_log: Reads the end of a log (rotated and .gz ones too), or the newest lines in it that hold a text. Names: list_logs.
list_files: Lists a folder of the gateway’s package, its plugins, its records of fatal exits, or its service definition.
read_file: Reads lines of a text file of the gateway’s package, its plugins, its records of fatal exits, its service definition, or a report.
search_files: Searches a plain text in the files of one of those places.
set_config: Sets one setting of the gateway’s config. Allowed: gateway.mode to local, log levels, models, timeouts and limits, \`enabled\` to false, and values of the known-good config.
unset_config: Takes one setting out of the gateway’s config, e.g. one that OpenClaw refuses and the default replaces.
replace_in_config: Replaces a piece of the config’s text in one line, for a config that cannot be parsed: add or take away a comma, quote, colon or brace. The old piece may hold only what read_config shows, and must stand once in that line.
restore_known_good_config: Puts back the newest config that the gateway was healthy on, without showing it. The present file is kept beside it.
start_gateway: Starts the gateway that is down: through its supervisor, or as a process where it has none.
restart_gateway: Ends the gateway, if it runs, and starts it: through its supervisor, or as a process where it has none.
end_gateway_process: Ends one process that is proven to be the gateway’s own, e.g. one that hangs and keeps its port.
wait_until_healthy: Waits until the gateway answers as healthy, or will not come; a cold start takes 10 to 20 s, a migration minutes.
openclaw_doctor_fix: OpenClaw’s own repair (\`openclaw doctor --fix --yes --non-interactive\`), e.g. for a pending migration or unknown settings. Once; a copy of the config is kept, and put back if it touches who may use the gateway.
reinstall_package: Installs the gateway’s package again at the version that is installed, for one that is damaged.
rebuild_native_modules: Builds the package’s native modules again (\`npm rebuild\`), after its Node was replaced by another.
refresh_service_definition: Lets OpenClaw write its service definition again (\`openclaw gateway install --force\`), for one that names a Node or a program that is gone. It starts the gateway.
write_report: Writes the report of this session. Call it once, at the end, whether the gateway is healthy or not.
`

export const DESCRIPTIONS: Readonly<Record<string, string>> = Object.fromEntries(
  TABLE.trim()
    .split('\n')
    .map((line) => line.split(/: (.*)/)),
)

const MAX_CALLS = 300
const TOO_MANY = `${MAX_CALLS} calls were made in this session: stop.`
/** Arguments that are longer are refused by their own limits, and are not kept. */
const MAX_KEPT_CHARS = 100_000
const MAX_ANSWER_CHARS = 24_000

/** Arguments, limits and policy first, then the line in the log, then the deed. A refusal is an answer; never throws. */
export async function callInstrument(session: Session, name: string, args: Arguments) {
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

function assertArguments({ arguments: known }: Instrument, args: Arguments): void {
  const unknown = Object.keys(args).find((name) => !Object.hasOwn(known, name))
  if (unknown !== undefined)
    throw new Refused(`It has no argument ${oneLine(unknown, 60)}, only ${Object.keys(known).join(', ') || 'none'}.`)
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
  const holder = readLock(session.settings, tier)
  if (holder?.pid !== tierPid) throw new Refused(`The ${tier} that started this session was replaced: stop.`)
  const atWork = await openclawsWork(session.settings)
  if (atWork) throw new Refused(`${atWork}: wait for it.`)
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
  const limit = delay(limitSec * 1000, undefined, { ref: false }).then(() => {
    throw new Error(`no answer within ${limitSec} s`)
  })
  return Promise.race([Promise.resolve().then(deed), limit])
}

async function shown(session: Session, text: string): Promise<string> {
  const safe = await session.hide(text)
  if (safe.length <= MAX_ANSWER_CHARS) return safe || '(nothing)'
  return `${safe.slice(0, MAX_ANSWER_CHARS)}\n(cut here; ${safe.length - MAX_ANSWER_CHARS} characters more: ask for fewer lines, or search)`
}
