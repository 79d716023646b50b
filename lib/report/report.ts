/** A report: a history made fit for other people's eyes, with where it is from and what the doctor found. */
import { hostname } from 'node:os'
import { doctorsFindingOf } from '../alerts/incident-words.ts'
import { hiding } from '../alerts/secrets.ts'
import { type History, readHistory } from '../incidents/history.ts'
import type { Incident, Step } from '../incidents/incident.ts'
import type { Span } from '../incidents/logs.ts'
import { DEFAULT_PROFILE } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'

export interface ToldIncident extends Incident {
  /** The root cause as the doctor's report gives it: text from outside. */
  finding: string | undefined
}

export interface Report {
  /** The machine, and the profile if it is not the default one. */
  host: string
  writtenAt: Date
  history: Omit<History, 'incidents'> & { incidents: ToldIncident[] }
}

/** Reads the logs of the span; no secret of this machine is left in what comes back. */
export async function readReport(settings: Settings, span: Span, now: Date): Promise<Report> {
  const hide = await hiding(settings)
  const history = withoutSecrets(readHistory(settings, span, now), hide)
  const host = hostname().replace(/\.local$/, '')
  return {
    host: settings.profile === DEFAULT_PROFILE ? host : `${host} (profile ${settings.profile})`,
    writtenAt: now,
    history: {
      ...history,
      incidents: history.incidents.map((incident) => ({
        ...incident,
        finding:
          incident.doctorRuns > 0
            ? doctorsFindingOf(settings, incident.begin, incident.end ?? incident.lastSeen, hide)
            : undefined,
      })),
    },
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
  }
}
