/** The world as the guard finds it when it is asked: secrets, and which processes are the gateway's. */
import { existsSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { findGateway, isGatewayCommand, isOthersGateway, portOwners, processInfo } from '../gateway/processes.ts'
import { gatewayService } from '../services/supervisor.ts'
import { loadSettings, type Settings } from '../tier/settings.ts'
import { configSecrets } from './guard-config.ts'
import { parseOrNothing } from './guard-config-tree.ts'
import type { GuardContext, World } from './guard-context.ts'
import { textOrNothing } from './guard-patient.ts'
import { knownSecrets } from './known-secrets.ts'

/** Completes a run's context. Throws `SettingsError` when the settings cannot be read; then every call is refused. */
export function worldOf(context: GuardContext): World {
  const settings: Settings = {
    ...loadSettings(),
    home: context.home,
    profile: context.profile,
    stateDir: context.stateDir,
    memoryDir: context.memoryDir,
    configPath: context.configPath,
    gatewayPort: context.gatewayPort,
  }
  const knownGood = textOrNothing(context.knownGoodPath)
  const secrets = [...knownSecrets(settings), ...(knownGood ? configSecrets(knownGood) : [])]
  return {
    ...context,
    secrets: [...new Set(secrets)].filter(isDistinctive),
    uid: process.getuid?.() ?? 0,
    isGatewayProcess: (pid) => isGatewayProcess(pid, settings),
  }
}

/** A password like "openclaw" stands in every second command: looking for it would stop the doctor and hide nothing. */
function isDistinctive(secret: string): boolean {
  return secret.length >= 14 || (secret.length >= 6 && /[^a-z]/.test(secret))
}

/**
 * Proof that a process is the gateway's own: it is the one that holds the gateway's lock, that its supervisor started,
 * or that owns its port and calls itself the gateway, or it descends from that one. The command line alone is none:
 * another gateway of this user calls itself the same.
 */
async function isGatewayProcess(pid: number, settings: Settings): Promise<boolean> {
  if (pid === process.pid || pid === process.ppid) return false
  const { pid: supervised } = await gatewayService(settings)
  const gateway = await findGateway(settings, supervised, [])
  const owners = (await portOwners(settings)).filter(
    (owner) => isGatewayCommand(owner.command) && !isOthersGateway(settings, owner),
  )
  const own = new Set([gateway?.pid, supervised, ...owners.map((owner) => owner.pid)])
  for (let at: number | undefined = pid, steps = 0; at !== undefined && at > 1 && steps < 8; steps++) {
    if (own.has(at)) return true
    const [info] = await processInfo(settings, [at])
    at = info?.parentPid
  }
  return false
}

/** Where the openclaw package is installed and at which version, found through the command on the PATH. */
export function installedPackage(settings: Settings): { packageDir?: string; installedVersion?: string } {
  const executable = (settings.childEnv.PATH ?? '')
    .split(':')
    .map((folder) => join(folder, 'openclaw'))
    .find((path) => existsSync(path))
  if (executable === undefined) return {}
  const packageDir = /^(.*\/node_modules\/openclaw)\//.exec(realpathSync(executable))?.[1]
  const manifest = parseOrNothing(textOrNothing(packageDir && join(packageDir, 'package.json')) ?? '')
  const version = manifest?.version
  return { packageDir, installedVersion: typeof version === 'string' ? version : undefined }
}
