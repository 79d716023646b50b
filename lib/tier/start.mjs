/** The first code of every tier: a script that cannot be loaded becomes exit code 1, a log line and a message. No packages. */
import { basename, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '')
process.argv.splice(1, 1)
const script = process.argv[1]
delete process.env.NODE_COMPILE_CACHE

process.on('uncaughtException', cannotStart)
// An await that never settles; Node would exit with 13.
process.once('beforeExit', () => cannotStart('it waits for what can never happen (unsettled top-level await)'))

try {
  // Node before 22.18. As tsx/esm/api does it, but without loading esbuild twice.
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

async function cannotStart(error) {
  const { spawnSync } = await import('node:child_process')
  const { existsSync } = await import('node:fs')
  const message = String(error?.message ?? error)
  // A syntax error's place is in its first line, any other's in the first frame of ours.
  const place = /^(?:file:\/\/)?\/.+:\d+$|(?<=^ +at (?:.* )?\(?)(?:file:\/\/)?\/.+:\d+(?=:\d+\)?$)/m
  const found = place.exec(error?.stack)?.[0]
  const path = found?.startsWith('file:') ? fileURLToPath(found) : found
  const where = path && !message.includes(path) ? ` (${path})` : ''
  const help = existsSync(join(root, 'node_modules', 'tsx')) ? '' : `; \`npm ci\` in ${root} brings the packages back`
  const launcher = join(root, 'scripts', 'run-tier.sh')
  const input = message.replace(/\s+/g, ' ').trim().slice(0, 400) + where + help
  const args = [launcher, '--cannot-start', basename(script, '.ts'), ...process.argv.slice(2)]
  spawnSync('/bin/sh', args, { input, stdio: ['pipe', 'inherit', 'inherit'], timeout: 30_000 })
  process.exit(1)
}
