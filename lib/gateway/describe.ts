/** What is known of the gateway and of its incident, as lines for a reader: the doctor, or a human. */
import { currentIncident, restartsSince } from '../incidents/history.ts'
import { lineOf } from '../incidents/words.ts'
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
