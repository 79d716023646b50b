/** One session of one doctor (or of a learned remedy): its context, its record of calls, its edits and its files. */
import * as fs from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { readConfig } from '../gateway/config.ts'
import { type Examination, type ExamineOptions, examine } from '../gateway/examine.ts'
import { isGatewayCommand } from '../gateway/processes.ts'
import { readRecord } from '../gateway/record.ts'
import { knownSecrets } from '../gateway/secrets.ts'
import { gatewayService, type Service } from '../services/supervisor.ts'
import { closeLeftTerminal } from '../services/terminal.ts'
import { localStamp, type TierName } from '../tier/contract.ts'
import { lockHolder } from '../tier/lock.ts'
import { redact } from '../tier/redact.ts'
import { loadSettings, type Settings } from '../tier/settings.ts'
import { filesIn, isRecord, shaped, tried, writeFileAtomic } from '../tier/state.ts'

/** `env`: the tier's environment: the instruments find the same gateway that it watches. */
const CONTEXT_PATTERN = { folder: '', tier: '' as TierName, tierPid: 0, logPath: '', env: {} as Record<string, string> }
type SessionContext = typeof CONTEXT_PATTERN

export interface InstrumentCall {
  at: number
  by?: number
  name: string
  args: Record<string, unknown>
  acts: boolean
  /** `started`: it was allowed, and has not come back yet. */
  decision: 'started' | 'done' | 'failed' | 'refused'
  why?: string
}

export const isTreatment = ({ acts, decision }: InstrumentCall) => acts && decision === 'done'

export const describeCall = ({ name, args }: Pick<InstrumentCall, 'name' | 'args'>): string =>
  [name, ...Object.values(args).map((value) => JSON.stringify(value))].join(' ')

export type Report = Record<
  'symptom' | 'rootCause' | 'fix' | 'prevention' | 'decisions' | 'lessons' | 'humanNeeded' | 'keepConfigEdits',
  string
>

export interface SessionState {
  calls: InstrumentCall[]
  /** The config's text before the first edit, and the hash of what the last edit left. */
  configBefore?: string
  configAfter?: string
  report?: Report
}

/** One line for each thing that happened: what is appended needs no lock, should two servers serve one session. */
const STATE = 'session.jsonl'
const CONTEXT = 'context.json'

export function readSession(folder: string): SessionState {
  const calls = new Map<string, InstrumentCall>()
  const state: SessionState = { calls: [] }
  for (const line of (tried(() => fs.readFileSync(join(folder, STATE), 'utf8')) ?? '').split('\n')) {
    const entry: unknown = tried(() => JSON.parse(line))
    if (!isRecord(entry)) continue
    const { at, by, name } = entry
    if (name === undefined) Object.assign(state, entry)
    else calls.set(`${at} ${by} ${name}`, entry as unknown as InstrumentCall)
  }
  return { ...state, calls: [...calls.values()] }
}

export function openSession(settings: Settings, tier: TierName, logPath: string): Session {
  const stamp = /-(\d{4}-\d\d-\d\d-\d{6})\.log$/.exec(logPath)?.[1] ?? localStamp(new Date())
  const folder = join(runsFolder(settings), stamp)
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 })
  const context = { folder, tier, tierPid: process.pid, logPath, env: settings.childEnv }
  const session = new Session(context)
  fs.writeFileSync(session.contextPath, JSON.stringify(context), { mode: 0o600 })
  return session
}

export function readSessionOf(contextPath: string): Session {
  const context = shaped(CONTEXT_PATTERN)(JSON.parse(fs.readFileSync(contextPath, 'utf8')))
  if (!context) throw new Error(`${contextPath} is not the context of a session`)
  return new Session(context)
}

export class Session {
  readonly context: SessionContext
  readonly settings: Settings
  readonly contextPath: string
  readonly reportPath: string

  constructor(context: SessionContext) {
    this.context = context
    this.settings = loadSettings(context.env)
    this.contextPath = join(context.folder, CONTEXT)
    this.reportPath = this.pathBeside('emergency-recovery-report', '.md')
  }

  /** As it is now: the instruments are other processes. */
  get state(): SessionState {
    return readSession(this.context.folder)
  }

  pathBeside(name: string, ending: string): string {
    const { folder, logPath } = this.context
    return join(dirname(logPath), `${name}-${basename(folder)}${ending}`)
  }

  examineOptions(deep = true): ExamineOptions {
    const { healthCheckHttpTimeoutSec: httpTimeoutSec } = this.settings
    return { httpTimeoutSec, deep, record: readRecord(this.settings).value }
  }

  examine(deep = true): Promise<Examination> {
    return examine(this.settings, this.examineOptions(deep))
  }

