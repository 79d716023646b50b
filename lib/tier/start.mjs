/**
 * The first code of every tier, started by scripts/run-tier.sh: `node start.mjs <script.ts> [flags]`.
 * Plain JavaScript without dependencies, because it has to speak when TypeScript, node_modules or the script itself is
 * broken: a script that cannot be loaded would otherwise leave nothing but an exit code.
 */
import { findBuild, forgetBuild, makeBuild, runBuild } from './build.mjs'

// Not imported, for what that costs at every start (see build.mjs).
const { existsSync, writeFileSync } = process.getBuiltinModule('node:fs')
const module = process.getBuiltinModule('node:module')
const { basename, join } = process.getBuiltinModule('node:path')
const { fileURLToPath, pathToFileURL } = process.getBuiltinModule('node:url')

const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '')
const script = process.argv[2]
// From here on argv is what it would be had Node been given the script itself.
process.argv.splice(1, 1)
const isDryRun = process.argv.includes('--dry-run')
const build = findBuild(script)
const ours = ownFolder()

process.on('uncaughtException', (error) => {
  cannotStart(describe(error))
  process.exit(1)
})
process.on('exit', (code) => {
  // 13 is Node's word for a top-level await that can never end; the contract between the tiers has no 13. Node 20 says
  // it only in process.exitCode.
  if (code !== 13 && process.exitCode !== 13) return
  cannotStart('it waits for something that can never happen (unsettled top-level await)')
  process.exitCode = 1
})

try {
  vouchForNode()
  useCompileCache()
  if (build) await runBuild(script, build)
  else await runSource()
} catch (error) {
  if (build && !isDryRun) forgetBuild(script)
  cannotStart(describe(error))
  process.exitCode = 1
}
// Nothing is left to wait for. To come to the end without this takes the heap apart first, which costs 1 to 2 ms.
process.exit()

async function runSource() {
  // Node before 22.18 does not run TypeScript by itself. The bare name is looked up from this file, so the working
  // directory (launchd's and cron's is / or HOME) does not matter.
  if (!process.features.typescript) (await import('tsx/esm/api')).register()
  await import(pathToFileURL(script).href)
  // The next start shall be cheaper. Where that cannot be (a checkout of somebody else's, a full disk) every start runs
  // from the source.
  if (!isDryRun) await makeBuild(script).catch(() => {})
}

/** Only in a state folder that is there, and never in a dry run. */
function ownFolder() {
  const profile = process.env.OPENCLAW_PROFILE ?? ''
  // The launcher has seen to it that it is a name.
  const suffix = /^(?:default)?$/i.test(profile) ? '' : `-${basename(profile)}`
  const stateDir =
    process.env.OPENCLAW_STATE_DIR ||
    join(process.env.HOME || process.getBuiltinModule('node:os').homedir(), `.openclaw${suffix}`)
  const folder = join(stateDir, 'watchdog')
  return !isDryRun && existsSync(folder) ? folder : undefined
}

/** The launcher need not ask at its next start whether the Node of this one runs. */
function vouchForNode() {
  if (!ours) return
  try {
    writeFileSync(join(ours, 'node-ran'), `${process.argv0}\n${process.version}\n`)
  } catch {
    // It asks.
  }
}

/** For whatever is not in a build: packages, and a script that runs from its source. Absent before Node 22.1. */
function useCompileCache() {
  if (ours) module.enableCompileCache?.(join(ours, 'compile-cache'))
}

/** One line: where, what, and what helps. */
function describe(error) {
  const message = String(error?.message ?? error)
  const stack = String(error?.stack ?? '')
  // A syntax error's stack begins with its place; any other error's place is in the first frame of ours.
  const place = /^(?:file:\/\/)?(\/[^\n]+:\d+)\n/.exec(stack) ?? /\((?:file:\/\/)?(\/[^\n)]+:\d+):\d+\)/.exec(stack)
  const where = place && !message.includes(place[1]) ? ` (${decode(place[1])})` : ''
  const packageMissing =
    /Cannot find (?:package|module)/.test(message) && !existsSync(join(root, 'node_modules', 'tsx'))
  const help = packageMissing ? `; \`npm ci\` in ${root} brings the packages back` : ''
  return `${message.replace(/\s+/g, ' ').trim().slice(0, 400)}${where}${help}`
}

function decode(path) {
  try {
    return decodeURIComponent(path)
  } catch {
    return path
  }
}

/** Log line and message are the launcher's, which must be able to do both without Node. */
function cannotStart(cause) {
  const { spawnSync } = process.getBuiltinModule('node:child_process')
  spawnSync(
    '/bin/sh',
    [
      join(root, 'scripts', 'run-tier.sh'),
      '--cannot-start',
      basename(script, '.ts'),
      ...(isDryRun ? ['--dry-run'] : []),
    ],
    {
      input: cause,
      stdio: ['pipe', 'inherit', 'inherit'],
      timeout: 30_000,
    },
  )
}
