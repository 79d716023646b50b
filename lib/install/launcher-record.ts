/** What the launcher is told at the installation: which Node, and the PATH of the shell in which setup was run. */
import { existsSync, realpathSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { runCommand } from '../tier/command.ts'
import type { Settings } from '../tier/settings.ts'
import { fileStep, findOnPath } from './files.ts'
import type { Step } from './step.ts'

/** What macOS and Linux have everywhere; a PATH that lacks it is completed. */
const SYSTEM_FOLDERS = ['/usr/local/bin', '/usr/bin', '/bin', '/usr/sbin', '/sbin']

export interface LauncherRecord {
  node: string
  version: string
  /** PATH of the jobs. */
  path: string
}

/** Finds out what to record. The Node is the one on the PATH, by its name there, so that an upgrade does not lose it. */
export async function launcherRecord(settings: Settings, root: string): Promise<LauncherRecord> {
  const folders = lastingFolders(settings.childEnv.PATH ?? '', root)
  const path = [...folders, ...SYSTEM_FOLDERS.filter((folder) => !folders.includes(folder))].join(':')
  const onPath = findOnPath('node', path)
  const version = onPath === undefined ? undefined : await versionOf(settings, onPath)
  if (onPath !== undefined && version !== undefined) return { node: onPath, version, path }
  // Started by a Node that is not on the PATH (an absolute path, a version manager's shell function).
  return { node: process.execPath, version: process.versions.node, path: `${path}:${dirname(process.execPath)}` }
}

/** Folders that will still be there when a job runs: no relative ones, none that npm or fnm made for this one run. */
function lastingFolders(searchPath: string, root: string): string[] {
  const folders = searchPath
    .split(':')
    .filter((folder) => folder.startsWith('/') && !folder.endsWith('/node-gyp-bin'))
    // npm puts node_modules/.bin of the checkout and of every folder above it first.
    .filter((folder) => !(folder.endsWith('/node_modules/.bin') && `${root}/`.startsWith(folder.slice(0, -17))))
    // fnm gives every shell a folder of its own, with a link to where Node really is.
    .map((folder) => (folder.includes('/fnm_multishells/') && existsSync(folder) ? realpathSync(folder) : folder))
  return [...new Set(folders)]
}

async function versionOf(settings: Settings, node: string): Promise<string | undefined> {
  const result = await runCommand(node, ['--version'], { timeoutMs: 20_000, env: settings.childEnv })
  const m = /^v(\d+)\.(\d+)\.\d+/.exec(result.stdout)
  if (!m) return undefined
  const [major, minor] = [Number(m[1]), Number(m[2])]
  return major > 20 || (major === 20 && minor >= 19) ? result.stdout.trim().slice(1) : undefined
}

/** The step that writes the record, or undefined when it says just that already. */
export function recordStep(settings: Settings, record: LauncherRecord): Step | undefined {
  const path = recordPath(settings)
  const content = `${record.node}\n${record.path}\n`
  return fileStep(
    { path, content, mode: 0o600 },
    settings.home,
    { kind: 'file', path },
    'which Node the jobs use, and their PATH',
  )
}

/** Where scripts/run-tier.sh looks for it: it knows the state folder from the environment alone. */
function recordPath(settings: Settings): string {
  return join(settings.stateDirOfJobs, 'watchdog', 'launcher')
}
