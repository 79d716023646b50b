/** A report: a history made fit for other people's eyes, with where it is from. */
import { hostname } from 'node:os'
import { hiding } from '../alerts/secrets.ts'
import { type History, readHistory } from '../history/history.ts'
import type { Step } from '../history/incident.ts'
import type { Span } from '../history/log-files.ts'
import type { Settings } from '../tier/settings.ts'

export interface Report {
  host: string
  writtenAt: Date
  history: History
}

/** Reads the logs of the span; no secret of this machine is left in what comes back. */
export async function readReport(settings: Settings, span: Span, now: Date): Promise<Report> {
  const hide = await hiding(settings)
  return {
    host: hostname().replace(/\.local$/, ''),
    writtenAt: now,
    history: withoutSecrets(readHistory(settings, span, now), hide),
  }
}

function withoutSecrets(history: History, hide: (text: string) => string): History {
  const clean = (step: Step): Step => ({
    ...step,
    said: Object.fromEntries(
      Object.entries(step.said).map(([key, value]) => [key, typeof value === 'string' ? hide(value) : value]),
    ) as Step['said'],
  })
  return {
    ...history,
    incidents: history.incidents.map((incident) => ({
      ...incident,
      evidence: hide(incident.evidence),
      steps: incident.steps.map(clean),
    })),
    remarks: history.remarks.map(clean),
    notes: history.notes.map(hide),
    damage: history.damage.map((damage) => ({ ...damage, path: hide(damage.path) })),
  }
}
