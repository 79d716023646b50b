/** The machine that the gateway runs on, and the program of its service, which need not be the one on the PATH. */
import { existsSync, lstatSync, readFileSync, realpathSync } from 'node:fs'
import { freemem, loadavg, totalmem, uptime } from 'node:os'
import { dirname, join } from 'node:path'
import { gatewayPlist, gatewayService, type Service } from '../services/supervisor.ts'
import type { Settings } from '../tier/settings.ts'
import { type Answer, shell } from '../tier/shell.ts'
import { tried } from '../tier/state.ts'
import { parseOrNothing } from './config-tree.ts'

export async function hostFacts(settings: Settings, service: Service | undefined): Promise<string> {
  const $ = shell(settings, { timeoutSec: 10 })
  const folders = (settings.childEnv.PATH ?? '').split(':')
  const nodes = new Set(folders.flatMap((folder) => tried(() => realpathSync(join(folder, 'node'))) ?? []))
  const versionOf = async (node: string) => `${node} ${(await $`${node} --version`).stdout.trim()}`
  const versions = await Promise.all([...nodes].map(versionOf))
  const { folder, version } = await installedPackage(settings, service)
  const mb = (bytes: number) => Math.round(bytes / 1024 / 1024)
  const load = loadavg().map((n) => n.toFixed(1))
  const disk = (await $`df -k ${settings.stateDir} /tmp`).stdout.trim()
  const killed = (await $`journalctl -k -n 20 -o short-iso --no-pager -g 'out of memory|oom-kill'`).stdout.trim()
  return [
    `disk:\n${disk}`,
    `memory: ${mb(freemem())} MB free of ${mb(totalmem())} MB; load ${load.join(' ')}`,
    `booted ${new Date(Date.now() - uptime() * 1000).toISOString()}`,
    `out-of-memory killer: ${killed || 'no trace that this account can read'}`,
    `PATH: ${folders.join(':')}`,
    `Node: ${versions.join('; ') || 'none on the PATH'}`,
    `the service runs: ${(await openclawCommand(settings, service)).join(' ')}`,
    `package: ${folder ?? 'not found'}, version ${version ?? 'unknown'}${folder ? `, ${missingDependencies(folder)}` : ''}`,
  ].join('\n')
}

function missingDependencies(folder: string): string {
  const manifest = parseOrNothing(readText(join(folder, 'package.json')))
  const names = Object.keys((manifest?.dependencies as Record<string, string> | undefined) ?? {})
  const missing = names.filter(
    (name) => !existsSync(join(folder, 'node_modules', name)) && !existsSync(join(folder, '..', name)),
  )
  return missing.length > 0 ? `dependencies not installed: ${missing.join(', ')}` : 'its dependencies are all there'
}

/** The words in front of `gateway` in the service's definition; `openclaw` where there is none, or its files are gone.
 * @param known the gateway's service, where it was asked already */
export async function openclawCommand(settings: Settings, known?: Service): Promise<string[]> {
  const service = known ?? (await gatewayService(settings))
  const words = service.kind === 'systemd' ? await execStart(settings, service) : launchdProgram(settings, service)
  const end = words.indexOf('gateway')
  const own = words.slice(0, end).filter((word) => !word.startsWith('--'))
  const isWhole = end > 0 && own.every((word) => word.startsWith('/') && existsSync(word))
  return isWhole ? own : ['openclaw']
}

export async function askOpenclaw(
  settings: Settings,
  service: Service,
  words: readonly string[],
  timeoutSec: number,
): Promise<Answer> {
  return shell(settings, { timeoutSec })`${await openclawCommand(settings, service)} ${words}`
}

/** `ExecStart={ path=/usr/bin/node ; argv[]=/usr/bin/node … gateway --port 18789 ; ignore_errors=no ; … }` */
async function execStart(settings: Settings, { name, scope }: Service): Promise<string[]> {
  const { stdout } = await shell(settings)`systemctl ${scope} show ${name} --property=ExecStart`
  return /argv\[\]=(.*?) ; /.exec(stdout)?.[1]?.split(' ') ?? []
}

function launchdProgram(settings: Settings, service: Service): string[] {
  if (service.kind !== 'launchd') return []
  const list = /<key>ProgramArguments<\/key>\s*<array>([\s\S]*?)<\/array>/.exec(
    readText(gatewayPlist(settings, service.name)),
  )?.[1]
  return [...(list ?? '').matchAll(/<string>([^<]*)<\/string>/g)].map((m) => m[1]!.replaceAll('&amp;', '&'))
}

export async function installedPackage(settings: Settings, service: Service | undefined) {
  const own = (await openclawCommand(settings, service)).at(-1)!
  const onPath = (settings.childEnv.PATH ?? '').split(':').map((folder) => join(folder, 'openclaw'))
  const entry = [own, ...onPath].find((path) => path.startsWith('/') && existsSync(path))
  const folder = entry && /^(.*\/node_modules\/openclaw)\//.exec(realpathSync(entry))?.[1]
  const version = /"version":\s*"([\w.-]+)"/.exec(folder ? readText(join(folder, 'package.json')) : '')?.[1]
  // npm's last deed is to clear the folder beside (measured): half an update is older than that.
  const parts = folder ? [dirname(folder), folder, join(folder, 'package.json'), join(folder, 'node_modules')] : []
  const changedMs = Math.max(0, ...parts.map((path) => tried(() => lstatSync(path).ctimeMs) ?? 0))
  return { folder: folder || undefined, version, changedMs }
}

/** Variables of a service's environment whose values hold no secret. */
const PLAIN_VARIABLE = /^(?:PATH|HOME|TMPDIR|NODE_[A-Z_]+|OPENCLAW_(?:GATEWAY_PORT|STATE_DIR|CONFIG_PATH|PROFILE))$/

/** A unit or property list with `[hidden]` for the values of its environment, but for a few. */
export function withoutEnvironment(definition: string): string {
  const shown = (name: string, value: string) => (PLAIN_VARIABLE.test(name) ? value : '[hidden]')
  return definition
    .replace(/^([ \t#;]*Environment[ \t]*=)((?:.*\\\n)*.*)$/gm, (_all, start: string, text: string) => {
      const assignments = text.match(/"(?:\\[\s\S]|[^"\\])*"|'(?:\\[\s\S]|[^'\\])*'|(?:\\.|[^\s\\"'])+/g) ?? []
      const pairs = assignments.map((one) => /^["']?(\w+)=([\s\S]*?)["']?$/.exec(one))
      return start + pairs.map((m) => (m ? `${m[1]}=${shown(m[1]!, m[2]!)}` : '[hidden]')).join(' ')
    })
    .replace(/<key>EnvironmentVariables<\/key>\s*<dict>[\s\S]*?(?:<\/dict>|$)/g, (dict) =>
      dict.replace(
        /<key>([^<]*)<\/key>(\s*)<string>([^<]*)(?:<\/string>|$)/g,
        (_pair, name: string, gap: string, value: string) =>
          `<key>${name}</key>${gap}<string>${shown(name, value)}</string>`,
      ),
    )
}

const readText = (path: string) => tried(() => readFileSync(path, 'utf8')) ?? ''
