/**
 * The fresh diagnosis that the doctor gets: what each question to the machine was answered. Every question has a time
 * limit of its own and every answer a size limit, so that nothing hangs and no log floods the prompt.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { gatewayLogs, sharedLog } from '../gateway/clues.ts'
import type { Examination } from '../gateway/examine.ts'
import { describeProcess, portOwners } from '../gateway/processes.ts'
import { runCommand } from '../tier/command.ts'
import { currentIncident, readTail } from '../tier/journal.ts'
import type { Settings } from '../tier/settings.ts'
import { isRecord } from '../tier/state.ts'
import { installedPackage } from './guard-world.ts'

/** A question and its answer, not yet cleaned or redacted. */
export interface Finding {
  title: string
  text: string
}

const LOG_BYTES = 24 * 1024
const MAX_LOGS = 4

/** Asks everything at once; takes as long as the slowest answer (`openclaw status`: 11 s measured), at most a minute. */
export async function diagnose(settings: Settings, seen: Examination): Promise<Finding[]> {
  // Before the commands below write their own lines into the shared log.
  const logs = [...logTails(settings), ...fatalExit(settings)]
  const [status, validation, owners, dependencies, disk, journal] = await Promise.all([
    ask(settings, 'openclaw', ['status'], 45_000),
    ask(settings, 'openclaw', ['config', 'validate', '--json'], 45_000),
    describePort(settings),
    describeDependencies(settings),
    ask(settings, 'df', ['-k', settings.stateDir, '/tmp'], 10_000),
    readServiceLog(settings, seen),
  ])
  return [
    { title: 'Verdict of the examination', text: describeExamination(seen) },
    { title: 'What the lower levels saw and tried', text: whatWasTried(settings) },
    { title: '`openclaw status`', text: status },
    { title: '`openclaw config validate --json`', text: validation },
    { title: `Who listens on port ${settings.gatewayPort}`, text: owners },
    { title: 'Node, the openclaw package and its dependencies', text: dependencies },
    { title: 'Disk space', text: disk },
    ...(journal ? [{ title: 'Its service’s log (journalctl)', text: journal }] : []),
    ...logs,
  ].filter(({ text }) => text.trim() !== '')
}

/** The output of a command, or why there is none: a failure is a finding too. */
async function ask(settings: Settings, file: string, args: string[], timeoutMs: number): Promise<string> {
  const result = await runCommand(file, args, { timeoutMs, env: settings.childEnv })
  const output = [result.stdout.trim(), result.stderr.trim()].filter(Boolean).join('\n')
  return result.code === 0 ? output : [output, `(${result.failure ?? 'it failed'})`].filter(Boolean).join('\n')
}

function describeExamination(seen: Examination): string {
  return [
    `${seen.verdict}: ${seen.evidence}`,
    ...seen.warnings.map((warning) => `warning: ${warning}`),
    ...(seen.service ? [`supervisor: ${seen.service.detail}`] : []),
    ...(seen.process ? [`process: ${describeProcess(seen.process)}`] : []),
    ...(seen.portOwner ? [`owner of its port: ${describeProcess(seen.portOwner)}`] : []),
    ...(seen.version ? [`version: ${seen.version}`] : []),
  ].join('\n')
}

function whatWasTried(settings: Settings): string {
  const incident = currentIncident(settings)
  if (!incident) return ''
  const lines = incident.lines.slice(-30).map((line) => `${line.at.toISOString()} [${line.tier}] ${line.text}`)
  return [`down since ${incident.since.toISOString()}`, ...lines].join('\n')
}

async function describePort(settings: Settings): Promise<string> {
  const owners = await portOwners(settings)
  return owners.length > 0 ? owners.map(describeProcess).join('\n') : 'nobody (or a process of another user)'
}

async function describeDependencies(settings: Settings): Promise<string> {
  const { packageDir, installedVersion } = installedPackage(settings)
  const [node, openclaw] = await Promise.all([
    ask(settings, 'node', ['--version'], 10_000),
    ask(settings, 'openclaw', ['--version'], 30_000),
  ])
  const manifest = packageDir ? readManifest(join(packageDir, 'package.json')) : {}
  const missing = packageDir ? missingDependencies(packageDir, manifest) : []
  return [
    `node --version (on the PATH of this job): ${node}`,
    `openclaw --version: ${openclaw}`,
    packageDir ? `package: ${packageDir}, version ${installedVersion ?? 'unknown'}` : 'package folder: not found',
    ...(manifest.engines?.node ? [`needs node ${manifest.engines.node}`] : []),
    ...(packageDir
      ? [missing.length > 0 ? `dependencies not installed: ${missing.join(', ')}` : 'its dependencies are all there']
      : []),
  ].join('\n')
}

interface Manifest {
  engines?: { node?: string }
  dependencies?: Record<string, string>
}

function readManifest(path: string): Manifest {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Manifest
  } catch {
    return {}
  }
}

/** Names from the manifest that are in no node_modules folder that Node would look in. */
function missingDependencies(packageDir: string, manifest: Manifest): string[] {
  const folders = [join(packageDir, 'node_modules'), join(packageDir, '..')]
  const isThere = (name: string) =>
    folders.some((folder) => {
      try {
        return statSync(join(folder, name)).isDirectory()
      } catch {
        return false
      }
    })
  return Object.keys(manifest.dependencies ?? {}).filter((name) => !isThere(name))
}

/** The ends of the newest logs; a log of any size costs the same. */
function logTails(settings: Settings): Finding[] {
  const shared = sharedLog(settings)
  const own = gatewayLogs(settings)
    .sort((a, b) => modifiedMs(b) - modifiedMs(a))
    .slice(0, MAX_LOGS)
    .map((path) => ({ title: `End of ${path}`, text: endOf(path) }))
  if (!shared) return own
  const title = `End of ${shared} (may hold lines of other gateways)`
  return [...own, { title, text: endOf(shared) }]
}

function endOf(path: string): string {
  return readTail(path, LOG_BYTES).split('\n').map(readableLine).join('\n')
}

/** One of OpenClaw's JSON log lines as time, level and message; other lines as they are. */
function readableLine(line: string): string {
  if (!line.startsWith('{')) return line
  try {
    const { time, message, _meta: meta } = JSON.parse(line) as Record<string, unknown>
    if (typeof message !== 'string') return line
    const level = isRecord(meta) ? `${meta.logLevelName ?? ''} ` : ''
    return `${time ?? ''} ${level}${message}`
  } catch {
    return line
  }
}

async function readServiceLog(settings: Settings, seen: Examination): Promise<string> {
  if (seen.service?.kind !== 'systemd') return ''
  return ask(settings, 'journalctl', ['--user', '-u', seen.service.name, '-n', '80', '-o', 'cat', '--no-pager'], 15_000)
}

/** The newest record of a fatal exit that the gateway left, if it is of the last day. */
function fatalExit(settings: Settings): Finding[] {
  const folder = join(settings.stateDir, 'logs', 'stability')
  let names: string[]
  try {
    names = readdirSync(folder).filter((name) => name.endsWith('.json'))
  } catch {
    return []
  }
  const newest = names.map((name) => join(folder, name)).sort((a, b) => modifiedMs(b) - modifiedMs(a))[0]
  if (newest === undefined || modifiedMs(newest) < Date.now() - 86_400_000) return []
  return [{ title: `Its record of a fatal exit, ${newest}`, text: readTail(newest, 8 * 1024) }]
}

function modifiedMs(path: string): number {
  try {
    return statSync(path).mtimeMs
  } catch {
    return 0
  }
}
