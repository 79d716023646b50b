/** Instruments that treat the gateway: start, restart, end, repair, reinstall, and the report. */
import { appendFileSync } from 'node:fs'
import { readConfig } from '../gateway/config.ts'
import { leavesOf, parseOrNothing } from '../gateway/config-tree.ts'
import type { Examination } from '../gateway/examine.ts'
import { askOpenclaw, installedPackage } from '../gateway/host.ts'
import { isGatewayProcess } from '../gateway/processes.ts'
import { readRecord } from '../gateway/record.ts'
import { type RemedyResult, restart, start } from '../gateway/remedies.ts'
import { waitAfterStart } from '../gateway/wait.ts'
import { endProcess } from '../services/bare.ts'
import { DEED, formatLine, localIso } from '../tier/contract.ts'
import { type Answer, outputOf, shell } from '../tier/shell.ts'
import { writeFileAtomic } from '../tier/state.ts'
import { type Arguments, acts, asData, type Instrument, integer, optional, Refused, reads, text } from './instrument.ts'
import { describeExamination } from './read.ts'
import type { Report, Session } from './session.ts'

const NPM_LIMIT_SEC = 900
const RESTART = acts(420, 6, 'restart')

const REPORT: readonly [argument: string, key: keyof Report, asks: string, heading?: string][] = [
  ['symptom', 'symptom', 'what was seen', 'Symptom'],
  ['root_cause', 'rootCause', 'why it was down', 'Root cause'],
  ['fix', 'fix', 'everything that was changed, also what did not help', 'Fix'],
  ['prevention', 'prevention', 'how it can be prevented', 'Prevention'],
  ['decision_making', 'decisions', 'why this way', 'Decision making'],
  ['lessons', 'lessons', 'what the next doctor should do first when it meets this again', 'Lessons'],
  ['human_needed', 'humanNeeded', 'why a human has to see to it; leave out when none has to'],
  [
    'keep_config_edits',
    'keepConfigEdits',
    'why edits of the config should stay although the gateway is not healthy; leave out to have them rolled back',
  ],
]
const REQUIRED: readonly (keyof Report)[] = ['symptom', 'rootCause', 'fix']

export const ACT_INSTRUMENTS: Readonly<Record<string, Instrument>> = {
  start_gateway: {
    description: 'Starts the gateway that is down: through its supervisor, or as a process where it has none.',
    ...RESTART,
    prepare: async (session) => {
      const seen = await notComing(session)
      if (seen.process) throw new Refused(`Its process is there (pid ${seen.process.pid}): use restart_gateway.`)
      return () => treated(session, () => start(session.settings, seen))
    },
  },
  restart_gateway: {
    description:
      'Ends the gateway, if it runs, and starts it: through its supervisor, or as a process where it has none.',
    ...RESTART,
    prepare: async (session) => {
      const seen = await notComing(session)
      return () => treated(session, () => restart(session.settings, seen))
    },
  },
  end_gateway_process: {
    description: 'Ends one process that is proven to be the gateway’s own, e.g. one that hangs and keeps its port.',
    arguments: { pid: integer('its pid') },
    ...acts(120, 6),
    prepare: async (session, { pid }) => {
      const { settings } = session
      await notComing(session)
      const isOwn = () => isGatewayProcess(settings, Number(pid))
      if (!(await isOwn()))
        throw new Refused(`Process ${pid} is not proven to be the gateway’s own; a foreign one goes into the report.`)
      return async () => {
        const gone = await endProcess(settings, Number(pid), settings.stopGraceSec, isOwn)
        return gone ? `Process ${pid} has ended.` : `Process ${pid} could not be ended.`
      }
    },
  },
  wait_until_healthy: reads(
    'Waits until the gateway answers as healthy, or will not come; a cold start takes 10 to 20 s, a migration minutes.',
    330,
    async (session, { seconds }) => {
      const limitSec = Math.min(300, Math.max(5, Number(seconds ?? 60)))
      const { signal } = new AbortController()
      const seen = await waitAfterStart(session.settings, session.examineOptions(), limitSec, signal)
      return describeExamination(seen, session.settings)
    },
    { seconds: optional(integer('at most so long, 5 to 300')) },
  ),
  openclaw_doctor_fix: {
    description:
      'OpenClaw’s own repair (`openclaw doctor --fix --yes --non-interactive`), e.g. for a pending migration or unknown settings. Once; a copy of the config is kept, and put back if it touches who may use the gateway.',
    ...acts(620, 1),
    prepare: (session) => () => doctorFix(session),
  },
  reinstall_package: {
    description: 'Installs the gateway’s package again at the version that is installed, for one that is damaged.',
    ...acts(NPM_LIMIT_SEC + 20, 2),
    prepare: async (session) => {
      const { settings } = session
      const { folder, ...installed } = await installedPackage(settings, await session.service())
      const version = installed.version ?? readRecord(settings).value.version
      if (!version || !/^\d+\.\d+\.\d+(?:-[\w.]+)?$/.test(version))
        throw new Refused('Which version was installed is not known: that is for a human.')
      const manager = folder?.includes('/pnpm/') ? 'pnpm' : folder?.includes('/.bun/') ? 'bun' : 'npm'
      const $ = shell(settings, { timeoutSec: NPM_LIMIT_SEC })
      const verb = manager === 'npm' ? 'install' : 'add'
      return async () => answer(session, await $`${manager} ${verb} -g ${`openclaw@${version}`}`)
    },
  },
  rebuild_native_modules: {
    description: 'Builds the package’s native modules again (`npm rebuild`), after its Node was replaced by another.',
    ...acts(NPM_LIMIT_SEC + 20, 1),
    prepare: async (session) => {
      const { folder } = await installedPackage(session.settings, await session.service())
      if (!folder) throw new Refused('OpenClaw’s package was not found.')
      const $ = shell(session.settings, { timeoutSec: NPM_LIMIT_SEC })
      return async () => answer(session, await $`npm rebuild --prefix ${folder}`)
    },
  },
  refresh_service_definition: {
    description:
      'Lets OpenClaw write its service definition again (`openclaw gateway install --force`), for one that names a Node or a program that is gone. It starts the gateway.',
    ...acts(320, 1),
    prepare: async (session) => {
      const service = await session.service()
      if (service.kind !== 'launchd' && service.kind !== 'systemd')
        throw new Refused('No supervisor of this account has the gateway: whether it gets one is for a human.')
      return async () =>
        answer(session, await askOpenclaw(session.settings, undefined, ['gateway', 'install', '--force'], 300))
    },
  },
  write_report: {
    description: 'Writes the report of this session. Call it once, at the end, whether the gateway is healthy or not.',
    arguments: Object.fromEntries(
      REPORT.map(([name, key, asks]) => {
        const argument = text(asks, 4000)
        return [name, REQUIRED.includes(key) ? argument : optional(argument)]
      }),
    ),
    most: 5,
    limitSec: 10,
    prepare: (session, args) => () => writeReport(session, args),
  },
}

