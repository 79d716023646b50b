/** Instruments that treat the gateway: start, restart, end, repair, reinstall, and the report. */
import { appendFileSync } from 'node:fs'
import { readConfig } from '../gateway/config.ts'
import { describeExamination } from '../gateway/describe.ts'
import type { Examination } from '../gateway/examine.ts'
import { isGatewayProcess } from '../gateway/processes.ts'
import { readRecord } from '../gateway/record.ts'
import { type RemedyResult, restart, start } from '../gateway/remedies.ts'
import { lostByRepair, reinstallation } from '../gateway/repairs.ts'
import { askOpenclaw, installedPackage } from '../gateway/service-program.ts'
import { waitAfterStart } from '../gateway/wait.ts'
import { endProcess } from '../services/bare.ts'
import { type CommandResult, outputOf, runCommand } from '../tier/command.ts'
import { DEED, formatLine, localIso } from '../tier/contract.ts'
import { writeFileAtomic } from '../tier/state.ts'
import { rollBackEdits } from './act-config.ts'
import { type Argument, type Arguments, asData, type Instrument, type Report, type Session } from './instrument.ts'
import { Refused } from './refused.ts'

const NPM_LIMIT_SEC = 900

const field = (description: string): Argument => ({ type: 'string', description, max: 4000 })

