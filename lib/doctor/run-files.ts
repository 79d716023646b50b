/**
 * The files of one visit. What a human wants afterwards lies in the log folder and carries the incident's stamp:
 * log, report, recording, reasoning, config before and after. What the machinery needs lies in a folder of the run, and
 * of that only the untouched copies of the config stay.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gatewayLogs, sharedLog } from '../gateway/clues.ts'
import { readConfig } from '../gateway/config.ts'
import type { Examination } from '../gateway/examine.ts'
import { knownGoods } from '../gateway/known-good.ts'
import { gatewayLabel, gatewayUnit } from '../services/supervisor.ts'
import { localStamp } from '../tier/contract.ts'
import type { Settings } from '../tier/settings.ts'
import { writeFileAtomic } from '../tier/state.ts'
import { doctorEnv } from './claude-code.ts'
import type { GuardContext } from './guard-context.ts'
import { installedPackage } from './guard-world.ts'
import { clearLeftRooms } from './tmux.ts'

export interface RunFiles {
  /** `2026-11-22-081210`, as in the log's name. */
  stamp: string
  /** The run's own folder (0700). */
  folder: string
  /** Claude Code's working folder: empty, and the same for every run. */
  workFolder: string
  contextPath: string
  reportPath: string
  reasoningPath: string
  recordingPath: string
  casebookPath: string
  /** The failure that the doctor was called for. */
  verdict: string
  evidence: string
  configBefore: string | undefined
}

/**
 * Ends the doctors that killed runs left at work, whether or not another one is called now.
 * @returns how many rooms were cleared
 */
export function dismissLeftDoctors(settings: Settings): Promise<number> {
  return clearLeftRooms(runsFolder(settings), doctorEnv(settings))
}

function runsFolder(settings: Settings): string {
  return join(settings.watchdogDir, 'doctor')
}

/** Makes the folders and writes the guard's context. */
export async function openRun(settings: Settings, logPath: string, seen: Examination): Promise<RunFiles> {
  const runs = runsFolder(settings)
  removeOldRuns(runs, settings.logRetentionDays)
  const stamp = /emergency-recovery-(\d{4}-\d\d-\d\d-\d{6})/.exec(basename(logPath))?.[1] ?? localStamp(new Date())
  const folder = join(runs, stamp)
  const workFolder = join(settings.watchdogDir, 'doctor-room')
  for (const path of [folder, workFolder]) mkdirSync(path, { recursive: true, mode: 0o700 })
  const inLogs = (name: string) => join(dirname(logPath), name)
  const reportPath = inLogs(`emergency-recovery-report-${stamp}.md`)
  const reasoningPath = inLogs(`emergency-recovery-${stamp}.reasoning.md`)
  const contextPath = join(folder, 'guard-context.json')
  const context: GuardContext = {
    runFolder: folder,
    recoveryLogPath: logPath,
    reportPath,
    reasoningPath,
    home: settings.home,
    stateDir: settings.stateDir,
    memoryDir: settings.memoryDir,
    configPath: settings.configPath,
    gatewayPort: settings.gatewayPort,
    projectDir: fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, ''),
    profile: settings.profile,
    launchdLabel: gatewayLabel(settings),
    systemdUnit: gatewayUnit(settings),
    knownGoodPath: knownGoods(settings)[0]?.path,
    ...installedPackage(settings),
    logPaths: [...gatewayLogs(settings), ...[sharedLog(settings)].filter((path) => path !== undefined)],
  }
  writeFileSync(contextPath, JSON.stringify(context, null, 2), { mode: 0o600 })
  return {
    stamp,
    folder,
    workFolder,
    contextPath,
    reportPath,
    reasoningPath,
    recordingPath: inLogs(`claude-session-${stamp}.log`),
    casebookPath: join(settings.memoryDir, 'recovery-learnings.md'),
    verdict: seen.verdict,
    evidence: seen.evidence,
    configBefore: readConfig(settings)?.text,
  }
}

/**
 * Clears up behind a visit: settings, key, context and notes go; the guard's copies of the config stay. A config that
 * was changed is put beside the log, before and after, without its secrets; no secret stays in what the doctor wrote.
 */
export function closeRun(settings: Settings, files: RunFiles, redact: (text: string) => string): void {
  const after = readConfig(settings)?.text
  if (after !== files.configBefore) {
    const base = files.reportPath.replace('emergency-recovery-report-', 'emergency-recovery-').replace(/\.md$/, '')
    for (const [when, text] of [
      ['before', files.configBefore],
      ['after', after],
    ] as const)
      if (text !== undefined) writeFileSync(`${base}.config-${when}.json5`, redact(text), { mode: 0o600 })
  }
  for (const name of readdirSync(files.folder))
    if (!name.startsWith('config-before-')) rmSync(join(files.folder, name), { recursive: true, force: true })
  if (readdirSync(files.folder).length === 0) rmSync(files.folder, { recursive: true, force: true })
  // What the doctor wrote himself, also of a visit that was cut short.
  for (const path of [files.reportPath, files.reasoningPath]) {
    const written = existsSync(path) ? readFileSync(path, 'utf8') : ''
    if (redact(written) !== written) writeFileAtomic(path, redact(written))
  }
}

function removeOldRuns(runs: string, keepDays: number): void {
  if (!existsSync(runs)) return
  const oldest = Date.now() - keepDays * 86_400_000
  for (const name of readdirSync(runs)) {
    const path = join(runs, name)
    if (statSync(path).mtimeMs < oldest) rmSync(path, { recursive: true, force: true })
  }
}
