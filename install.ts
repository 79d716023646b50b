#!/usr/bin/env -S npx tsx
/**
 * Setup: `npm run setup` plans what this machine needs, shows the plan, applies it and writes a receipt. A second run
 * changes only what is not as it should be; --uninstall removes what has our names.
 *
 * Exit 0  done, or nothing to do (--status: all is well)
 *      1  failed, and rolled back (--status: something is not well)
 *      2  unusable flags, settings or surroundings; nothing was touched
 *      3  not done now: another setup is running, or Level 2 or 3 is at work
 */
import { existsSync, rmSync } from 'node:fs'
import { text as readText } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { pulsePath } from './lib/gateway/pulse.ts'
import { findBashVersion } from './lib/install/bash-version.ts'
import type { Step } from './lib/install/change.ts'
import { assertOwnHome, nodeForJobs, prerequisites, schedulerHere, warnings } from './lib/install/machine.ts'
import * as plans from './lib/install/plan.ts'
import { readReceiptOrRest } from './lib/services/receipt.ts'
import { exitAsIn, print, stop } from './lib/tier/by-hand.ts'
import { EXIT, type ExitCode } from './lib/tier/contract.ts'
import { lastHeartbeatMs } from './lib/tier/journal.ts'
import { isLock, type Lock, lockHolder, takeLock } from './lib/tier/lock.ts'
import { DEFAULT_PROFILE } from './lib/tier/profile.ts'
import { SETTINGS } from './lib/tier/setting-table.ts'
import { loadSettings, type Settings } from './lib/tier/settings.ts'

const HELP = `Installs openclaw-self-healing for this user: npm run setup [-- flags]

At a terminal and without flags it asks; with any of these it does not:
  --yes             no questions, no webhook
  --port N          the gateway's port, for .env
  --webhook-stdin   read the Discord webhook's URL from standard input, for .env
  --replace         set an installed bash version aside

  --profile NAME    for the gateway of that OpenClaw profile, as does OPENCLAW_PROFILE in the environment

  --dry-run         print the plan and change nothing (also with --uninstall)
  --status          the same as \`npm run status\`: every tier, the gateway, the last incidents
  --uninstall       remove what setup installed; logs and .env stay
  --purge           with --uninstall: remove logs, learnings and the .env that setup wrote, too
  --help            print this`

const [flag, text] = [{ type: 'boolean' }, { type: 'string' }] as const
const options = {
  ...{ yes: flag, port: text, 'webhook-stdin': flag, replace: flag, profile: text },
  ...{ 'dry-run': flag, status: flag, uninstall: flag, purge: flag, help: flag },
}
const readFlags = () => parseArgs({ options }).values
type Flags = ReturnType<typeof readFlags>

const root = fileURLToPath(new URL('.', import.meta.url)).replace(/\/$/, '')
const say = (line: string) => process.stdout.write(`${line}\n`)
const sayDone = ({ text }: Step) => say(`✓ ${text}`)
const complain = (line: string) => process.stderr.write(`setup: ${line}\n`)

const webhookProblem = problemWith.bind(undefined, 'discordWebhookUrl')
const portProblem = problemWith.bind(undefined, 'gatewayPort')

await exitAsIn('setup', main, EXIT.down)

async function main(): Promise<ExitCode> {
  const flags = readFlags()
  if (flags.help) return print(HELP)
  if (flags.purge && !flags.uninstall) throw stop(EXIT.unusable, '--purge goes with --uninstall; try --help')
  // What stands in `.env` must not prevent an uninstallation.
  const overlooked: string[] = []
  const overlook = flags.uninstall ? (problem: string) => overlooked.push(problem) : undefined
  const settings = loadSettings(undefined, { profile: flags.profile, overlook })
  if (flags.status) {
    const { readStatus, screen } = await import('./lib/report/status.ts')
    const status = await readStatus(settings)
    for (const line of screen(status, settings)) say(line)
    return status.isWell ? EXIT.healthy : EXIT.down
  }
  assertOwnHome(settings)
  return flags.uninstall ? remove(settings, flags, overlooked) : install(settings, flags)
}