export const ACT_INSTRUMENTS: Readonly<Record<string, Instrument>> = {
  start_gateway: {
    description: 'Starts the gateway that is down: through its supervisor, or as a process where it has none.',
    acts: true,
    most: 6,
    group: 'restart',
    limitSec: 420,
    prepare: async (session) => {
      const seen = await notComing(session)
      if (seen.process) throw new Refused(`Its process is there (pid ${seen.process.pid}): use restart_gateway.`)
      return () => treated(session, () => start(session.settings, seen))
    },
  },
  restart_gateway: {
    description:
      'Ends the gateway, if it runs, and starts it: through its supervisor, or as a process where it has none.',
    acts: true,
    most: 6,
    group: 'restart',
    limitSec: 420,
    prepare: async (session) => {
      const seen = await notComing(session)
      return () => treated(session, () => restart(session.settings, seen))
    },
  },
  end_gateway_process: {
    description: 'Ends one process that is proven to be the gateway’s own, e.g. one that hangs and keeps its port.',
    arguments: { pid: { type: 'integer', description: 'its pid' } },
    acts: true,
    most: 6,
    limitSec: 120,
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
  wait_until_healthy: {
    description:
      'Waits until the gateway answers as healthy, or will not come; a cold start takes 10 to 20 s, a migration minutes.',
    arguments: { seconds: { type: 'integer', description: 'at most so long, 5 to 300', optional: true } },
    limitSec: 330,
    prepare:
      (session, { seconds }) =>
      async () => {
        const { settings } = session
        const limitSec = Math.min(300, Math.max(5, Number(seconds ?? 60)))
        const options = { httpTimeoutSec: settings.healthCheckHttpTimeoutSec, deep: true }
        const record = readRecord(settings).value
        const seen = await waitAfterStart(settings, { ...options, record }, limitSec, new AbortController().signal)
        return describeExamination(seen, settings)
      },
  },
  openclaw_doctor_fix: {
    description:
      'OpenClaw’s own repair (`openclaw doctor --fix --yes --non-interactive`), e.g. for a pending migration or unknown settings. Once; a copy of the config is kept, and put back if it touches who may use the gateway.',
    acts: true,
    most: 1,
    limitSec: 620,
    prepare: (session) => () => doctorFix(session),
  },
  reinstall_package: {
    description: 'Installs the gateway’s package again at the version that is installed, for one that is damaged.',
    acts: true,
    most: 2,
    limitSec: NPM_LIMIT_SEC + 20,
    prepare: async (session) => {
      const { settings } = session
      const installed = await installedPackage(settings, await session.service())
      const version = installed.version ?? readRecord(settings).value.version
      if (!version || !/^\d+\.\d+\.\d+(?:-[\w.]+)?$/.test(version))
        throw new Refused('Which version was installed cannot be told: that is for a human.')
      const [program, args] = reinstallation(installed.folder, version)
      return () => run(session, program, args)
    },
  },
  rebuild_native_modules: {
    description: 'Builds the package’s native modules again (`npm rebuild`), after its Node was replaced by another.',
    acts: true,
    most: 1,
    limitSec: NPM_LIMIT_SEC + 20,
    prepare: async (session) => {
      const { folder } = await installedPackage(session.settings, await session.service())
      if (!folder) throw new Refused('OpenClaw’s package was not found.')
      return () => run(session, 'npm', ['rebuild', '--prefix', folder])
    },
  },
  refresh_service_definition: {
    description:
      'Lets OpenClaw write its service definition anew (`openclaw gateway install --force`), for one that names a Node or a program that is gone. It starts the gateway.',
    acts: true,
    most: 1,
    limitSec: 320,
    prepare: async (session) => {
      const service = await session.service()
      if (service.kind !== 'launchd' && service.kind !== 'systemd')
        throw new Refused('No supervisor of this account has the gateway: whether it gets one is for a human.')
      return async () =>
        answer(session, await askOpenclaw(session.settings, undefined, ['gateway', 'install', '--force'], 300_000))
    },
  },
  write_report: {
    description: 'Writes the report of this session. Call it once, at the end, whether the gateway is healthy or not.',
    arguments: {
      symptom: field('what was seen'),
      root_cause: field('why it was down'),
      fix: field('everything that was changed, also what did not help'),
      prevention: { ...field('how it can be prevented'), optional: true },
      decision_making: { ...field('why this way'), optional: true },
      lessons: { ...field('what the next doctor should do first when it meets this again'), optional: true },
      human_needed: { ...field('why a human has to see to it; leave out when none has to'), optional: true },
      keep_config_edits: {
        ...field(
          'why edits of the config shall stay although the gateway is not healthy; leave out to have them rolled back',
        ),
        optional: true,
      },
    },
    most: 5,
    limitSec: 10,
    prepare: (session, args) => () => writeReport(session, args),
  },
}

/** A gateway that is on its way is waited for; a doctor that asks for the third time may know that it never comes. */
async function notComing(session: Session): Promise<Examination> {
  const seen = await session.examine()
  const refusals = session.state.calls.filter(({ why }) => why?.startsWith(ON_ITS_WAY)).length
  if (seen.verdict === 'draining' || (seen.verdict === 'starting' && seen.graceLeftSec > 0 && refusals < 2))
    throw new Refused(`${ON_ITS_WAY}: ${seen.verdict} (${seen.evidence}). Use wait_until_healthy.`)
  return seen
}

const ON_ITS_WAY = 'It is on its way'

async function treated(session: Session, remedy: () => Promise<RemedyResult>): Promise<string> {
  const { done, failure } = await remedy()
  if (failure) throw new Error(`${done}: ${failure}`)
  const { context } = session
  // The restart stands in the log as those of the other levels do: who healed the gateway is told by it.
  appendFileSync(context.logPath, `${formatLine(new Date(), context.tier, 'INFO', DEED.restart(done))}\n`, {
    mode: 0o600,
  })
  return `${done}. Now wait_until_healthy.`
}

/** The end of what a command said. Throws it when the command failed. */
async function answer(session: Session, result: CommandResult): Promise<string> {
  const output = (await session.hide(outputOf(result))).slice(-8000)
  if (result.code !== 0) throw new Error(asData('it said', output))
  return asData('done; it said', output || 'nothing')
}

async function run(session: Session, program: string, args: string[]): Promise<string> {
  const env = session.settings.childEnv
  return answer(session, await runCommand(program, args, { timeoutMs: NPM_LIMIT_SEC * 1000, env }))
}

async function doctorFix(session: Session): Promise<string> {
  const { settings } = session
  session.keepConfig()
  const before = readConfig(settings)?.text
  const args = ['doctor', '--fix', '--yes', '--non-interactive']
  const result = await askOpenclaw(settings, await session.service(), args, 600_000)
  const after = readConfig(settings)?.text
  if (before !== undefined && after !== before) {
    session.noteConfig()
    const lost = after === undefined ? 'the config' : lostByRepair(before, after)
    if (lost && rollBackEdits(session))
      throw new Error(`It changed ${lost}; the config is again what it was. That is for a human.`)
  }
  return answer(session, result)
}

const HEADINGS: Readonly<Record<Exclude<keyof Report, 'humanNeeded' | 'keepConfigEdits'>, string>> = {
  symptom: 'Symptom',
  rootCause: 'Root cause',
  fix: 'Fix',
  prevention: 'Prevention',
  decisions: 'Decision making',
  lessons: 'Lessons',
}

async function writeReport(session: Session, args: Arguments): Promise<string> {
  // Headings of its own would pass for ours.
  const text = async (name: string) =>
    (await session.hide(String(args[name] ?? ''))).trim().replace(/^(\s*)#/gm, '$1\\#')
  const report: Report = {
    symptom: await text('symptom'),
    rootCause: await text('root_cause'),
    fix: await text('fix'),
    prevention: await text('prevention'),
    decisions: await text('decision_making'),
    lessons: await text('lessons'),
    humanNeeded: await text('human_needed'),
    keepConfigEdits: await text('keep_config_edits'),
  }
  if (!report.symptom || !report.rootCause || !report.fix)
    throw new Refused('symptom, root_cause and fix must say something.')
  const parts = Object.entries(HEADINGS).map(
    ([name, heading]) => `## ${heading}\n\n${report[name as keyof Report] || 'not reported'}`,
  )
  const human = report.humanNeeded ? [`## For a human\n\n${report.humanNeeded}`] : []
  writeFileAtomic(
    session.context.reportPath,
    `${[`# Emergency recovery, ${localIso(new Date())}`, ...parts, ...human].join('\n\n')}\n`,
  )
  session.change((state) => {
    state.report = report
  })
  return 'The report is written. Stop now.'
}
