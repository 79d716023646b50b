/** Instruments that read the state of the gateway and its machine, and change nothing. */
import { join } from 'node:path'
import { readConfig, validateConfig } from '../gateway/config.ts'
import { leavesOf, parseOrNothing, valueAt } from '../gateway/config-tree.ts'
import type { Examination } from '../gateway/examine.ts'
import { askOpenclaw, hostFacts, openclawCommand } from '../gateway/host.ts'
import { knownGoods } from '../gateway/known-good.ts'
import { describeProcess, portOwners } from '../gateway/processes.ts'
import { currentIncident, restartsSince } from '../incidents/history.ts'
import { lineOf } from '../incidents/words.ts'
import { readTail } from '../tier/journal.ts'
import type { Settings } from '../tier/settings.ts'
import { outputOf, shell } from '../tier/shell.ts'
import { shownBrokenConfig, shownConfig } from './config-policy.ts'
import { asData, type Instrument, optional, Refused, reads, text } from './instrument.ts'
import { LINES, lastLines, readableLog, SEARCH } from './read-files.ts'
import type { Session } from './session.ts'

export const READ_INSTRUMENTS: Readonly<Record<string, Instrument>> = {
  gateway_status: reads(
    'The state of the gateway now: verdict and evidence, its process, who owns its port, what its supervisor says, restarts within the hour.',
    90,
    async (session) => describeExamination(await session.examine(), session.settings),
  ),
  read_journal: reads(
    'The journal of the gateway’s systemd unit (Linux).',
    30,
    async (session, { lines, search }) =>
      asData('journal', lastLines(await session.hide(readableLog(await journal(session))), lines, search)),
    { lines: LINES, search: SEARCH },
  ),
  read_config: reads(
    'The gateway’s config: every setting’s name; values that are switches, numbers, modes, log levels and models, all others as [hidden]. One that cannot be parsed is shown line by line, with unknown words hidden.',
    20,
    (session, { path }) => describeConfig(session.settings, path as string | undefined),
    { path: optional(text('a part of it, e.g. agents.defaults')) },
  ),
  validate_config: reads(
    'Asks the service’s own OpenClaw whether it accepts the config, and why not.',
    90,
    async (session) => {
      const program = await openclawCommand(session.settings, await session.service())
      const validation = await validateConfig(session.settings, program)
      if (validation === undefined) return 'OpenClaw gave no verdict.'
      return validation.valid ? 'valid (which does not mean that it boots)' : `not valid: ${validation.issues}`
    },
  ),
  openclaw_doctor_lint: reads(
    'OpenClaw’s own read-only health checks (`openclaw doctor --lint --json`); works when the gateway is down.',
    120,
    (session) => ask(session, ['doctor', '--lint', '--json'], 110),
  ),
  openclaw_status: reads('`openclaw status`, for people.', 70, (session) => ask(session, ['status'], 60)),
  past_incidents: reads(
    'What was logged in this incident, and what was learned in earlier ones.',
    20,
    async (session) => {
      const learned = readTail(join(session.settings.memoryDir, 'recovery-learnings.md'), 12_000)
      const now = asData('this incident', await session.hide(whatWasTried(session.settings)))
      return `${now}\n${asData('earlier ones', await session.hide(learned))}`
    },
  ),
  processes_and_ports: reads(
    'The processes of this account without their arguments, and who listens on the gateway’s port.',
    30,
    async (session) => {
      const { settings } = session
      const ps = await shell(settings, { timeoutSec: 10 })`ps -axo pid=,ppid=,user=,stat=,rss=,etime=,comm=`
      const owners = (await portOwners(settings)).map((one) => `pid ${one.pid}`).join(', ')
      return [
        `port ${settings.gatewayPort}: ${owners || 'no listener, or a process of another user'}`,
        asData('PID PPID USER STAT RSS-KB AGE NAME', await session.hide(ps.stdout.trimEnd() || outputOf(ps))),
      ].join('\n')
    },
  ),
  host_facts: reads(
    'Disk, memory, load, time of boot, traces of the out-of-memory killer, PATH, the Node versions, OpenClaw’s package.',
    60,
    async (session) => hostFacts(session.settings, await session.service()),
  ),
}

async function journal(session: Session): Promise<string> {
  const service = await session.service()
  if (service.kind !== 'systemd')
    throw new Refused('No systemd unit supervises the gateway; read its logs with read_log.')
  const $ = shell(session.settings, { timeoutSec: 25 })
  const { stdout, failure } = await $`journalctl --user -u ${service.name} -n 2000 -o short-iso --no-pager`
  return stdout || (failure ?? '')
}

/** The output of an OpenClaw command; a failure is an answer, too. */
async function ask(session: Session, words: string[], timeoutSec: number): Promise<string> {
  const result = await askOpenclaw(session.settings, await session.service(), words, timeoutSec)
  return asData(`openclaw ${words.join(' ')}`, await session.hide(outputOf(result)))
}

function describeConfig(settings: Settings, path: string | undefined): string {
  const text = readConfig(settings)?.text
  if (text === undefined) return `There is no config at ${settings.configPath} that can be read.`
  const parsed = parseOrNothing(text)
  if (!parsed) {
    const lines = shownBrokenConfig(text, knownNames(settings)).split('\n')
    return [`It cannot be parsed as JSON5.`, ...lines.map((line, i) => `${i + 1}: ${line}`)].join('\n')
  }
  const names = path ? path.split('.') : []
  const part = valueAt(parsed, names)
  return part === undefined ? `There is no ${path} in the config.` : JSON.stringify(shownConfig(part, names), null, 2)
}

export function describeExamination(seen: Examination, settings: Settings): string {
  return [
    `${seen.verdict}: ${seen.evidence}`,
    ...seen.warnings.map((warning) => `warning: ${warning.text}`),
    ...(seen.service ? [`supervisor: ${seen.service.detail}`] : []),
    ...(seen.process ? [`process: ${describeProcess(seen.process)}, running for ${seen.process.ageSec} s`] : []),
    ...(seen.portOwner ? [`owner of its port: ${describeProcess(seen.portOwner)}`] : []),
    ...(seen.version ? [`version: ${seen.version}`] : []),
    `restarts by the self-healing system within the hour: ${restartsSince(settings, new Date(Date.now() - 3_600_000)).length}`,
  ].join('\n')
}

/** What the tiers logged of the incident that is going on. */
export function whatWasTried(settings: Settings): string {
  const incident = currentIncident(settings)
  if (!incident) return 'no incident is going on'
  const lines = incident.steps.slice(-40).map(lineOf)
  return [
    `down since ${incident.begin.toISOString()}`,
    ...lines.map(({ at, who, did, quote, again }) =>
      [at.toISOString(), who, did, quote && `: ${quote}`, again && ` (${again})`].filter(Boolean).join(' '),
    ),
  ].join('\n')
}

const USUAL_NAMES =
  'gateway mode port bind auth token password agents defaults model models logging level channels plugins entries enabled'

/** Names of settings that stood in configs that the gateway was healthy on, and a few that every config has. */
export function knownNames(settings: Settings): ReadonlySet<string> {
  const kept = knownGoods(settings).flatMap(({ text }) => leavesOf(parseOrNothing(text) ?? {}))
  const names = [...kept.flatMap(({ path }) => path), ...USUAL_NAMES.split(' ')]
  return new Set(names.filter((name) => /^[A-Za-z_$][\w$-]{0,40}$/.test(name)))
}
