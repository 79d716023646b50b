/** One verdict for one piece of evidence. Pure: the same evidence always gives the same verdict. */
import { statfsSync } from 'node:fs'
import type { Service } from '../services/supervisor.ts'
import type { Settings } from '../tier/settings.ts'
import { tried } from '../tier/state.ts'
import type { validateConfig } from './config.ts'
import type { LastWords } from './last-words.ts'
import type { Probe } from './probe.ts'
import { describeProcess, isGatewayCommand, type ProcessInfo } from './processes.ts'
import type { GatewayRecord } from './record.ts'
import type { Verdict } from './treat.ts'

export type { Verdict }

/** What is known of the gateway at one moment. What was not asked, because the answer could not matter, is undefined. */
export interface Evidence {
  answer: Probe
  process: ProcessInfo | undefined
  wasHealthy: boolean
  /** Seconds since trouble was first seen; 0: not before. */
  troubleSec: number
  service: Service | undefined
  /** In words, where it is not shown. */
  portOwner?: ProcessInfo | string
  /** `/` answers 200 from its own process: a version before 2026.3.1 has no /health. */
  rootAnswers?: boolean
  recentDeaths: number
  /** Of a process that boots in a crash loop: what the one before it said. */
  wordsBefore?: LastWords
  down?: Absence
}

/** What is asked only when there is no process. */
export interface Absence {
  stop: string | undefined
  freeMb: number | undefined
  words: LastWords | undefined
  ended?: string
  isPackageNewer?: boolean
  config: {
    problem: string | undefined
    /** What the service's own program says against it, if it was asked. */
    validation: Awaited<ReturnType<typeof validateConfig>>
    isNewerThanWords: boolean
    isUnchanged: boolean
    isWritable: boolean
  }
}

/** What is wrong with a gateway that is up; a restart fixes none of these. */
export interface Warning {
  kind: string
  text: string
}

export interface Examination extends Judgement, Pick<Evidence, 'process' | 'service' | 'wasHealthy'> {
  warnings: Warning[]
  portOwner: ProcessInfo | undefined
  version: string | undefined
  answersHttp: boolean
  lastWords: string | undefined
  /** What they name may pass without a repair; undefined: they name nothing. */
  mayPass?: boolean
}

export interface ExamineOptions {
  httpTimeoutSec: number
  record: GatewayRecord
  deep: boolean
}

export const LOW_DISK_MB = 100
export const FULL_DISK_MB = 10

/** Free megabytes for this user where the folder is; undefined when that is unknown. */
export function freeDiskMb(folder: string): number | undefined {
  const disk = tried(() => statfsSync(folder))
  // Without a free inode no file can be made; some file systems do not count them.
  return disk?.files && !disk.ffree ? 0 : disk && Math.floor((disk.bavail * disk.bsize) / 1024 / 1024)
}

export function judge(seen: Evidence, settings: Settings): Judgement {
  if (seen.portOwner) return is('impostor', ownerOf(seen.portOwner, seen.answer, settings))
  if (seen.answer.kind === 'live') return judgeLive(seen, settings)
  return seen.process ? judgeProcess(seen, seen.process, settings) : judgeAbsence(seen, seen.down!, settings)
}

const quoted = (words: LastWords | undefined) => (words ? `${words.text}; ` : '')

const is = (verdict: Verdict, evidence: string, graceLeftSec = 0) => ({ verdict, evidence, graceLeftSec })
type Judgement = ReturnType<typeof is>

function ownerOf(owner: ProcessInfo | string, { detail }: Probe, { gatewayPort }: Settings): string {
  const port = `port ${gatewayPort} belongs to`
  if (typeof owner === 'string') return `${port} ${owner}, not to the gateway (${detail})`
  const who = isGatewayCommand(owner.command)
    ? `the gateway of another profile (pid ${owner.pid})`
    : describeProcess(owner)
  return `${port} ${who}, not to the gateway`
}

function judgeLive({ answer, process, service, wasHealthy, troubleSec }: Evidence, settings: Settings): Judgement {
  if (answer.phase === 'draining') return is('draining', '/startupz says draining: it finishes its work')
  if (answer.phase === 'starting') {
    // An in-process restart gets the same time as a boot, counted from the first check that saw it.
    const leftSec = settings.startupGraceSec - (wasHealthy ? troubleSec : (process?.ageSec ?? 0))
    if (leftSec > 0) return is('starting', '/startupz says starting', leftSec)
  }
  if (service?.loaded && process && service.pid !== process.pid && service.pid !== process.parentPid)
    return is(
      'orphan',
      `the gateway answers, but as ${describeProcess(process)}, which is not what ${service.name} supervises (${service.detail})`,
    )
  return is('healthy', answer.detail)
}

