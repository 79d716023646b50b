/** What an installation has to do on this machine: everything that is not as it should be, in order. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { launchctl } from '../services/launchd.ts'
import { type Receipt, readReceipt } from '../services/receipt.ts'
import { systemctl } from '../services/systemd.ts'
import { DEFAULT_PROFILE, profileStateDir } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'
import type { BashVersion } from './bash-version.ts'
import { cronStep } from './cron-jobs.ts'
import { fileStep, findOnPath, folderSteps, sha256 } from './files.ts'
import { launchdSteps } from './launchd-jobs.ts'
import { type LauncherRecord, recordStep } from './launcher-record.ts'
import type { Step } from './step.ts'
import { account, isLingering, systemdSteps } from './systemd-jobs.ts'
import { cronLines, type JobFacts } from './templates.ts'
import { entriesToUndo } from './undo.ts'

/** What the person (or the flags) wants to have in `.env`. */
export interface Answers {
  webhook?: string
  port?: number
}

export interface Plan {
  scheduler: Receipt['scheduler']
  steps: Step[]
  /** launchd or systemd is told to start Level 1 and Level 2, which then show a sign of life. */
  startsLevels: boolean
  receipt: Receipt
  /** What the person should know; stops nothing. */
  notes: string[]
}

/**
 * Who starts Level 1 and Level 2 here. Throws, with advice, when there is launchd or systemd but this session cannot
 * speak to it.
 */
export async function schedulerHere(settings: Settings): Promise<Receipt['scheduler']> {
  const searchPath = settings.childEnv.PATH ?? ''
  if (findOnPath('launchctl', searchPath)) {
    const domain = `gui/${process.getuid?.() ?? 501}`
    const { failure } = await launchctl(settings, ['print', domain])
    if (failure)
      throw new Error(
        `launchd has no ${domain} for you (${failure}): log in at the Mac's own screen and stay logged in (automatic login helps), then run setup again`,
      )
    return 'launchd'
  }
  if (findOnPath('systemctl', searchPath)) {
    const { failure } = await systemctl(settings, ['show', '--property=Version'])
    if (!failure) return 'systemd'
    if (existsSync('/run/systemd/system'))
      throw new Error(
        `systemd's user manager does not answer (${failure}). \`sudo loginctl enable-linger ${account().username}\` starts it; then run setup again`,
      )
  }
  return 'cron'
}

/**
 * Makes the plan.
 * @param folders the steps for our folders, made before anything else touched them
 * @param bash the bash version, when it is to be set aside
 */
export async function makePlan(
  settings: Settings,
  root: string,
  record: LauncherRecord,
  answers: Answers,
  folders: Step[],
  bash: BashVersion | undefined,
): Promise<Plan> {
  const scheduler = await schedulerHere(settings)
  const before = readReceipt(settings)
  const notes: string[] = []
  const { profile, stateDirOfJobs } = settings
  const ofProfile = {
    ...(profile === DEFAULT_PROFILE ? {} : { OPENCLAW_PROFILE: profile }),
    ...(stateDirOfJobs === profileStateDir(settings.home, profile) ? {} : { OPENCLAW_STATE_DIR: stateDirOfJobs }),
  }
  const facts = (environment: Record<string, string>): JobFacts => ({
    settings,
    root,
    environment: { ...environment, ...ofProfile },
  })
  const jobFacts = facts({ PATH: record.path, HOME: settings.home })
  // cron sets HOME to the one in the password database.
  const lines = cronLines(
    facts(settings.home === account().homedir ? {} : { HOME: settings.home }),
    scheduler === 'cron',
  )

  const jobSteps = [
    ...(scheduler === 'launchd' ? await launchdSteps(jobFacts) : []),
    ...(scheduler === 'systemd' ? await systemdSteps(jobFacts, before === undefined) : []),
  ]
  const steps: (Step | undefined)[] = [
    ...folders,
    recordStep(settings, record),
    envStep(settings, answers, notes),
    ...(bash?.steps ?? []),
    ...jobSteps,
  ]
  const hasCron = findOnPath('crontab', settings.childEnv.PATH ?? '') !== undefined
  if (hasCron) steps.push(await cronStep(settings, lines))
  else if (scheduler === 'cron')
    throw new Error('this machine has neither launchd, nor systemd, nor cron: nothing could start the levels')
  if (scheduler === 'systemd' && before !== undefined && !isLingering(account().username))
    notes.push(
      `lingering is off: while ${account().username} is not logged in, nothing runs; \`sudo loginctl enable-linger ${account().username}\``,
    )

  const receipt: Receipt = {
    installedAt: new Date().toISOString(),
    root,
    scheduler,
    memoryDir: settings.memoryDir,
    gatewayPort: plannedPort(settings, answers),
    cronLines: hasCron ? lines : [],
    entries: await entriesToUndo(settings),
  }
  const needed = withoutDoubles(steps.filter((step) => step !== undefined))
  return {
    scheduler,
    steps: needed.length > 0 || before ? needed : [RECEIPT_ONLY],
    startsLevels: jobSteps.length > 0,
    receipt,
    notes,
  }
}

/** The gateway's port as it will be once the plan is done: an `.env` that is there is kept. */
export function plannedPort(settings: Settings, answers: Answers): number {
  return (settings.envFile ? undefined : answers.port) ?? settings.gatewayPort
}

/** All is in place but the receipt, without which nobody would miss a job. Applying any plan writes it. */
const RECEIPT_ONLY: Step = {
  lines: ['write the receipt, which was lost'],
  entries: [],
  apply: async () => {},
  rollback: async () => {},
}

/** Our folders: the log folder and the state folder, with all that has to be made above them. */
export function ourFolderSteps(settings: Settings): Step[] {
  const folders = [settings.stateDir, settings.watchdogDir, settings.memoryDir]
  return withoutDoubles(folders.flatMap((path) => folderSteps(path, 0o700, settings.home)))
}

/** Two folders may need the same one above them. */
function withoutDoubles(steps: Step[]): Step[] {
  return steps.filter((step, i) => steps.findIndex(({ lines }) => lines[0] === step.lines[0]) === i)
}

/** Writes `.env` with what was answered. One that is there already is kept, here or at ~/openclaw/.env. */
function envStep(settings: Settings, { webhook, port }: Answers, notes: string[]): Step | undefined {
  const lines = [
    ...(webhook ? [`DISCORD_WEBHOOK_URL="${webhook}"`] : []),
    ...(port ? [`OPENCLAW_GATEWAY_PORT="${port}"`] : []),
  ]
  if (lines.length === 0) return undefined
  if (settings.envFile) {
    notes.push(`${settings.envFile} is there and is kept as it is; put in yourself what you want changed`)
    return undefined
  }
  const path = join(settings.stateDirOfJobs, '.env')
  const content = `${lines.join('\n')}\n`
  const entry = { kind: 'kept-file' as const, path, sha256: sha256(content) }
  return fileStep({ path, content, mode: 0o600 }, settings.home, entry, 'your answers; only you can read it')
}
