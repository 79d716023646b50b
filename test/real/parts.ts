/**
 * The real parts that the real-parts tests run against, each in a folder of its own under test/real/parts, with a lock
 * file of its own, so that none of them is a dependency of the project: Node 24 (OpenClaw needs it), OpenClaw, Claude
 * Code. Installed from npm by the test run's global setup; a part whose lock file has not changed is left as it is.
 */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { execa } from 'execa'

const partsDir = join(import.meta.dirname, 'parts')

/** Folder with the real `node` 24. */
export const node24Bin = join(partsDir, 'node24', 'node_modules', '.bin')
/** The real `openclaw`; needs `node24Bin` first on its PATH. */
export const openclawBin = join(partsDir, 'openclaw', 'node_modules', '.bin', 'openclaw')
/** The real `claude`, 2.1.330. */
export const claudeBin = claudeOf('claude')
/** Older releases of it. */
export const olderClaudes = { '2.0.77': claudeOf('claude-2.0'), '1.0.128': claudeOf('claude-1.0') } as const

/** Folder with the real `qwen`, 0.24.4; needs `node24Bin` on its PATH. */
export const qwenBin = join(partsDir, 'qwen', 'node_modules', '.bin')
/** Folder with the real `gemini`, 0.61.0. */
export const geminiBin = join(partsDir, 'gemini', 'node_modules', '.bin')
/** Folder with the real `codex`, 0.171.0. */
export const codexBin = join(partsDir, 'codex', 'node_modules', '.bin')

function claudeOf(part: string): string {
  return join(partsDir, part, 'node_modules', '.bin', 'claude')
}

/** vitest's global setup: installs what is missing. */
export async function setup(): Promise<void> {
  await install('node24')
  for (const part of ['claude', 'claude-2.0', 'claude-1.0']) await install(part)
  for (const part of ['qwen', 'gemini', 'codex']) await install(part)
  // Its install scripts need the new Node.
  await install('openclaw', { PATH: `${node24Bin}:${process.env.PATH}` })
}

async function install(part: string, env: Record<string, string> = {}): Promise<void> {
  const cwd = join(partsDir, part)
  const lock = createHash('sha256')
    .update(readFileSync(join(cwd, 'package-lock.json')))
    .digest('hex')
  const stamp = join(cwd, 'node_modules', '.installed')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === lock) return
  for (let attempt = 1; ; attempt++) {
    console.log(`installing the real ${part} …`)
    const result = await execa('npm', ['ci', '--no-audit', '--no-fund'], { cwd, env, reject: false, all: true })
    if (result.exitCode === 0) break
    if (attempt === 3) throw new Error(`npm ci in ${cwd} failed:\n${result.all}`)
    await delay(10_000)
  }
  writeFileSync(stamp, lock)
}
