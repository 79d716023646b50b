#!/usr/bin/env -S npx tsx
/**
 * Setup: `npm run setup` plans what this machine needs, shows the plan, applies it and writes a receipt. A second run
 * changes only what is not as it should be; --uninstall removes what has our names.
 *
 * Exit 0  done, or nothing to do (--status: all is well)
 *      1  failed, and rolled back (--status: something is not well)
 *      2  unusable flags, settings or surroundings; nothing was touched
 *      3  not done now: another setup is running, Level 2 or 3 is at work, or the answer was no
 */
import { existsSync, rmSync } from 'node:fs'
import { text as readText } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { configuredChannels, formProblem, sendTest, webhookSetting } from './lib/alerts/channels.ts'
import { pulsePath } from './lib/gateway/pulse.ts'
import { findBashVersion } from './lib/install/bash-version.ts'
import type { Step } from './lib/install/change.ts'
import { assertOwnHome, lookAround, nodeForJobs, type Part, schedulerHere, whatIsWrong } from './lib/install/machine.ts'
import * as plans from './lib/install/plan.ts'
import { isInstalled, readReceiptOrRest } from './lib/services/receipt.ts'
import { exitAsIn, print, stop, wrapped } from './lib/tier/by-hand.ts'
import { EXIT, type ExitCode } from './lib/tier/contract.ts'
import { lastHeartbeatMs } from './lib/tier/journal.ts'
import { isLock, type Lock, lockHolder, takeLock } from './lib/tier/lock.ts'
import { DEFAULT_PROFILE } from './lib/tier/profile.ts'
import { SETTINGS } from './lib/tier/setting-table.ts'
import { loadSettings, type Settings } from './lib/tier/settings.ts'

const HELP = `Installs openclaw-self-healing for this user: npm run setup [-- flags]

At a terminal and without flags it asks; with any of these it does not:
  --yes             no questions, no webhook; installs without OpenClaw, too
  --port N          the gateway's port, for .env
  --webhook-stdin   read a webhook's URL (Discord's or Slack's) from standard
                    input, for .env
  --replace         set an installed bash version aside
  --update          after \`git pull\`: npm's packages and the jobs, as they
                    should be now; a level that is at work is waited for

  --profile NAME    for the gateway of that OpenClaw profile, as does
                    OPENCLAW_PROFILE in the environment

  --dry-run         print the plan and change nothing (also with --update,
                    --uninstall, --purge)
  --status          the same as \`npm run status\`
  --uninstall       remove what setup installed; logs and .env stay
  --purge           with --uninstall: logs, learnings and the .env that setup
                    wrote, too; afterwards: what stayed of ours (asks, or --yes)
  -h, --help        print this
  --version         print the version

Exit codes: 0 done or nothing to do, 1 failed and rolled back, 2 unusable flags,
settings or surroundings (nothing was touched), 3 not done now.`

const [flag, text] = [{ type: 'boolean' }, { type: 'string' }] as const
const options = {
  ...{ yes: flag, port: text, 'webhook-stdin': flag, replace: flag, update: flag, profile: text },
  ...{ 'dry-run': flag, status: flag, uninstall: flag, purge: flag },
  help: { type: 'boolean', short: 'h' },
} as const
const readFlags = () => parseArgs({ options }).values
type Flags = ReturnType<typeof readFlags>

const root = fileURLToPath(new URL('.', import.meta.url)).replace(/\/$/, '')
const say = (line: string) => process.stdout.write(`${line}\n`)
const complain = (line: string) => process.stderr.write(`${wrapped('setup: ', line)}\n`)
/** Its further lines are what goes into the crontab: they stay as they are. */
const stepLines = (label: string, { text, failed }: Step) => {
  const [first = '', ...lines] = text.split('\n')
  return [wrapped(label, failed ? `${first}: ${failed}` : first), ...lines].join('\n')
}
const sayDone = (step: Step) => say(stepLines(step.failed ? '✗ ' : '✓ ', step))
const sayPlan = (title: string, steps: Step[]) => say([title, ...steps.map((step) => stepLines('  ', step))].join('\n'))

await exitAsIn('setup', () => main().catch(inLines), EXIT.down)

function inLines(error: Error): never {
  error.message = wrapped('setup: ', error.message).slice('setup: '.length)
  throw error
}

