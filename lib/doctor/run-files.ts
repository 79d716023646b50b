/**
 * The files of one session. What a human wants afterwards lies in the log folder and carries the incident's stamp (log,
 * report, recording, config before and after without secrets). What the machinery needs lies in a folder of its own,
 * which goes with it.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { readConfig } from '../gateway/config.ts'
import { isGatewayCommand } from '../gateway/processes.ts'
import { readRecord } from '../gateway/record.ts'
import { closeLeftTerminals } from '../services/terminal.ts'
import { localStamp, type TierName } from '../tier/contract.ts'
import { lockHolder } from '../tier/lock.ts'
import type { Settings } from '../tier/settings.ts'
import { writeFileAtomic } from '../tier/state.ts'
import { rollBackEdits } from './act-config.ts'
import { readContext, Session, type SessionContext } from './instrument.ts'

/** The context of a session, in its folder; for scripts/doctor-tools.ts. */
export const CONTEXT = 'context.json'

function runsFolder(settings: Settings): string {
  return join(settings.watchdogDir, 'doctor')
}

/** Opens a session: makes its folder (0700) and writes its context. */
export function openSession(settings: Settings, tier: TierName, logPath: string): Session {
  const stamp = /-(\d{4}-\d\d-\d\d-\d{6})\.log$/.exec(logPath)?.[1] ?? localStamp(new Date())
  const folder = join(runsFolder(settings), stamp)
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const reportPath = join(dirname(logPath), `emergency-recovery-report-${stamp}.md`)
  const context: SessionContext = {
    ...{ folder, tier, tierPid: process.pid, logPath, reportPath },
    env: settings.childEnv,
  }
  writeFileSync(join(folder, CONTEXT), JSON.stringify(context), { mode: 0o600 })
  return new Session(context)
}

/** The recording of what a doctor said and did. */
export function recordingPathOf({ reportPath }: SessionContext, doctor: string): string {
  return reportPath.replace(/emergency-recovery-report-(.*)\.md$/, `${doctor}-session-$1.log`)
}

/** Closes a session: what it changed in the config is put beside the log, and its folder goes. */
export function closeSession(session: Session, hide: (text: string) => string): void {
  const { settings, context, state } = session
  const after = readConfig(settings)?.text
  const { configBefore } = state
  if (configBefore !== undefined && after !== configBefore) {
    const base = context.reportPath.replace(/emergency-recovery-report-(.*)\.md$/, 'emergency-recovery-$1')
    writeFileSync(`${base}.config-before.json5`, hide(configBefore), { mode: 0o600 })
    if (after !== undefined) writeFileSync(`${base}.config-after.json5`, hide(after), { mode: 0o600 })
    // Whole, with its secrets, only where the config itself is.
    const stamp = /\d{4}-\d\d-\d\d-\d{6}/.exec(basename(base))?.[0] ?? localStamp(new Date())
    const kept = `${existsSync(settings.configPath) ? realpathSync(settings.configPath) : settings.configPath}.before-doctor-${stamp}`
    writeFileAtomic(kept, configBefore)
  }
  rmSync(context.folder, { recursive: true, force: true })
}

/**
 * What killed runs left: doctors at work are ended, edits of the config that led nowhere are rolled back, folders go.
 * @param isUp the gateway is healthy, so that an edit that is in place helped
 * @returns lines for the log
 */
export async function clearLeftSessions(
  settings: Settings,
  isUp: boolean,
  hide: (text: string) => string,
): Promise<string[]> {
  const runs = runsFolder(settings)
  const ended = await closeLeftTerminals(runs, settings.childEnv, isGatewayCommand)
  const said = ended > 0 ? [`ended ${ended} doctor that an earlier run left at work`] : []
  for (const folder of existsSync(runs) ? readdirSync(runs).map((name) => join(runs, name)) : []) {
    if (existsSync(join(folder, CONTEXT))) {
      try {
        const left = new Session(readContext(join(folder, CONTEXT)))
        // Level 2 may be at work with a learned remedy.
        if ((await lockHolder(settings, left.context.tier))?.pid === left.context.tierPid) continue
        if (!isUp && !wasHealthySince(left) && rollBackEdits(left))
          said.push('rolled back what a doctor that was cut short had changed in the config')
        closeSession(left, hide)
      } catch (error) {
        said.push(`an earlier session in ${folder} cannot be read: ${(error as Error).message}`)
        rmSync(folder, { recursive: true, force: true })
      }
    } else removeLeftoversOfOldVersion(folder)
  }
  return said
}

/** Weeks may lie between: an edit that the gateway was healthy on has helped, whatever is wrong with it now. */
function wasHealthySince({ settings, state }: Session): boolean {
  const lastAct = state.calls.findLast(({ acts }) => acts)?.at ?? 0
  return readRecord(settings).value.lastHealthyMs > lastAct
}

/** The first version kept copies of the config there, which stay as long as its logs do. */
function removeLeftoversOfOldVersion(folder: string): void {
  const names = readdirSync(folder)
  for (const name of names)
    if (!name.startsWith('config-before-')) rmSync(join(folder, name), { recursive: true, force: true })
  if (!names.some((name) => name.startsWith('config-before-'))) rmSync(folder, { recursive: true, force: true })
}

/** The report as it was written; empty when there is none. */
export function reportText({ reportPath }: SessionContext): string {
  return existsSync(reportPath) ? readFileSync(reportPath, 'utf8').trim() : ''
}
