/** What one run's guard knows: written by the doctor's session as JSON, read by the hook before every tool call. */
import { readFileSync } from 'node:fs'
import { isRecord } from '../tier/state.ts'

export interface GuardContext {
  /** This run's own folder (0700): copies of the config and redacted copies of files are put there. */
  runFolder: string
  /** Every decision becomes a line of this log. */
  recoveryLogPath: string
  /** The two files that the doctor may write. */
  reportPath: string
  reasoningPath: string
  home: string
  stateDir: string
  memoryDir: string
  configPath: string
  gatewayPort: number
  /** This project's checkout: readable, never writable. */
  projectDir: string
  /** OpenClaw's profile, `default` for the gateway that has none. */
  profile: string
  launchdLabel: string
  systemdUnit: string
  /** The newest known-good config, when there is one: what a config that cannot be parsed is compared with. */
  knownGoodPath?: string
  /** The version of the openclaw package that is installed; without it nothing is reinstalled. */
  installedVersion?: string
  /** The folder of the installed openclaw package. */
  packageDir?: string
  /** More folders and files that hold the gateway's logs. */
  logPaths?: string[]
}

const REQUIRED_PATHS = [
  'runFolder',
  'recoveryLogPath',
  'reportPath',
  'reasoningPath',
  'home',
  'stateDir',
  'memoryDir',
  'configPath',
  'projectDir',
] as const

/** Reads the context file of a run. Throws with a sentence when it is missing or incomplete: then every call is refused. */
export function readGuardContext(path: string): GuardContext {
  const value: unknown = JSON.parse(readFileSync(path, 'utf8'))
  if (!isRecord(value)) throw new Error(`${path} holds no object`)
  for (const name of REQUIRED_PATHS) {
    const given = value[name]
    if (typeof given !== 'string' || !given.startsWith('/')) throw new Error(`${path}: ${name} is no absolute path`)
  }
  if (!Number.isInteger(value.gatewayPort)) throw new Error(`${path}: gatewayPort is no port`)
  for (const name of ['profile', 'launchdLabel', 'systemdUnit'] as const) {
    if (typeof value[name] !== 'string' || value[name] === '') throw new Error(`${path}: ${name} is missing`)
  }
  return value as unknown as GuardContext
}

/** The context together with what has to be asked anew for every call; tests put their own answers here. */
export interface World extends GuardContext {
  /** Values that must never be shown or sent. */
  secrets: string[]
  uid: number
  /** Proof that a process is this gateway's own. */
  isGatewayProcess(pid: number): Promise<boolean>
}