async function main(): Promise<ExitCode> {
  const flags = readFlags()
  if (flags.help) return print(HELP)
  const removes = flags.uninstall || flags.purge
  // What stands in `.env` must not prevent an uninstallation.
  const overlooked: string[] = []
  const overlook = removes ? (problem: string) => overlooked.push(problem) : undefined
  const settings = loadSettings(undefined, { profile: flags.profile, overlook })
  if (flags.status) {
    const { readStatus, screen } = await import('./lib/report/status.ts')
    const status = await readStatus(settings)
    for (const line of screen(status, settings)) say(line)
    return status.isWell ? EXIT.healthy : EXIT.down
  }
  assertOwnHome(settings)
  return removes ? remove(settings, flags, overlooked) : install(settings, flags)
}

async function install(settings: Settings, flags: Flags): Promise<ExitCode> {
  const dryRun = flags['dry-run'] === true
  const asks = ![flags.yes, flags.port, flags['webhook-stdin'], flags.replace, flags.update, dryRun].some(Boolean)
  const interactive = isTerminal() && asks
  const isFirst = !isInstalled(settings)
  if (flags.update && isFirst)
    throw stop(EXIT.unusable, `nothing is installed that could be updated; ${command(settings)} installs`)

  // 1. What is here already, and what is missing: before the lock makes our folders.
  const answersByFlag = await readAnswers(settings, flags)
  const parts = await lookAround(settings)
  const node = nodeForJobs(settings, root)
  if (isFirst) {
    say(`node        ${node.path} (${process.versions.node})`)
    for (const { name, found, lack } of parts) say(found ? name.padEnd(12) + found : wrapped(name.padEnd(12), lack))
    say('')
    await assertOpenclaw(parts, flags.yes === true || dryRun, interactive)
  }
  const here = { root, scheduler: await schedulerHere(settings), node }
  const hadFolder = existsSync(settings.watchdogDir)

  // 2. One setup at a time.
  const lock = dryRun ? undefined : await lockSetup(settings)
  let outcome: Outcome = 'rolled back'
  try {
    // 3. Questions, and a bash version that has to give way.
    const given = interactive && !settings.envFile ? await askAnswers(settings) : answersByFlag
    const answers = settings.envFile ? {} : given
    const inTheWay = plans.clashes(settings, answers)
    if (inTheWay.length > 0) throw stop(EXIT.unusable, inTheWay.join('; '))
    const bash = await findBashVersion(settings)
    if (bash) say(['\nThe bash version of this system is installed:', ...bash.found].join('\n  '))
    const question = 'Unload it and keep its files aside, so that two watchdogs never fight?'
    if (bash && !flags.replace && !dryRun && !(interactive && (await askYesNo(question))))
      throw stop(EXIT.unusable, 'two watchdogs would fight; --replace sets the bash version aside. Nothing was changed')

    // 4. The plan.
    if (flags.update && !dryRun) await waitForLevels(settings, true)
    const plan = await plans.makePlan(settings, here, answers, bash)
    const isUnchanged = plan.steps.length === 0
    if (isUnchanged) say('unchanged')
    else if (dryRun || interactive) sayPlan(dryRun ? 'Would do:' : 'Plan:', plan.steps)
    outcome = dryRun || isUnchanged ? 'done' : await apply(settings, plan, interactive)
    if (outcome !== 'done') return EXIT.down

    // 5. A test alert, and what is not as it should be.
    const now = dryRun ? settings : loadSettings(undefined, { profile: flags.profile })
    const notes = [...(await testAlert(now, interactive, isUnchanged || dryRun)), ...plan.notes]
    if (answers !== given && (given.port || given.webhook))
      notes.push(`${settings.envFile} is there and is kept as it is; put in yourself what you want changed`)
    if (dryRun && bash && !flags.replace) notes.push('the bash version is only set aside with --replace')
    for (const { text, failed } of plan.steps) if (failed) notes.push(`not done: ${text}: ${failed}`)
    const wrong = [...notes, ...(await whatIsWrong(now, parts, root, here.scheduler))]
    say(wrong.length === 0 ? '\nAll is well: the gateway, its doctor and the way to you.' : '\nNot as it should be:')
    for (const one of wrong) say(wrapped('  - ', one))
    return EXIT.healthy
  } finally {
    lock?.release()
    if (lock && outcome === 'rolled back') {
      if (!hadFolder) rmSync(settings.watchdogDir, { recursive: true, force: true })
      plans.removeEmptyFolders(settings)
    }
  }
}