const ON_ITS_WAY = 'It is on its way'

/** A gateway that is on its way is waited for; a doctor that asks for the third time may know that it never comes. */
async function notComing(session: Session): Promise<Examination> {
  const seen = await session.examine()
  const refusals = session.state.calls.filter(({ why }) => why?.startsWith(ON_ITS_WAY)).length
  if (seen.verdict === 'draining' || (seen.verdict === 'starting' && seen.graceLeftSec > 0 && refusals < 2))
    throw new Refused(`${ON_ITS_WAY}: ${seen.verdict} (${seen.evidence}). Use wait_until_healthy.`)
  return seen
}

async function treated({ context }: Session, remedy: () => Promise<RemedyResult>): Promise<string> {
  const { done, failure } = await remedy()
  if (failure) throw new Error(`${done}: ${failure}`)
  // Logged as the restarts of the other levels are: the recovery is attributed by it.
  const line = formatLine(new Date(), context.tier, 'INFO', DEED.restart(done))
  appendFileSync(context.logPath, `${line}\n`, { mode: 0o600 })
  return `${done}. Now wait_until_healthy.`
}

async function answer(session: Session, result: Answer): Promise<string> {
  const output = (await session.hide(outputOf(result))).slice(-8000)
  if (result.code !== 0) throw new Error(asData('it said', output))
  return asData('done; it said', output || 'nothing')
}

async function doctorFix(session: Session): Promise<string> {
  const { settings } = session
  const service = await session.service()
  const before = readConfig(settings)?.text
  const fix = ['doctor', '--fix', '--yes', '--non-interactive']
  const result = await session.editConfig(() => askOpenclaw(settings, service, fix, 600))
  const after = readConfig(settings)?.text
  const lost = before === undefined || after === before ? undefined : lostByFix(before, after)
  if (lost && session.rollBackEdits())
    throw new Error(`It changed ${lost}; the config is again what it was. That is for a human.`)
  return answer(session, result)
}

const GUARDED =
  /^(?:gateway\.(?:auth|bind|tailscale|trustedProxies|controlUi)|tools|hooks|mcp|plugins|env|approvals)\b|(?:Policy|allowFrom|\.allow|\.deny|sandbox\.mode)\b/

/** What OpenClaw's repair must not change: who may use the gateway, and where it listens. It has stripped configs (#78848). */
function lostByFix(before: string, after: string | undefined): string | undefined {
  if (after === undefined) return 'the config'
  const [was, is] = [before, after].map((text) =>
    leavesOf(parseOrNothing(text) ?? {}).map(({ path, value }) => `${path.join('.')}=${value}`),
  ) as [string[], string[]]
  if (was.length - is.length > 12) return `${was.length - is.length} settings`
  const guarded = (lines: string[]) => lines.filter((line) => GUARDED.test(line)).join('\n')
  return was.length > 0 && guarded(was) !== guarded(is) ? 'who may use the gateway or what it may do' : undefined
}

async function writeReport(session: Session, args: Arguments): Promise<string> {
  const report = {} as Report
  // A heading of its own would pass for one of ours.
  for (const [argument, key] of REPORT)
    report[key] = (await session.hide(String(args[argument] ?? ''))).trim().replace(/^(\s*)#/gm, '$1\\#')
  if (REQUIRED.some((key) => !report[key])) throw new Refused('symptom, root_cause and fix must say something.')
  const parts = REPORT.flatMap(([, key, , title]) => (title ? [`## ${title}\n\n${report[key] || 'not reported'}`] : []))
  const human = report.humanNeeded ? [`## For a human\n\n${report.humanNeeded}`] : []
  const text = [`# Emergency recovery, ${localIso(new Date())}`, ...parts, ...human].join('\n\n')
  writeFileAtomic(session.reportPath, `${text}\n`)
  session.note({ report })
  return 'The report is written. Stop now.'
}
