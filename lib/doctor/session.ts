/** One session of one doctor (or of a learned remedy): its context, its record of calls, its edits and its files. */
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { knownSecrets } from '../alerts/secrets.ts'
import { readConfig } from '../gateway/config.ts'
import { type Examination, type ExamineOptions, examine } from '../gateway/examine.ts'
import { isGatewayCommand } from '../gateway/processes.ts'
import { readRecord } from '../gateway/record.ts'
import { gatewayService, type Service } from '../services/supervisor.ts'
import { closeLeftTerminals } from '../services/terminal.ts'
import { cleanText, localStamp, type TierName } from '../tier/contract.ts'
import { lockHolder } from '../tier/lock.ts'
import { redact } from '../tier/redact.ts'
import { loadSettings, type Settings } from '../tier/settings.ts'
import { isRecord, tried, writeFileAtomic } from '../tier/state.ts'

interface SessionContext {
  /** Named after the time at which the session began. */
  folder: string
  tier: TierName
  tierPid: number
  logPath: string
  /** The tier's environment: the instruments find the same gateway that it watches. */
  env: Record<string, string>
}

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

/** True for a call that can heal the gateway. */
export const isTreatment = ({ acts, decision }: InstrumentCall) => acts && decision === 'done'

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
  for (const line of (tried(() => readFileSync(join(folder, STATE), 'utf8')) ?? '').split('\n')) {
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
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const context = { folder, tier, tierPid: process.pid, logPath, env: settings.childEnv }
  const session = new Session(context)
  writeFileSync(session.contextPath, JSON.stringify(context), { mode: 0o600 })
  return session
}

export function readSessionOf(contextPath: string): Session {
  const value: unknown = JSON.parse(readFileSync(contextPath, 'utf8'))
  const isWhole =
    isRecord(value) &&
    isRecord(value.env) &&
    ['folder', 'tier', 'logPath'].every((name) => typeof value[name] === 'string')
  if (!isWhole) throw new Error(`${contextPath} is not the context of a session`)
  return new Session(value as unknown as SessionContext)
}

export class Session {
  readonly context: SessionContext
  readonly settings: Settings
  state: SessionState

  constructor(context: SessionContext) {
    this.context = context
    this.settings = loadSettings(context.env)
    this.state = readSession(context.folder)
  }

  get contextPath(): string {
    return join(this.context.folder, CONTEXT)
  }

  get reportPath(): string {
    return this.pathBeside('emergency-recovery-report', '.md')
  }

  /** A file beside the log, with the time of the session in its name. */
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

  reload(): void {
    this.state = readSession(this.context.folder)
  }

  /** Keeps what happened: a call, again when it has ended; what the config was before or after an edit; the report. Throws. */
  note(entry: InstrumentCall | Omit<SessionState, 'calls'>): void {
    appendFileSync(join(this.context.folder, STATE), `${JSON.stringify(entry)}\n`, { mode: 0o600 })
    this.reload()
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
    writeFileAtomic(realpathSync(this.settings.configPath), configBefore)
    return true
  }

  /** Of a text as a whole, before it is cut: secrets out, and what a terminal would act on or an eye would not see. */
  async hide(text: string): Promise<string> {
    return redact(readable(cleanText(text)), await knownSecrets(this.settings))
  }

  /** Puts what the session changed in the config beside the log, and removes the session's folder. */
  close(hide: (text: string) => string): void {
    const { settings, context, state } = this
    const after = readConfig(settings)?.text
    const { configBefore } = state
    if (configBefore !== undefined && after !== configBefore) {
      for (const [when, text] of Object.entries({ before: configBefore, after }))
        if (text !== undefined) {
          const path = this.pathBeside('emergency-recovery', `.config-${when}.json5`)
          writeFileSync(path, hide(text), { mode: 0o600 })
        }
      // Whole, with its secrets, only where the config itself is.
      const path = tried(() => realpathSync(settings.configPath)) ?? settings.configPath
      writeFileAtomic(`${path}.before-doctor-${basename(context.folder)}`, configBefore)
    }
    // The context goes last: a later run goes on where this one is killed.
    const others = (tried(() => readdirSync(context.folder)) ?? []).filter((name) => name !== CONTEXT)
    for (const name of others) rmSync(join(context.folder, name), { recursive: true, force: true })
    rmSync(context.folder, { recursive: true, force: true })
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
export async function clearLeftSessions(
  settings: Settings,
  isUp: boolean,
  hide: (text: string) => string,
): Promise<string[]> {
  const runs = runsFolder(settings)
  const ended = await closeLeftTerminals(settings, runs, isGatewayCommand)
  const said = ended > 0 ? [`ended ${ended} doctor that an earlier run left at work`] : []
  for (const folder of existsSync(runs) ? readdirSync(runs).map((name) => join(runs, name)) : []) {
    // The first version kept copies of the config in folders of this place; an empty one is of a run killed in between.
    if (!existsSync(join(folder, CONTEXT))) tried(() => rmdirSync(folder))
    if (!existsSync(join(folder, CONTEXT))) continue
    try {
      const left = readSessionOf(join(folder, CONTEXT))
      // Level 2 may be at work with a learned remedy.
      if ((await lockHolder(settings, left.context.tier))?.pid === left.context.tierPid) continue
      // Weeks may lie between: an edit that the gateway was healthy on has helped, whatever is wrong with it now.
      const lastAct = left.state.calls.findLast(({ acts }) => acts)?.at ?? 0
      if (!isUp && readRecord(left.settings).value.lastHealthyMs <= lastAct && left.rollBackEdits())
        said.push('rolled back what a doctor that was cut short had changed in the config')
      left.close(hide)
    } catch (error) {
      said.push(`an earlier session in ${folder} cannot be read: ${(error as Error).message}`)
      rmSync(folder, { recursive: true, force: true })
    }
  }
  return said
}