function isTerminal(): boolean {
  return process.stdin.isTTY && process.stdout.isTTY
}

/** `npm run setup`, with these flags, for this profile. */
function command({ profile }: Settings, ...flags: string[]): string {
  const all = [...(profile === DEFAULT_PROFILE ? [] : ['--profile', profile]), ...flags]
  return `\`npm run setup${all.length > 0 ? ` -- ${all.join(' ')}` : ''}\``
}

/** Without OpenClaw there is hardly anything to heal: that takes a yes. */
async function assertOpenclaw(parts: Part[], isYes: boolean, interactive: boolean): Promise<void> {
  if (isYes || parts.some(({ name, found }) => name === 'openclaw' && found)) return
  const what = 'OpenClaw is not on the PATH: only a gateway that a supervisor starts can be restarted, none repaired'
  if (!interactive)
    throw stop(EXIT.unusable, `${what}. Install it (\`npm install -g openclaw\`), or go on all the same with --yes.`)
  if (!(await askYesNo(`${what}. Go on all the same?`))) throw stop(EXIT.stoodDown, 'nothing was changed')
}

async function readAnswers(settings: Settings, { port, ...flags }: Flags): Promise<plans.Answers> {
  const webhook = flags['webhook-stdin'] ? (await readText(process.stdin)).trim() : undefined
  if (port === '' || webhook === '') throw stop(EXIT.unusable, 'an empty answer')
  const problems = { '--port': portProblem(settings, port), 'the webhook': webhookProblem(webhook) }
  for (const [name, problem] of Object.entries(problems)) if (problem) throw stop(EXIT.unusable, `${name}: ${problem}`)
  return answersOf(webhook, port)
}

function answersOf(url = '', port = ''): plans.Answers {
  const name = webhookSetting(url)
  return { webhook: name && { name, url }, port: port ? Number(port) : undefined }
}

/** What is wrong with an answer; undefined when it can be used. Empty can. */
function portProblem({ home }: Settings, value = ''): string | undefined {
  const { expected, read } = SETTINGS.gatewayPort
  return value.trim() === '' || read(value.trim(), home) ? undefined : `expected ${expected}`
}

function webhookProblem(value = ''): string | undefined {
  const url = value.trim()
  if (url === '' || webhookSetting(url)) return undefined
  const [discord, slack] = [formProblem('DISCORD_WEBHOOK_URL', url), formProblem('SLACK_WEBHOOK_URL', url)]
  return `it is ${discord}; and ${slack}. Other channels: docs/alerts.md`
}

async function askAnswers(settings: Settings): Promise<plans.Answers> {
  const { isCancel, password, text } = await import('@clack/prompts')
  const ask = async (question: Promise<unknown>): Promise<string> => {
    const answer = await question
    if (isCancel(answer)) throw stop(EXIT.stoodDown, 'cancelled; nothing was changed')
    return String(answer ?? '').trim()
  }
  const message = 'Webhook of Discord or Slack, where Level 4 calls you (Enter: none)'
  const webhook = await ask(password({ message, validate: webhookProblem }))
  const placeholder = String(settings.gatewayPort)
  const validate = (value: string | undefined) => portProblem(settings, value)
  const question = { message: "The gateway's port", placeholder, defaultValue: placeholder, validate }
  const port = await ask(text(question))
  return answersOf(webhook, port === placeholder ? '' : port)
}

/** Offers it at a terminal, else says how. Returns which channel did not take it. */
async function testAlert(settings: Settings, interactive: boolean, isSilent: boolean): Promise<string[]> {
  const names = configuredChannels(settings).map(({ name }) => name)
  if (names.length === 0) return []
  if (!interactive) {
    const which = settings.profile === DEFAULT_PROFILE ? '' : `OPENCLAW_PROFILE=${settings.profile} `
    const how = `${which}sh scripts/run-tier.sh emergency-recovery-monitor --test-alert`
    if (!isSilent) say(`A test alert goes out with:\n  ${how}`)
    return []
  }
  if (!(await askYesNo(`Send a test alert to ${names.join(', ')} now?`))) return []
  const answers = await sendTest(settings)
  for (const { isTaken, said } of answers) say(wrapped(isTaken ? '✓ ' : '✗ ', said))
  return answers.flatMap(({ isTaken, said }) => (isTaken ? [] : [said]))
}