async function install(settings: Settings, flags: Flags): Promise<ExitCode> {
  const dryRun = flags['dry-run'] === true
  const asks = ![flags.yes, flags.port, flags['webhook-stdin'], flags.replace, dryRun].some(Boolean)
  const interactive = asks && process.stdin.isTTY && process.stdout.isTTY

  // 1. What is here already, before the lock makes our folders.
  const answersByFlag = await readAnswers(settings, flags)
  const here = { root, scheduler: await schedulerHere(settings), node: nodeForJobs(settings, root) }
  const isFirst = !existsSync(settings.watchdogDir)

  // 2. One setup at a time.
  const lock = dryRun ? undefined : await lockSetup(settings)
  let outcome: Outcome = 'rolled back'
  try {
    // 3. Questions, and a bash version that has to give way.
    const given = interactive && !settings.envFile ? await askAnswers(settings) : answersByFlag
    const answers = settings.envFile ? {} : given
    const inTheWay = plans.clashes(settings, answers)
    if (inTheWay.length > 0) throw stop(EXIT.unusable, inTheWay.join('\nsetup: '))
    const bash = await findBashVersion(settings)
    if (bash) say(['\nThe bash version of this system is installed:', ...bash.found].join('\n  '))
    const question = 'Unload it and keep its files aside, so that two watchdogs never fight?'
    if (bash && !flags.replace && !dryRun && !(interactive && (await askYesNo(question))))
      throw stop(EXIT.down, 'two watchdogs would fight; --replace sets the bash version aside. Nothing was changed')

    // 4. The plan.
    const plan = await plans.makePlan(settings, here, answers, bash)
    const notes = [...(await warnings(settings, root, here.scheduler)), ...plan.notes]
    if (answers !== given && (given.port || given.webhook))
      notes.push(`${settings.envFile} is there and is kept as it is; put in yourself what you want changed`)
    const isUnchanged = plan.steps.length === 0
    if (!isUnchanged) say(`node        ${here.node.path} (${process.versions.node})`)
    for (const { name, path, without } of prerequisites(settings))
      if (!isUnchanged || path === undefined) say(`${name.padEnd(11)} ${path ?? `MISSING: ${without}`}`)
    say(isUnchanged ? 'unchanged' : '')
    if (!isUnchanged && (dryRun || interactive))
      say([dryRun ? 'Would do:' : 'Plan:', ...plan.steps.map((step) => step.text)].join('\n  '))
    if (dryRun && bash && !flags.replace) notes.push('the bash version is only set aside with --replace')
    outcome = dryRun || isUnchanged ? 'done' : await apply(settings, plan, interactive)
    for (const note of notes) say(`note: ${note}`)
    return outcome === 'done' ? EXIT.healthy : EXIT.down
  } finally {
    lock?.release()
    if (lock && outcome === 'rolled back') {
      if (isFirst) rmSync(settings.watchdogDir, { recursive: true, force: true })
      plans.removeEmptyFolders(settings)
    }
  }
}

async function readAnswers(settings: Settings, { port, ...flags }: Flags): Promise<plans.Answers> {
  const webhook = flags['webhook-stdin'] ? (await readText(process.stdin)).trim() : undefined
  if (port === '' || webhook === '') throw stop(EXIT.unusable, 'an empty answer')
  const problems = { '--port': portProblem(settings, port), 'the webhook': webhookProblem(settings, webhook) }
  for (const [name, problem] of Object.entries(problems)) if (problem) throw stop(EXIT.unusable, `${name}: ${problem}`)
  return { webhook, port: port ? Number(port) : undefined }
}

