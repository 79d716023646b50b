/**
 * The real parts that the real-parts tests run against, each in a folder of its own under test/real/parts, with a lock
 * file of its own, so that none of them is a dependency of the project: Node 24 (OpenClaw needs it), OpenClaw, the
 * agents, and what drives a Chromium. Installed from npm by the test run's global setup; a part whose lock file has not changed is left as it is.
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
/** Folders with the real coding agents; `qwen`, `gemini` and `codex` need `node24Bin` on their PATH. */
export const agentBin = (part: 'claude' | 'codex' | 'qwen' | 'gemini') => join(partsDir, part, 'node_modules', '.bin')

/** vitest's global setup: installs what is missing. */
export async function setup(): Promise<void> {
  await install('node24')
  // OpenClaw's install scripts need the new Node.
  const env = { PATH: `${node24Bin}:${process.env.PATH}` }
  await Promise.all(['claude', 'qwen', 'gemini', 'codex', 'browser', 'openclaw'].map((part) => install(part, env)))
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
