/** The machine that the gateway runs on, as far as it can be the reason of a failure. */
import { existsSync, realpathSync } from 'node:fs'
import { freemem, loadavg, totalmem, uptime } from 'node:os'
import { join } from 'node:path'
import type { Service } from '../services/supervisor.ts'
import { readTail } from '../tier/journal.ts'
import type { Settings } from '../tier/settings.ts'
import { shell } from '../tier/shell.ts'
import { parseOrNothing } from './config-tree.ts'
import { installedPackage, openclawCommand } from './service-program.ts'

/** Disk, memory, load, boot, traces of the out-of-memory killer, PATH, Node and the package, as lines for a reader. */
export async function hostFacts(settings: Settings, service: Service): Promise<string> {
  const $ = shell(settings, { timeoutSec: 10 })
  const folders = (settings.childEnv.PATH ?? '').split(':')
  const nodes = folders.map((folder) => join(folder, 'node')).filter((path) => existsSync(path))
  const versions = await Promise.all(
    [...new Set(nodes.map((path) => realpathSync(path)))].map(
      async (path) => `${path} ${(await $`${path} --version`).stdout.trim()}`,
    ),
  )
  const { folder, version } = await installedPackage(settings, service)
  const mb = (bytes: number) => Math.round(bytes / 1024 / 1024)
  const load = loadavg().map((n) => n.toFixed(1))
  const disk = await $`df -k ${settings.stateDir} /tmp`
  const killed =
    process.platform === 'linux'
      ? (await $`journalctl -k -n 20 -o short-iso --no-pager -g 'out of memory|oom-kill'`).stdout.trim()
      : ''
  return [
    `disk:\n${disk.stdout.trim()}`,
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
  const manifest = parseOrNothing(readTail(join(folder, 'package.json'), 1024 * 1024))
  const names = Object.keys((manifest?.dependencies as Record<string, string> | undefined) ?? {})
  const missing = names.filter(
    (name) => !existsSync(join(folder, 'node_modules', name)) && !existsSync(join(folder, '..', name)),
  )
  return missing.length > 0 ? `dependencies not installed: ${missing.join(', ')}` : 'its dependencies are all there'
}