/** What is wrong with a value for `.env`; undefined when it can be used. Empty can. */
function problemWith(key: 'discordWebhookUrl' | 'gatewayPort', { home }: Settings, value = ''): string | undefined {
  if (/["'`\\$\s]/.test(value.trim())) return 'it holds a blank, a quote, a $ or a backslash'
  const { expected, read } = SETTINGS[key]
  return value.trim() === '' || read(value.trim(), home) !== undefined ? undefined : `expected ${expected}`
}

async function askAnswers(settings: Settings): Promise<plans.Answers> {
  const { isCancel, password, text } = await import('@clack/prompts')
  const ask = async (question: Promise<unknown>): Promise<string> => {
    const answer = await question
    if (isCancel(answer)) throw stop(EXIT.stoodDown, 'cancelled; nothing was changed')
    return String(answer ?? '').trim()
  }
  const message = 'Discord webhook URL, where Level 4 calls you (Enter: none)'
  const webhook = await ask(password({ message, validate: (value) => webhookProblem(settings, value) }))
  const initialValue = String(settings.gatewayPort)
  const validate = (value: string | undefined) => portProblem(settings, value)
  const port = await ask(text({ message: "The gateway's port", initialValue, validate }))
  return { webhook: webhook || undefined, port: port && port !== initialValue ? Number(port) : undefined }
}

async function askYesNo(message: string): Promise<boolean> {
  const { confirm } = await import('@clack/prompts')
  return (await confirm({ message })) === true
}

type Outcome = 'done' | 'rolled back' | 'partly rolled back'

async function apply(settings: Settings, plan: plans.Plan, interactive: boolean): Promise<Outcome> {
  for (const tier of ['emergency-recovery', 'healthcheck'] as const) {
    const holder = await lockHolder(settings, tier)
    if (holder?.atWork)
      throw stop(EXIT.stoodDown, `${tier} is at work on the gateway (pid ${holder.pid}); run setup when it is done`)
  }
  if (interactive && !(await askYesNo('Do this?'))) throw stop(EXIT.stoodDown, 'nothing was changed')
  const abort = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => abort.abort())
  const startedMs = Date.now()
  // Whatever Level 1 left there: its new job begins with a tick.
  rmSync(pulsePath(settings), { force: true })
  const failed = await plans.carryOut(settings, plan, abort.signal, sayDone)
  if (failed) {
    complain(failed.failure)
    const rest = failed.notRolledBack.join('; ')
    const cure = 'when that is put right, run setup again, or uninstall: it is on record'
    complain(rest ? `rolled back, but for: ${rest}; ${cure}` : 'everything that this run had done was rolled back')
    return rest ? 'partly rolled back' : 'rolled back'
  }
  const which = settings.profile === DEFAULT_PROFILE ? '' : `--profile ${settings.profile} `
  say(`\nInstalled. \`npm run setup -- ${which}--status\` shows how it is going.`)
  if (plan.change.start.size > 0) say(await firstRun(settings, startedMs))
  return 'done'
}

/** A job that is registered and yet cannot run (a protected folder, a Node that only a shell finds) shows here. */
async function firstRun(settings: Settings, startedMs: number): Promise<string> {
  for (const deadline = performance.now() + 30_000; performance.now() < deadline; await delay(250))
    if (lastHeartbeatMs(settings, 'watchdog') >= startedMs - 1000) return 'The watchdog has written its first line.'
  return 'note: the watchdog has written nothing for 30 s; `npm run status` and "Troubleshooting" in docs/install.md say more'
}

async function remove(found: Settings, flags: Flags, overlooked: string[]): Promise<ExitCode> {
  const purge = flags.purge === true
  const memoryDir = readReceiptOrRest(found)?.memoryDir
  for (const problem of overlooked) say(`note: ${problem}; going by the receipt`)
  if (purge && overlooked.length > 0 && memoryDir === undefined)
    throw stop(EXIT.unusable, 'where the logs are is unknown; repair .env, or leave out --purge')
  const settings = { ...found, memoryDir: memoryDir ?? found.memoryDir }
  const plan = await plans.planRemoval(settings, purge)
  if (!plan) return print('not installed: nothing to do')
  const texts = [...plan.steps, ...plan.last].map(({ text }) => text)
  if (flags['dry-run']) return print(['Would do:', ...texts].join('\n  '))
  const lock = await lockSetup(settings)
  const failures = await plans.uninstall(settings, plan, sayDone).finally(() => lock.release())
  for (const failure of failures) complain(failure)
  if (failures.length === 0) return EXIT.healthy
  complain('run it again when that is put right')
  return EXIT.down
}

async function lockSetup(settings: Settings): Promise<Lock> {
  const taken = await takeLock(settings, 'setup')
  if (isLock(taken)) return taken
  throw stop(EXIT.stoodDown, `another setup is running (pid ${taken.pid})`)
}
