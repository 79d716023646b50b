/** npm's packages, as package-lock.json wants them. */
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Settings } from '../tier/settings.ts'
import { shell } from '../tier/shell.ts'
import { tried } from '../tier/state.ts'
import { must, type Step } from './change.ts'

type Packages = Record<string, { version?: string; dev?: boolean; optional?: boolean; devOptional?: boolean }>

function packagesIn(path: string): Packages | undefined {
  return tried(() => (JSON.parse(readFileSync(path, 'utf8')) as { packages: Packages }).packages)
}

/** Nothing to do where node_modules is as it should be; what is only for tests may be missing. */
export function packageSteps(settings: Settings, root: string): Step[] {
  const wanted = packagesIn(join(root, 'package-lock.json'))
  const there = packagesIn(join(root, 'node_modules', '.package-lock.json')) ?? {}
  if (!wanted) return []
  const isWrong = ([name, { version, dev, optional, devOptional }]: [string, Packages[string]]) =>
    name !== '' && (there[name] ? there[name].version !== version : !dev && !optional && !devOptional)
  const wrong = Object.entries(wanted)
    .filter(isWrong)
    .map(([name]) => name.replace(/^.*node_modules\//, ''))
  if (wrong.length === 0) return []
  const text = `npm ci: missing or of another version are ${wrong.length}, such as ${wrong[0]}`
  return [{ text, act: () => exchangePackages(settings, root) }]
}

/** `npm ci` in a folder beside it: in place, the jobs would find no packages for a minute, and tell a human. */
async function exchangePackages(settings: Settings, root: string): Promise<void> {
  const [modules, beside, old] = ['node_modules', '.packages-new', '.packages-old'].map((name) => join(root, name))
  for (const folder of [beside!, old!]) rmSync(folder, { recursive: true, force: true })
  mkdirSync(beside!)
  try {
    for (const name of ['package.json', 'package-lock.json', '.npmrc'])
      if (existsSync(join(root, name))) copyFileSync(join(root, name), join(beside!, name))
    must(await shell(settings, { cwd: beside, timeoutSec: 900 })`npm ci --no-audit --no-fund`)
    if (existsSync(modules!)) renameSync(modules!, old!)
    try {
      renameSync(join(beside!, 'node_modules'), modules!)
    } catch (error) {
      tried(() => renameSync(old!, modules!))
      throw error
    }
  } finally {
    for (const folder of [beside!, old!]) rmSync(folder, { recursive: true, force: true })
  }
}