  service(): Promise<Service> {
    return gatewayService(this.settings)
  }

  /** Keeps what happened: a call, again when it has ended; what the config was before or after an edit; the report. Throws. */
  note(entry: InstrumentCall | Omit<SessionState, 'calls'>): void {
    fs.appendFileSync(join(this.context.folder, STATE), `${JSON.stringify(entry)}\n`, { mode: 0o600 })
  }

  /** Runs what may change the config, and notes what it was before and after. */
  async editConfig<T>(edit: () => T | Promise<T>): Promise<T> {
    const { configBefore, configAfter } = this.state
    const present = readConfig(this.settings)
    // What was written by another hand since the last edit is not ours to roll back.
    if (configBefore === undefined || present?.hash !== configAfter) this.note({ configBefore: present?.text })
    const result = await edit()
    const after = readConfig(this.settings)?.hash
    if (after !== present?.hash) this.note({ configAfter: after })
    return result
  }

  /** Rolls back the session's edits of the config, unless it was changed since; returns whether there were any. */
  rollBackEdits(): boolean {
    const { configBefore, configAfter } = this.state
    const present = readConfig(this.settings)
    if (configBefore === undefined || configAfter === undefined) return false
    if (present?.hash !== configAfter || present.text === configBefore) return false
    writeFileAtomic(fs.realpathSync(this.settings.configPath), configBefore)
    return true
  }

  /** Of a text as a whole, before it is cut: secrets out, and what a terminal would act on or an eye would not see. */
  async hide(text: string): Promise<string> {
    return redact(readable(text), await knownSecrets(this.settings))
  }

  /** Rolls back edits that did not help, puts others beside the log, removes the folder. Returns whether it rolled back. */
  end(helped: boolean, hide: (text: string) => string): boolean {
    const isRolledBack = !helped && this.rollBackEdits()
    const { settings, context } = this
    const { configBefore } = this.state
    const after = readConfig(settings)?.text
    if (configBefore !== undefined && after !== configBefore) {
      for (const [when, text = ''] of Object.entries({ before: configBefore, after }))
        fs.writeFileSync(this.pathBeside('emergency-recovery', `.config-${when}.json5`), hide(text), { mode: 0o600 })
      // Whole, with its secrets, only where the config itself is.
      const path = tried(() => fs.realpathSync(settings.configPath)) ?? settings.configPath
      writeFileAtomic(`${path}.before-doctor-${basename(context.folder)}`, configBefore)
    }
    // The context goes last: a later run goes on where this one is killed.
    for (const path of filesIn(context.folder, (name) => name !== CONTEXT))
      fs.rmSync(path, { recursive: true, force: true })
    fs.rmSync(context.folder, { recursive: true, force: true })
    return isRolledBack
  }
}

/** Nothing invisible (zero-width and tag characters can carry words that only a model reads), broken UTF-8 as `�`. */
export function readable(text: string): string {
  return text
    .replace(/[\u00ad\u200b-\u200f\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e0fff}]|[\ufe00-\ufe0f]/gu, '')
    .replace(/[\ud800-\udfff]/gu, '\ufffd')
}

const runsFolder = (settings: Settings) => join(settings.watchdogDir, 'doctor')

/** Ends the doctors that killed runs left, rolls back their edits unless the gateway is up, removes the folders. Returns log lines. */
export async function clearLeftSessions(settings: Settings, isUp: boolean, hide: (text: string) => string) {
  const said: string[] = []
  for (const folder of filesIn(runsFolder(settings))) {
    if (await closeLeftTerminal(settings, folder, isGatewayCommand))
      said.push('ended a doctor that an earlier run left at work')
    // The first version kept copies of the config in folders of this place; an empty one is of a run killed in between.
    if (!fs.existsSync(join(folder, CONTEXT))) tried(() => fs.rmdirSync(folder))
    if (!fs.existsSync(join(folder, CONTEXT))) continue
    try {
      const left = readSessionOf(join(folder, CONTEXT))
      // Level 2 may be at work with a learned remedy.
      if ((await lockHolder(settings, left.context.tier))?.pid === left.context.tierPid) continue
      // Weeks may lie between: an edit that the gateway was healthy on has helped, whatever is wrong with it now.
      const lastAct = left.state.calls.findLast(({ acts }) => acts)?.at ?? 0
      const helped = isUp || readRecord(left.settings).value.lastHealthyMs > lastAct
      if (left.end(helped, hide)) said.push('rolled back what an interrupted doctor had changed in the config')
    } catch (error) {
      said.push(`an earlier session in ${folder} cannot be read: ${(error as Error).message}`)
      fs.rmSync(folder, { recursive: true, force: true })
    }
  }
  return said
}
