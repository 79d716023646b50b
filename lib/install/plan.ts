/** An installation: what is not as it should be on this machine, and how it is put right or rolled back. An uninstallation: what
 * has a name of ours, and what the receipt says beyond that. */
import { createHash } from 'node:crypto'
import { existsSync, lstatSync, readdirSync, readFileSync, renameSync, rmdirSync, rmSync } from 'node:fs'
import { basename, dirname, extname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { readCrontab, withBlock, withoutBlock } from '../services/cron.ts'
import * as receipts from '../services/receipt.ts'
import { jobName } from '../services/supervisor.ts'
import { ALL_TIERS } from '../tier/contract.ts'
import { isOurLog } from '../tier/journal.ts'
import { lockHolder } from '../tier/lock.ts'
import { metricsPath } from '../tier/metrics.ts'
import { pausePath } from '../tier/pause.ts'
import { DEFAULT_PROFILE, profileStateDir, profileSuffix } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'
import { findOnPath, quote, shell } from '../tier/shell.ts'
import { filesIn, tried, writeState } from '../tier/state.ts'
import { type BashVersion, findSetAside, isItsFile, withItsLines, withoutItsLines } from './bash-version.ts'
import * as change from './change.ts'
import { packageSteps } from './packages.ts'

export type Answers = { webhook?: { name: string; url: string }; port?: number }
type Here = { root: string; scheduler: receipts.Receipt['scheduler']; node: { path: string; searchPath: string } }

export type Plan = Awaited<ReturnType<typeof makePlan>>

/** Of the folders that an installation makes where they are missing, those that are empty; not behind a link. */
export function removeEmptyFolders(settings: Settings): void {
  const { home, watchdogDir, memoryDir } = settings
  const logs = join(home, 'Library', 'Logs')
  for (const made of [watchdogDir, memoryDir, change.agentsFolder(settings), logs, change.unitFolder(settings)])
    for (let folder = made; folder.startsWith(`${home}/`); folder = dirname(folder)) {
      const isFolder = lstatSync(folder, { throwIfNoEntry: false })?.isDirectory() === true
      if (isFolder && readdirSync(folder).length === 0) rmdirSync(folder)
    }
}

/** The jobs, their files and templates. Level 1 first: stopped in mid-run it fails, and OnFailure= starts Level 2. */
function ourJobs(settings: Settings) {
  return (['watchdog', 'healthcheck'] as const).flatMap((tier) => {
    const name = jobName(settings, tier)
    const main = join(change.agentsFolder(settings), `${name}.plist`)
    // launchd starts no job whose error log it cannot open.
    const errorLog = join(settings.home, 'Library', 'Logs', `${name}.err.log`)
    const agent = { [main]: `launchagents/com.openclaw.${tier}.plist`, [errorLog]: undefined }
    const unit = join(change.unitFolder(settings), name)
    const template = `systemd/com.openclaw.${tier}`
    const units = { [`${unit}.service`]: `${template}.service`, [`${unit}.timer`]: `${template}.timer` }
    return [
      { scheduler: 'launchd', label: name, main, files: agent },
      { scheduler: 'systemd', label: `${name}.timer`, main: `${unit}.service`, files: units },
    ]
  })
}

/** Where scripts/run-tier.sh looks for the Node and the PATH: it knows the state folder from the environment alone. */
const launcherRecord = (settings: Settings): string => join(settings.stateDirOfJobs, 'watchdog', 'launcher')

const sha256 = (text: string | Buffer): string => createHash('sha256').update(text).digest('hex')

/** Why this profile cannot be installed beside the others: each would treat the other's gateway. */
export function clashes(settings: Settings, { port }: Answers): string[] {
  const { memoryDir, gatewayPort } = settings
  const found: string[] = []
  for (const { profile, receipt } of receipts.otherInstallations(settings)) {
    const isOf = `is that of the profile ${profile}; give this one its own`
    if (receipt.memoryDir === memoryDir) found.push(`OPENCLAW_MEMORY_DIR: ${memoryDir} ${isOf}`)
    if (receipt.gatewayPort === (port ?? gatewayPort)) found.push(`the gateway's port ${receipt.gatewayPort} ${isOf}`)
  }
  return found
}

export async function makePlan(settings: Settings, here: Here, answers: Answers, bash: BashVersion | undefined) {
  const { root, scheduler, node } = here
  const { home, profile, stateDirOfJobs, memoryDir } = settings
  const wanted: change.Change = { stop: new Map(), files: new Map(), start: new Map() }
  const { stop, files, start } = wanted
  const notes: string[] = []
  const isNeeded = ({ kind }: receipts.Entry) => ['kept-file', 'set-aside', 'linger'].includes(kind)
  const before = receipts.readReceiptOrRest(settings)
  const entries = [...(before?.entries ?? []).filter(isNeeded), ...(bash?.files ?? [])]

  files.set(launcherRecord(settings), { content: `${node.path}\n${node.searchPath}\n`, mode: 0o600 })
  const webhook = answers.webhook ? `${answers.webhook.name}="${answers.webhook.url}"\n` : ''
  const content = webhook + (answers.port ? `OPENCLAW_GATEWAY_PORT="${answers.port}"\n` : '')
  if (content !== '') {
    const path = join(stateDirOfJobs, '.env')
    files.set(path, { content, mode: 0o600 })
    entries.push({ kind: 'kept-file', path, sha256: sha256(content) })
  }
  for (const { path, aside, label } of bash?.files ?? []) {
    stop.set(label!, path)
    files.set(aside, change.readFile(path)).set(path, undefined)
  }
  const environment = {
    HOME: home,
    ...(profile === DEFAULT_PROFILE ? {} : { OPENCLAW_PROFILE: profile }),
    ...(stateDirOfJobs === profileStateDir(home, profile) ? {} : { OPENCLAW_STATE_DIR: stateDirOfJobs }),
  }
  const facts = { settings, root, environment: { PATH: node.searchPath, ...environment } }
  const asItIs = (path: string) => change.readFile(path) ?? { content: '', mode: 0o600 }
  // launchd watches this file, which has to be there before that; with it comes the log folder.
  const escalations = join(memoryDir, 'escalations.log')
  files.set(escalations, asItIs(escalations))
  for (const { label, main, files: ofJob } of ourJobs(settings).filter((job) => job.scheduler === scheduler)) {
    for (const [path, template] of Object.entries(ofJob))
      files.set(path, template ? { content: filledTemplate(template, facts), mode: 0o644 } : asItIs(path))
    const areAsWanted = Object.keys(ofJob).every((path) => change.isAsWanted(path, files.get(path)))
    if (areAsWanted && (await change.isLoaded(settings, label, true))) continue
    if (scheduler === 'launchd') stop.set(label, main)
    start.set(label, main)
  }
  for (const [path, file] of files) if (change.isAsWanted(path, file)) files.delete(path)

  let lines: string[] = []
  if (findOnPath('crontab', settings.childEnv.PATH)) {
    lines = cronLines({ settings, root, environment }, scheduler === 'cron')
    const now = await readCrontab(settings)
    if ('failure' in now) throw new Error(now.failure)
    const edit = (text: string) => withBlock(bash ? withoutItsLines(text) : text, lines, profile)
    const its = bash && withoutItsLines(now.text) !== now.text ? ", comment out the bash version's lines" : ''
    const text = [`crontab: write our block${its}, leave the rest as it is`, ...lines].join('\n  ')
    if (edit(now.text) !== now.text) wanted.crontab = { text, edit }
  }

  const steps = [...packageSteps(settings, root), ...change.stepsOf(settings, wanted)]
  if (scheduler === 'launchd' && start.size > 0) steps.unshift({ text: MAC_SAYS })
  if (scheduler === 'systemd') steps.push(...(await lingerSteps(settings, entries, before === undefined, notes)))
  if (steps.length === 0 && !receipts.readReceipt(settings)) steps.push({ text: 'write the receipt, which was lost' })
  const installedAt = new Date().toISOString()
  const gatewayPort = answers.port ?? settings.gatewayPort
  const receipt: receipts.Receipt = { installedAt, root, scheduler, memoryDir, gatewayPort, cronLines: lines, entries }
  return { change: wanted, steps, receipt, notes }
}

const MAC_SAYS =
  'macOS will announce "Background Items Added": leave them on in System Settings > General > Login Items & Extensions, and cron too; it may ask for your consent to a crontab, and cron for Full Disk Access in Privacy & Security'

/** Without lingering the user manager, and all it runs, ends with the user's last session. */
async function lingerSteps(settings: Settings, entries: receipts.Entry[], isFirst: boolean, notes: string[]) {
  const $ = shell(settings)
  const username = (await $`id -un`).stdout.trim()
  const cure = `while ${username} is not logged in, nothing runs; \`sudo loginctl enable-linger ${username}\``
  const isLinger = ({ kind }: receipts.Entry) => kind === 'linger'
  // The last profile that is uninstalled switches off what the first one switched on.
  const isOn = receipts.otherInstallations(settings).some(({ receipt }) => receipt.entries.some(isLinger))
  if (isOn && !entries.some(isLinger)) entries.push({ kind: 'linger' })
  if (isOn || existsSync(`/var/lib/systemd/linger/${username}`)) return []
  if (!isFirst) notes.push(`lingering is off: ${cure}`)
  const step: change.Step = {
    text: `switch lingering on for ${username}: the timers run while you are logged out`,
    act: async () => {
      const { failure } = await $`loginctl enable-linger`
      if (failure) step.failed = `${failure}; ${cure}`
      else entries.push({ kind: 'linger' })
    },
  }
  return isFirst ? [step] : []
}

/** Does the steps; when one fails all is rolled back, but the receipt stays where that fails as well. */
export async function carryOut(settings: Settings, plan: Plan, signal: AbortSignal, say: change.Say) {
  const path = receipts.receiptPath(settings)
  const inverse = await change.inverseOf(settings, plan.change)
  inverse.files.set(path, change.readFile(path))
  writeState(path, plan.receipt)
  const [failure] = await change.tryAll(plan.steps, say, signal)
  if (failure) {
    const notRolledBack = await change.tryAll(change.stepsOf(settings, inverse))
    if (notRolledBack.length > 0) writeState(existsSync(path) ? path : receipts.leavingPath(settings), plan.receipt)
    return { failure, notRolledBack }
  }
  writeState(path, plan.receipt)
  rmSync(receipts.leavingPath(settings), { force: true })
  return undefined
}

type JobFacts = { settings: Settings; root: string; environment: Record<string, string> }

/** systemd.syntax(7): C escapes inside double quotes; % begins a specifier everywhere. */
const unitQuote = (text: string) => `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('%', '%%')}"`

const FORMATS: Record<string, { quote(text: string): string; variable(name: string, value: string): string }> = {
  '.plist': {
    quote: (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;'),
    variable: (name, value) => `    <key>${name}</key>\n    <string>${FORMATS['.plist']!.quote(value)}</string>\n`,
  },
  '.service': {
    // In a command line, but not in Environment=, systemd expands $ too.
    quote: (text) => unitQuote(text).replaceAll('$', '$$$$'),
    variable: (name, value) => `Environment=${unitQuote(`${name}=${value}`)}\n`,
  },
  '.cron': {
    // A % would be a line break to cron.
    quote: (text) => `'${text.replaceAll("'", "'\\''")}'`.replaceAll('%', '\\%'),
    variable: (name, value) => `${name}=${FORMATS['.cron']!.quote(value)} `,
  },
}

const CALENDAR = '<dict><key>Minute</key><integer>#</integer></dict>'

export function filledTemplate(template: string, { settings, root, environment }: JobFacts): string {
  const { quote, variable } = FORMATS[extname(template).replace('timer', 'service')]!
  const variables = Object.entries(environment).map(([name, value]) => variable(name, value))
  const values: Record<string, string> = {
    launcher: quote(`${root}/scripts/run-tier.sh`),
    environment: variables.join('').replace(/\n$/, ''),
    memoryDir: quote(settings.memoryDir),
    everyMinute: Array.from({ length: 60 }, (_, minute) => `    ${CALENDAR.replace('#', String(minute))}`).join('\n'),
    home: quote(settings.home),
    suffix: profileSuffix(settings.profile, '.'),
    profile: settings.profile === DEFAULT_PROFILE ? '' : `, profile ${settings.profile}`,
  }
  const source = readFileSync(fileURLToPath(new URL(`../../${template}`, import.meta.url)), 'utf8')
  return source.replace(/\{\{(\w+)\}\}/g, (_, name: string) => values[name]!)
}

export function cronLines(facts: JobFacts, all: boolean): string[] {
  const files = all ? ['levels-1-and-2', 'openclaw-self-healing'] : ['openclaw-self-healing']
  const lines = files.flatMap((file) => filledTemplate(`cron/${file}.cron`, facts).split('\n'))
  return lines.filter((line) => line !== '' && !line.startsWith('#'))
}

const OTHER_FILES = ['recovery-learnings.md', 'escalations.log', 'alerts.json']

/** The log folder may hold other files (OpenClaw's memory). */
const ourLogs = ({ memoryDir }: Settings): string[] =>
  filesIn(memoryDir, (name) => isOurLog(name) || OTHER_FILES.includes(name))

/** What an uninstallation leaves, as lines: where it is, and how it goes. */
export function whatStays(settings: Settings, root: string, purgeCommand: string): string[] {
  const { home, memoryDir, envFile, configPath } = settings
  const logs = ourLogs(settings).length
  const config = basename(configPath)
  const isCopy = (name: string) => [`${config}.broken-`, `${config}.before-doctor-`].some((one) => name.startsWith(one))
  const copies = filesIn(dirname(configPath), isCopy).length
  const short = (path: string) => change.tilde(path, home)
  return [
    logs > 0 && `${short(memoryDir)}: logs, reports and learnings (${logs}); ${purgeCommand} removes them`,
    envFile && existsSync(envFile) && `${short(envFile)}: the settings, and OpenClaw's own; \`rm ${short(envFile)}\``,
    copies > 0 && `${short(configPath)}.{broken,before-doctor}-*: ${copies} configs that were set aside`,
    existsSync(pausePath(settings)) && `${short(pausePath(settings))}: the pause`,
    `${short(root)}: this folder; \`rm -r ${quote(root)}\``,
  ].filter((line) => typeof line === 'string')
}

/** The steps of an uninstallation; `last` are done when all before succeeded. Undefined: nothing is installed. */
export async function planRemoval(settings: Settings, purge: boolean) {
  const { home, profile, watchdogDir } = settings
  const receipt = receipts.readReceiptOrRest(settings)
  const removal: change.Change = { stop: new Map(), files: new Map(), start: new Map() }
  for (const { scheduler, label, main, files: ofJob } of ourJobs(settings)) {
    // A job of this name may be the bash version's or, where we are not installed, another program's.
    const isOurs =
      receipt?.scheduler === scheduler
        ? !isItsFile(main)
        : change.readFile(main)?.content.includes('/scripts/run-tier.sh') !== false
    const files = Object.keys(ofJob).filter((path) => existsSync(path))
    if (!isOurs || (files.length === 0 && !(await change.isLoaded(settings, label)))) continue
    removal.stop.set(label, main)
    for (const path of files) removal.files.set(path, undefined)
  }
  for (const { path, aside, label, wasLoaded } of findSetAside(settings, receipt)) {
    if (existsSync(path) && !removal.files.has(path))
      throw new Error(`${path} is there, and what was set aside for us is ${aside}: keep one of them`)
    removal.files.set(path, change.readFile(aside)).set(aside, undefined)
    if (wasLoaded && label) removal.start.set(label, path)
  }
  const crontab = await readCrontab(settings)
  const edit = (text: string) => {
    const rest = withoutBlock(text, profile)
    return profile === DEFAULT_PROFILE ? withItsLines(rest) : rest
  }
  if ('text' in crontab ? edit(crontab.text) !== crontab.text : receipt?.cronLines.length)
    removal.crontab = { text: 'take our lines out of the crontab', edit }

  const remove = (path: string): change.Step => ({
    text: `remove ${change.tilde(path, home)}`,
    act: () => rmSync(path, { recursive: true, force: true }),
  })
  const steps = change.stepsOf(settings, removal)
  // A tier that is running would write new files.
  steps.splice(removal.stop.size, 0, { text: 'end the tiers that are running', act: () => endTiers(settings) })
  for (const entry of receipt?.entries ?? [])
    if (entry.kind === 'linger' && receipts.otherInstallations(settings).length === 0) {
      const act = async () => change.must(await shell(settings)`loginctl disable-linger`)
      steps.push({ text: 'switch lingering off', act })
    } else if (entry.kind === 'kept-file' && existsSync(entry.path)) {
      // OpenClaw reads this file too: what was added to it since is not ours to delete.
      const isOurs = sha256(readFileSync(entry.path)) === entry.sha256
      const why = purge ? 'it was changed since it was written' : '--purge would remove it'
      steps.push(purge && isOurs ? remove(entry.path) : { text: `keep ${change.tilde(entry.path, home)} (${why})` })
    }
  const logs = purge ? ourLogs(settings) : []
  if (steps.length === 1 && !existsSync(watchdogDir) && logs.length === 0) return undefined

  const removeState = async () => {
    // What a killed doctor's run left in HOME; another profile's doctor may hold it.
    await lockHolder(settings, 'doctor', true).catch(() => {})
    rmSync(watchdogDir, { recursive: true, force: true })
  }
  const isOutside = (path: string) => !path.startsWith(`${watchdogDir}/`) && existsSync(path)
  const outside = [launcherRecord(settings), ...ALL_TIERS.map((tier) => metricsPath(settings, tier))].filter(isOutside)
  const last = [...outside.map(remove), { ...remove(watchdogDir), act: removeState }, ...logs.map(remove)]
  last.push({ text: 'remove the folders of it that are empty now', act: () => removeEmptyFolders(settings) })
  return { steps, last }
}

type Removal = NonNullable<Awaited<ReturnType<typeof planRemoval>>>

/** Removes everything. Returns what could not be removed; then the receipt stays, for the next attempt. */
export async function uninstall(settings: Settings, { steps, last }: Removal, say: change.Say): Promise<string[]> {
  const path = receipts.receiptPath(settings)
  // The watchers see no receipt, and revive no job.
  if (existsSync(path)) renameSync(path, receipts.leavingPath(settings))
  const failures = await change.tryAll(steps, say)
  return failures.length > 0 ? failures : change.tryAll(last, say)
}

async function endTiers(settings: Settings): Promise<void> {
  for (const tier of ALL_TIERS) {
    const holder = await lockHolder(settings, tier)
    if (holder) tried(() => process.kill(holder.pid, 'SIGTERM'))
    for (const deadline = performance.now() + 60_000; await lockHolder(settings, tier); await delay(200))
      if (performance.now() > deadline) throw new Error(`the ${tier} (pid ${holder?.pid}) still runs after 60 s`)
  }
}
