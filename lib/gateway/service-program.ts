/** The program that the gateway's own service runs: its Node and its OpenClaw, which need not be those on the PATH. */
import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { gatewayPlist, type Service } from '../services/supervisor.ts'
import { systemctl } from '../services/systemd.ts'
import { type CommandResult, runCommand } from '../tier/command.ts'
import type { Settings } from '../tier/settings.ts'

/**
 * The words in front of `gateway` in the service's definition (`/usr/bin/node …/openclaw/dist/index.js`), or `openclaw`
 * where there is none, or where its files are gone.
 */
export async function openclawCommand(settings: Settings, service: Service | undefined): Promise<string[]> {
  const words =
    service?.kind === 'systemd' ? await execStart(settings, service.name) : launchdProgram(settings, service)
  const end = words.indexOf('gateway')
  const own = words.slice(0, end).filter((word) => !word.startsWith('--'))
  const isWhole = end > 0 && own.every((word) => word.startsWith('/') && existsSync(word))
  return isWhole ? own : ['openclaw']
}

/** Runs an OpenClaw command with the service's own program. */
export async function askOpenclaw(
  settings: Settings,
  service: Service | undefined,
  args: string[],
  timeoutMs: number,
): Promise<CommandResult> {
  const [file = '', ...own] = await openclawCommand(settings, service)
  return runCommand(file, [...own, ...args], { timeoutMs, env: settings.childEnv })
}

/** `ExecStart={ path=/usr/bin/node ; argv[]=/usr/bin/node … gateway --port 18789 ; ignore_errors=no ; … }` */
async function execStart(settings: Settings, unit: string): Promise<string[]> {
  const { stdout } = await systemctl(settings, ['show', unit, '--property=ExecStart'])
  return /argv\[\]=(.*?) ; /.exec(stdout)?.[1]?.split(' ') ?? []
}

function launchdProgram(settings: Settings, service: Service | undefined): string[] {
  if (service?.kind !== 'launchd') return []
  const list = /<key>ProgramArguments<\/key>\s*<array>([\s\S]*?)<\/array>/.exec(readText(gatewayPlist(settings)))?.[1]
  return [...(list ?? '').matchAll(/<string>([^<]*)<\/string>/g)].map((m) => m[1]!.replaceAll('&amp;', '&'))
}

/** Where the service's openclaw package is installed, and its version as far as it can be told. */
export async function installedPackage(
  settings: Settings,
  service: Service | undefined,
): Promise<{ folder?: string; version?: string }> {
  const own = (await openclawCommand(settings, service)).at(-1)!
  const onPath = (settings.childEnv.PATH ?? '').split(':').map((folder) => join(folder, 'openclaw'))
  const entry = [own, ...onPath].find((path) => path.startsWith('/') && existsSync(path))
  const folder = entry && /^(.*\/node_modules\/openclaw)\//.exec(realpathSync(entry))?.[1]
  const version = /"version":\s*"([\w.-]+)"/.exec(folder ? readText(join(folder, 'package.json')) : '')?.[1]
  return { ...(folder ? { folder } : {}), ...(version ? { version } : {}) }
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