/** A treatment is not interrupted. @param waits until it is over, and for every other run of a level */
async function waitForLevels(settings: Settings, waits: boolean): Promise<void> {
  for (const tier of ['emergency-recovery', 'healthcheck', 'watchdog'] as const)
    for (let told = false; ; told = true) {
      const holder = await lockHolder(settings, tier)
      if (!holder || !(waits || holder.atWork)) break
      const who = `${tier} is at work (pid ${holder.pid})`
      if (!waits) throw stop(EXIT.stoodDown, `${who}; run setup when it is done`)
      if (!told) say(`${who}: waiting until it is done; Ctrl-C ends that`)
      await delay(500)
    }
}

async function askYesNo(message: string): Promise<boolean> {
  const { confirm } = await import('@clack/prompts')
  return (await confirm({ message })) === true
}

type Outcome = 'done' | 'rolled back' | 'partly rolled back'

async function apply(settings: Settings, plan: plans.Plan, interactive: boolean): Promise<Outcome> {
  await waitForLevels(settings, false)
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
  say(`\nInstalled. ${command(settings).replace('setup', 'status')} shows how it is going.`)
  if (plan.change.start.size === 0) return 'done'
  if (await hasRun(settings, startedMs)) say('The watchdog has written its first line.')
  else
    plan.notes.push(
      'the watchdog has written nothing for 30 s: see `npm run status`, and "Troubleshooting" in docs/install.md',
    )
  return 'done'
}

/** A job that is registered and yet cannot run (a protected folder, a Node that only a shell finds) shows here. */
async function hasRun(settings: Settings, startedMs: number): Promise<boolean> {
  for (const deadline = performance.now() + 30_000; performance.now() < deadline; await delay(250))
    if (lastHeartbeatMs(settings, 'watchdog') >= startedMs - 1000) return true
  return false
}

async function remove(found: Settings, flags: Flags, overlooked: string[]): Promise<ExitCode> {
  const purge = flags.purge === true
  const receipt = readReceiptOrRest(found)
  const memoryDir = receipt?.memoryDir
  if (receipt && !flags.uninstall)
    throw stop(EXIT.unusable, `it is installed: ${command(found, '--uninstall', '--purge')} removes all of it`)
  for (const problem of overlooked) say(wrapped('note: ', `${problem}${receipt ? '; going by the receipt' : ''}`))
  const isUnknown = memoryDir === undefined && overlooked.some((problem) => /_DIR=|cannot be read/.test(problem))
  if (purge && isUnknown)
    throw stop(
      EXIT.unusable,
      `where the logs are is unknown; repair .env${flags.uninstall ? ', or leave out --purge' : ''}`,
    )
  const settings = { ...found, memoryDir: memoryDir ?? found.memoryDir }
  const plan = await plans.planRemoval(settings, purge)
  if (!plan) return print('not installed: nothing to do')
  const steps = [...plan.steps, ...plan.last]
  if (flags['dry-run']) {
    sayPlan('Would do:', steps)
    return EXIT.healthy
  }
  if (!flags.uninstall && !flags.yes) {
    if (!isTerminal()) throw stop(EXIT.unusable, '--dry-run shows what would be removed, --yes removes it')
    sayPlan('Plan:', steps)
    if (!(await askYesNo('Do this? It cannot be undone.'))) throw stop(EXIT.stoodDown, 'nothing was removed')
  }
  const lock = await lockSetup(settings)
  const failures = await plans.uninstall(settings, plan, sayDone).finally(() => lock.release())
  for (const failure of failures) complain(failure)
  if (failures.length > 0) {
    complain('run it again when that is put right')
    return EXIT.down
  }
  say('\nWhat stays:')
  const stays = plans.whatStays(settings, root, command(settings, '--purge'))
  for (const one of stays) say(wrapped('  - ', one))
  return EXIT.healthy
}

async function lockSetup(settings: Settings): Promise<Lock> {
  const taken = await takeLock(settings, 'setup')
  if (isLock(taken)) return taken
  throw stop(EXIT.stoodDown, `another setup is running (pid ${taken.pid})`)
}
