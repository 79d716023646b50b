#!/usr/bin/env -S npx tsx
/**
 * Setup: `npm run setup` plans what this machine needs, shows the plan, applies it and writes a receipt.
 * A second run changes only what is not as it should be; --uninstall takes back what the receipt says.
 *
 * Exit 0  done, or nothing to do (--status: all is well)
 *      1  failed: what this run had done was taken back (--status: something is not well)
 *      2  unusable flags, settings or surroundings; nothing was touched
 *      3  stood down: another setup is running, or Level 2 or 3 is at work
 */
import { existsSync, rmSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { type BashVersion, findBashVersion } from './lib/install/bash-version.ts'
import { launcherRecord } from './lib/install/launcher-record.ts'
import { clashes } from './lib/install/neighbours.ts'
import { type Answers, makePlan, ourFolderSteps, type Plan, plannedPort } from './lib/install/plan.ts'
import { obstacles, prerequisites, warnings } from './lib/install/prerequisites.ts'
import { askAnswers, askYesNo, problemWith } from './lib/install/questions.ts'
import { applySteps } from './lib/install/step.ts'
import { describe, entriesToUndo, uninstall } from './lib/install/undo.ts'
import { readReceiptOrRest } from './lib/services/receipt.ts'
import { EXIT, type ExitCode } from './lib/tier/contract.ts'
import { lastHeartbeat } from './lib/tier/journal.ts'
import { isLock, lockHolder, takeLock } from './lib/tier/lock.ts'
import { DEFAULT_PROFILE } from './lib/tier/profile.ts'
import { loadSettings, type Settings, SettingsError } from './lib/tier/settings.ts'

const HELP = `Installs openclaw-self-healing for this user: npm run setup [-- flags]

At a terminal and without flags it asks; with any of these it does not:
  --yes             no questions, no webhook
  --port N          the gateway's port, for .env
  --webhook-stdin   read the Discord webhook's URL from standard input, for .env
  --replace         set an installed bash version aside

  --profile NAME    for the gateway of that OpenClaw profile, as does OPENCLAW_PROFILE in the environment

  --dry-run         print the plan and change nothing (also with --uninstall)
  --status          the same as \`npm run status\`: every tier, the gateway, the last incidents
  --uninstall       take back what the receipt says; logs and .env stay
  --purge           with --uninstall: remove logs, learnings and the .env that setup wrote, too
  --help            print this`

const root = fileURLToPath(new URL('.', import.meta.url)).replace(/\/$/, '')
const say = (line: string) => process.stdout.write(`${line}\n`)
const complain = (line: string) => process.stderr.write(`setup: ${line}\n`)

/** A reason to end with an exit code of our own. */
class Stop extends Error {
  code: ExitCode
  constructor(code: ExitCode, message: string) {
    super(message)
    this.code = code
  }
}

try {
  process.exitCode = await main()
} catch (error) {
  complain((error as Error).message)
  process.exitCode = error instanceof Stop ? error.code : error instanceof SettingsError ? EXIT.unusable : EXIT.down
}

async function main(): Promise<ExitCode> {
  const flags = readFlags()
  if (flags.help) {
    say(HELP)
    return EXIT.healthy
  }
  // What stands in `.env` must not keep anybody from removing us: the receipt says what there is to remove.
  const overlooked: string[] = []
  const overlook = flags.uninstall ? (problem: string) => overlooked.push(problem) : undefined
  const settings = loadSettings(undefined, { profile: flags.profile, overlook })
  if (flags.status) {
    const { look } = await import('./lib/report/status.ts')
    const { screen } = await import('./lib/report/screen.ts')
    const status = await look(settings)
    for (const line of screen(status, settings)) say(line)
    return status.isWell ? EXIT.healthy : EXIT.down
  }
  const found = obstacles(settings.home, root)
  if (found.length > 0) throw new Stop(EXIT.unusable, found.join('\nsetup: '))
  return flags.uninstall ? remove(settings, flags, overlooked) : install(settings, flags)
}

type Flags = ReturnType<typeof readFlags>

function readFlags() {
  const options = {
    yes: { type: 'boolean' },
    port: { type: 'string' },
    'webhook-stdin': { type: 'boolean' },
    replace: { type: 'boolean' },
    profile: { type: 'string' },
    'dry-run': { type: 'boolean' },
    status: { type: 'boolean' },
    uninstall: { type: 'boolean' },
    purge: { type: 'boolean' },
    help: { type: 'boolean' },
  } as const
  try {
    const { values } = parseArgs({ options })
    if (values.purge && !values.uninstall) throw new Error('--purge goes with --uninstall')
    return values
  } catch (error) {
    throw new Stop(EXIT.unusable, `${(error as Error).message}\nTry --help.`)
  }
}

async function install(settings: Settings, flags: Flags): Promise<ExitCode> {
  const dryRun = flags['dry-run'] === true
  const asks = [flags.yes, flags.port, flags['webhook-stdin'], flags.replace, dryRun].every((flag) => !flag)
  const interactive = asks && process.stdin.isTTY && process.stdout.isTTY
  const answersByFlag = await readAnswers(settings, flags)

  // 1. What is here already, before anything is touched.
  const record = await launcherRecord(settings, root)
  const folders = ourFolderSteps(settings)
  const hadState = existsSync(settings.watchdogDir)

  // 2. One setup at a time.
  const lock = dryRun ? undefined : await takeLock(settings, 'setup')
  if (lock && !isLock(lock)) throw new Stop(EXIT.stoodDown, `another setup is running (pid ${lock.pid})`)
  let failed = true
  let isTakenBack = true
  try {
    // 3. Questions, and a bash version that has to give way.
    const answers = interactive && !settings.envFile ? await askAnswers(settings) : answersByFlag
    if (answers === undefined) throw new Stop(EXIT.stoodDown, 'broken off; nothing was changed')
    const inTheWay = clashes(settings, plannedPort(settings, answers))
    if (inTheWay.length > 0) throw new Stop(EXIT.unusable, inTheWay.join('\nsetup: '))
    const bash = await bashVersion(settings, flags, interactive)

    // 4. The plan.
    const plan = await makePlan(settings, root, record, answers, folders, bash)
    const notes = [...warnings(settings, root), ...plan.notes]
    const needed = prerequisites(settings.childEnv.PATH ?? '', settings.doctors)
    if (plan.steps.length > 0) say(`node        ${record.node} (${record.version})`)
    for (const { name, path, without } of needed.filter(({ path }) => plan.steps.length > 0 || path === undefined))
      say(`${name.padEnd(11)} ${path ?? `MISSING: ${without}`}`)
    if (plan.steps.length === 0) {
      say('unchanged')
      failed = false
    } else {
      say('')
      if (dryRun || interactive) {
        say(dryRun ? 'Would do:' : 'Plan:')
        for (const line of plan.steps.flatMap((step) => step.lines)) say(`  ${line}`)
      }
      if (dryRun && bash && !flags.replace) notes.push('the bash version is only set aside with --replace')
      const outcome = dryRun ? 'done' : await carryOut(settings, plan, interactive)
      failed = outcome !== 'done'
      isTakenBack = outcome !== 'partly taken back'
    }
    for (const note of notes) say(`note: ${note}`)
    return failed ? EXIT.down : EXIT.healthy
  } finally {
    lock?.release()
    // The lock alone made these folders, or what was taken back left them.
    if (!dryRun && failed && isTakenBack && !hadState) {
      rmSync(settings.watchdogDir, { recursive: true, force: true })
      for (const folder of folders.reverse()) await folder.rollback()
    }
  }
}

/** What the flags answer. Throws when it cannot be used. */
async function readAnswers(settings: Settings, flags: Flags): Promise<Answers> {
  const { port } = flags
  const webhook = flags['webhook-stdin'] ? (await readStandardInput()).trim() : ''
  const problems = [
    ['--port', problemWith('gatewayPort', port ?? '', settings)],
    ['the webhook', problemWith('discordWebhookUrl', webhook, settings)],
  ].filter(([, problem]) => problem !== undefined)
  if (port === '' || (flags['webhook-stdin'] && webhook === '')) throw new Stop(EXIT.unusable, 'an empty answer')
  if (problems.length > 0) throw new Stop(EXIT.unusable, problems.map((parts) => parts.join(': ')).join('; '))
  return { webhook: webhook || undefined, port: port ? Number(port) : undefined }
}

async function readStandardInput(): Promise<string> {
  let text = ''
  for await (const chunk of process.stdin.setEncoding('utf8')) text += chunk
  return text
}

/** The bash version, if it is there and may be set aside; throws when it is there and may not. */
async function bashVersion(settings: Settings, flags: Flags, interactive: boolean): Promise<BashVersion | undefined> {
  // It knows the default gateway only.
  const bash = settings.profile === DEFAULT_PROFILE ? await findBashVersion(settings) : undefined
  if (!bash) return undefined
  say('\nThe bash version of this system is installed:')
  for (const line of bash.found) say(`  ${line}`)
  if (flags.replace || flags['dry-run']) return bash
  if (interactive && (await askYesNo('Unload it and keep its files aside, so that two watchdogs never fight?')))
    return bash
  throw new Stop(EXIT.down, 'two watchdogs would fight; --replace sets the bash version aside. Nothing was changed')
}

type Outcome = 'done' | 'taken back' | 'partly taken back'

/** Applies the plan; throws when it must not be done now, or is not wanted. */
async function carryOut(settings: Settings, plan: Plan, interactive: boolean): Promise<Outcome> {
  for (const tier of ['emergency-recovery', 'healthcheck'] as const) {
    const holder = await lockHolder(settings, tier)
    if (holder?.atWork)
      throw new Stop(EXIT.stoodDown, `${tier} is at work on the gateway (pid ${holder.pid}); run setup when it is done`)
  }
  if (interactive && !(await askYesNo('Do this?'))) throw new Stop(EXIT.stoodDown, 'nothing was changed')
  const abort = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => abort.abort())
  const startedMs = Date.now()
  const { failure } = await applySteps(settings, plan.steps, plan.receipt, abort.signal, ({ lines }) => {
    for (const [i, line] of lines.entries()) say(`${i === 0 ? '✓' : ' '} ${line}`)
  })
  if (failure) {
    complain(`${failure.step}: FAILED: ${failure.why}`)
    if (failure.notTakenBack.length === 0) {
      complain('everything that this run had done was taken back')
      return 'taken back'
    }
    complain(`taken back, but for: ${failure.notTakenBack.join('; ')}`)
    complain('when that is put right, run setup again, or uninstall: it is on record')
    return 'partly taken back'
  }
  await seeFirstRun(settings, plan, startedMs)
  return 'done'
}

