/**
 * The first code of every tier, started by scripts/run-tier.sh: `node start.mjs <script.ts> [flags]`. Plain JavaScript
 * without packages: a script that cannot be loaded becomes exit code 1, a line in its log and a message to the human.
 */
import { basename, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '')
// From here on argv is what it would be had Node been given the script itself.
process.argv.splice(1, 1)
const script = process.argv[1]
// Meant for this process, not for openclaw or a doctor.
delete process.env.NODE_COMPILE_CACHE

process.on('uncaughtException', cannotStart)
// Reached only with an await that never settles, for all else ends in process.exit(). Node's own exit code for it is 13.
process.once('beforeExit', () =>
  cannotStart('it waits for something that can never happen (unsettled top-level await)'),
)

try {
  // Node before 22.18 does not run TypeScript by itself. As tsx/esm/api does it, but without loading esbuild twice.
  if (!process.features.typescript) {
    process.setSourceMapsEnabled(true)
    const { register } = await import('node:module')
    register('tsx/esm', { parentURL: import.meta.url, data: true })
  }
  await import(pathToFileURL(script).href)
  process.exit()
} catch (error) {
  await cannotStart(error)
}

/** Log line and message are the launcher's, which can do both without Node. */
async function cannotStart(error) {
  const { spawnSync } = await import('node:child_process')
  const args = ['--cannot-start', basename(script, '.ts'), ...process.argv.slice(2)]
  spawnSync('/bin/sh', [join(root, 'scripts', 'run-tier.sh'), ...args], {
    input: await describe(error),
    stdio: ['pipe', 'inherit', 'inherit'],
    timeout: 30_000,
  })
  process.exit(1)
}

/** One line: what, where, and what helps. */
async function describe(error) {
  const message = String(error?.message ?? error)
  const stack = String(error?.stack ?? '')
  // A syntax error's stack begins with its place; any other error's place is in the first frame of ours.
  const place = (/^(?:file:\/\/)?(\/[^\n]+:\d+)\n/.exec(stack) ??
    /\((?:file:\/\/)?(\/[^\n)]+:\d+):\d+\)/.exec(stack))?.[1]
  const where = place && !message.includes(place) ? ` (${readable(place)})` : ''
  const { existsSync } = await import('node:fs')
  const isPackageMissing =
    /Cannot find (?:package|module)/.test(message) && !existsSync(join(root, 'node_modules', 'tsx'))
  const help = isPackageMissing ? `; \`npm ci\` in ${root} brings the packages back` : ''
  return `${message.replace(/\s+/g, ' ').trim().slice(0, 400)}${where}${help}`
}

function readable(path) {
  try {
    return decodeURIComponent(path)
  } catch {
    return path
  }
}