function judgeProcess(seen: Evidence, process: ProcessInfo, settings: Settings): Judgement {
  const { answer, wasHealthy, troubleSec } = seen
  if (answer.phase === 'draining') return is('draining', `${answer.detail}; /startupz says draining`)
  if (seen.service?.stopping) return is('draining', `${answer.detail}; ${seen.service.detail}`)
  if (seen.rootAnswers) return is('healthy', '/ answers 200 from the gateway’s own process (a version without /health)')
  const evidence = `${answer.detail}; process ${process.pid} has been running for ${process.ageSec} s`
  // An in-process restart closes the port of a process that was healthy before; it may take as long as a boot.
  const restartsItself = wasHealthy && answer.kind === 'refused'
  if (!wasHealthy && isLooping(seen, settings)) return crashLooping(seen, evidence, settings, quoted(seen.wordsBefore))
  const leftSec = settings.startupGraceSec - (restartsItself ? troubleSec : process.ageSec)
  if ((!wasHealthy || restartsItself) && leftSec > 0) return is('starting', evidence, leftSec)
  return is('hung', evidence)
}

const isLooping = ({ recentDeaths }: Evidence, { crashLoopDeaths }: Settings) => recentDeaths >= crashLoopDeaths

function crashLooping(seen: Evidence, evidence: string, { crashLoopMin }: Settings, said = ''): Judgement {
  const count = `${seen.recentDeaths} processes ended within ${crashLoopMin} min`
  return is('crash-looping', `${said}${count}; ${evidence}; ${seen.service?.detail}`)
}

function judgeAbsence(evidence: Evidence, down: Absence, settings: Settings): Judgement {
  const { answer } = evidence
  const service = evidence.service!
  const { words, config } = down
  const seen = answer.detail
  const said = quoted(words)
  if (down.stop) return is('stopped-on-purpose', down.stop)
  if (service.stopping) return is('draining', `${seen}; ${service.detail}`)
  if ((down.freeMb ?? FULL_DISK_MB) < FULL_DISK_MB)
    return is('disk-full', `${seen}; ${down.freeMb} MB are left on the disk of ${settings.stateDir}`)
  const unwritable = config.isWritable ? '' : '; this account may not write it'
  const ended = down.ended ? ` (it ${down.ended})` : ''
  if (config.problem) return is('misconfigured', `${config.problem}${unwritable}${ended}`)
  if (config.validation?.valid === false) {
    const issues = `openclaw config validate: ${config.validation.issues}`
    // Its program changed, not its config: that is what `doctor --fix` is for.
    if (config.isUnchanged) return is('needs-migration', `${issues} (it was healthy on it)${ended}`)
    return is('misconfigured', `${issues}${ended}`)
  }
  // Nothing of it ran: its log is about another start, and launchd's 78 about none of its config.
  const gone = service.kind === 'systemd' && service.lastExitCode === 203 ? '203/EXEC' : service.cannotStart?.program
  const names = 'names a Node or a program that is gone'
  if (gone) return is('broken-install', `${said}${gone}: ${service.name} ${names}; ${service.detail}`)
  if (service.cannotStart) return is('parked', `${service.name}: ${service.detail}`)
  const cause = causeOf(down)
  if (cause) return is(cause, `${words!.text}${ended}`)
  // One that is unloaded or given up is started by no supervisor.
  if (service.kind === 'launchd' && !service.loaded) return is('unloaded', `${said}${seen}; ${service.detail}`)
  if (isLooping(evidence, settings) && !service.parked) return crashLooping(evidence, seen, settings, said)
  if (service.restarting) return is('starting', `${said}${seen}; ${service.detail}`, settings.startupGraceSec)
  if (service.kind === 'elsewhere') {
    const command = service.command ? `; a person can start it with \`${service.command}\`` : ''
    return is('supervised-elsewhere', `${said}${seen}; ${service.detail}${command}`)
  }
  // Exit 78 has many doers, and says of none that it was the config.
  if (!words?.reason && (words?.isRefusal || (service.parked && service.lastExitCode === 78)))
    return is('unknown', `${said || 'no reason stands in its log; '}${service.detail}`)
  if (service.parked) return is('parked', `${said}${seen}; ${service.detail}`)
  return is('absent', `${said}${seen}; no gateway process (${service.detail})`)
}

/** The verdict that the last words name, unless what they complain of was changed since. */
function causeOf({ words, config, isPackageNewer, ended }: Absence) {
  // What was killed has not refused: a chat may have said those words.
  const wasKilled = /SIG(?:KILL|SEGV|BUS)/.test(ended ?? '')
  const verdict = isPackageNewer || wasKilled ? undefined : words?.reason?.verdict
  if (verdict !== 'misconfigured') return verdict
  if (config.isNewerThanWords) return undefined
  // Validation has the last word on what it can judge: the file may have been repaired.
  return config.validation?.valid && isForValidation(words!) ? undefined : verdict
}

/** A config can be refused although validation passes it. */
export function isForValidation({ text, reason }: LastWords): boolean {
  return reason?.verdict === 'misconfigured' && /Invalid config|JSON5 parse failed/i.test(text)
}