/** A job that is registered and yet cannot run (a protected folder, a Node that only a shell finds) shows here. */
async function seeFirstRun(settings: Settings, plan: Plan, startedMs: number): Promise<void> {
  const which = settings.profile === DEFAULT_PROFILE ? '' : `--profile ${settings.profile} `
  say(`\nInstalled. \`npm run setup -- ${which}--status\` shows how it is going.`)
  if (!plan.startsLevels) return
  for (const deadline = performance.now() + 30_000; performance.now() < deadline; await delay(250)) {
    const heartbeat = lastHeartbeat(settings, 'watchdog')
    if (heartbeat && heartbeat.getTime() >= startedMs - 1000) {
      say('The watchdog has written its first line.')
      return
    }
  }
  say('note: the watchdog has written nothing for 30 s; see "Troubleshooting" in the README')
}

async function remove(found: Settings, flags: Flags, overlooked: string[]): Promise<ExitCode> {
  const memoryDir = readReceiptOrRest(found)?.memoryDir
  for (const problem of overlooked) say(`note: ${problem}; going by the receipt`)
  if (flags.purge && overlooked.length > 0 && memoryDir === undefined)
    throw new Stop(EXIT.unusable, 'where the logs are cannot be told; repair .env, or leave out --purge')
  const settings = memoryDir === undefined ? found : { ...found, memoryDir }
  const entries = await entriesToUndo(settings)
  if (entries.length === 0 && !existsSync(settings.watchdogDir)) {
    say('not installed: nothing to do')
    return EXIT.healthy
  }
  if (flags['dry-run']) {
    say('Would undo:')
    for (const entry of [...entries].reverse()) say(`  ${describe(entry)}`)
    say(`  remove ${settings.watchdogDir}${flags.purge ? ', our logs, learnings and .env' : ''}`)
    return EXIT.healthy
  }
  const lock = await takeLock(settings, 'setup')
  if (!isLock(lock)) throw new Stop(EXIT.stoodDown, `another setup is running (pid ${lock.pid})`)
  try {
    const failures = await uninstall(settings, await entriesToUndo(settings), flags.purge === true, say)
    for (const failure of failures) complain(`NOT undone: ${failure}`)
    if (failures.length > 0) complain('run it again when that is put right')
    return failures.length > 0 ? EXIT.down : EXIT.healthy
  } finally {
    lock.release()
  }
}
