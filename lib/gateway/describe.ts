/** What is known of the gateway and of its incident, as lines for a reader: the doctor, or a human. */
import { parseDeed, parseLine } from '../tier/contract.ts'
import { currentIncident, readTail, recentLogs } from '../tier/journal.ts'
import type { Settings } from '../tier/settings.ts'
import { leavesOf, parseOrNothing } from './config-tree.ts'
import type { Examination } from './examination.ts'
import { knownGoods } from './known-good.ts'
import { describeProcess } from './processes.ts'

export function describeExamination(seen: Examination, settings: Settings): string {
  return [
    `${seen.verdict}: ${seen.evidence}`,
    ...seen.warnings.map((warning) => `warning: ${warning}`),
    ...(seen.service ? [`supervisor: ${seen.service.detail}`] : []),
    ...(seen.process ? [`process: ${describeProcess(seen.process)}, running for ${seen.process.ageSec} s`] : []),
    ...(seen.portOwner ? [`owner of its port: ${describeProcess(seen.portOwner)}`] : []),
    ...(seen.version ? [`version: ${seen.version}`] : []),
    `restarts by the self-healing system within the hour: ${restartsWithin(settings, 3600)}`,
  ].join('\n')
}

function restartsWithin(settings: Settings, seconds: number): number {
  const since = Date.now() - seconds * 1000
  return recentLogs(settings, ['watchdog', 'healthcheck', 'emergency-recovery'], seconds)
    .flatMap((path) => readTail(path, 256 * 1024).split('\n'))
    .map(parseLine)
    .filter((line) => line && line.at.getTime() >= since && parseDeed(line.text)?.kind === 'restart').length
}

/** What the tiers logged of the incident that is going on. */
export function whatWasTried(settings: Settings): string {
  const incident = currentIncident(settings)
  const lines = incident?.lines.slice(-40).map((line) => `${line.at.toISOString()} [${line.tier}] ${line.text}`) ?? []
  return [incident ? `down since ${incident.since.toISOString()}` : 'no incident is going on', ...lines].join('\n')
}

const USUAL_NAMES =
  'gateway mode port bind auth token password agents defaults model models logging level channels plugins entries enabled'

/** Names of settings that stood in configs that the gateway was healthy on, and a few that every config has. */
export function knownNames(settings: Settings): ReadonlySet<string> {
  const kept = knownGoods(settings).flatMap(({ text }) => leavesOf(parseOrNothing(text) ?? {}))
  const names = [...kept.flatMap(({ path }) => path), ...USUAL_NAMES.split(' ')]
  return new Set(names.filter((name) => /^[A-Za-z_$][\w$-]{0,40}$/.test(name)))
}
