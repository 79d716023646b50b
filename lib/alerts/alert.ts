/** An alert, before any channel has given it its form: already redacted, bounded in size, kept in the outbox as it is. */
import { isRecord } from '../tier/state.ts'
import { isScope, type Scope } from './sightings.ts'

const KINDS = ['failure', 'update', 'reminder', 'flapping', 'resolved', 'notice', 'several', 'test', 'digest'] as const

export interface Alert {
  /**
   * `update`: another failure in a case that was alerted before. `flapping`: it comes and goes. `notice`: needs nobody.
   * `several`: alerts that had to wait, in one message. `digest`: how the week was.
   */
  kind: (typeof KINDS)[number]
  /** What has failed, or is well again; undefined: it is about neither. */
  scope?: Scope
  /** ISO time at which it was written. */
  writtenAt: string
  host: string
  /** Our own words, one line. */
  title: string
  /** More of our own words, a sentence or two; empty: none. */
  lead: string
  /** Why a human is needed, or what was noticed, as the tiers said it: text from outside, one line each. */
  whys: string[]
  /** ISO time since when the gateway is down, when that is known. */
  downSince?: string
  /** What the gateway's trouble was called, and what was seen: the evidence is text from outside. */
  verdict?: string
  evidence?: string
  /** What each level did, lowest first: who (our own words) and what (text from outside). */
  tried: { who: string; what: string }[]
  /** What the doctor found, from its report: text from outside. */
  finding?: string
  /** What to do next: our own words, commands in backticks. */
  todo: string[]
  /** The end of the log with the failure: text from outside. */
  log?: { path: string; lines: string[] }
}

/** True when somebody has to act. */
export function isUrgent({ kind }: Alert): boolean {
  return kind === 'failure' || kind === 'update' || kind === 'reminder' || kind === 'flapping' || kind === 'several'
}

/** What the kind looks like at first sight. */
export function signOf({ kind }: Alert): string {
  if (kind === 'resolved') return '✅'
  if (kind === 'notice') return 'ℹ️'
  if (kind === 'test') return '🔔'
  if (kind === 'digest') return '📊'
  return kind === 'reminder' ? '⏰' : '🚨'
}

/** Reads an alert back from disk; undefined when it is none. Unknown or missing parts do not make it useless. */
export function checkAlert(value: unknown): Alert | undefined {
  if (!isRecord(value) || typeof value.title !== 'string') return undefined
  const text = (x: unknown) => (typeof x === 'string' ? x : undefined)
  const texts = (x: unknown) => (Array.isArray(x) ? x.filter((item) => typeof item === 'string') : [])
  const log = isRecord(value.log) ? value.log : undefined
  return {
    kind: KINDS.find((kind) => kind === value.kind) ?? 'failure',
    scope: isScope(value.scope) ? value.scope : undefined,
    writtenAt: text(value.writtenAt) ?? '',
    host: text(value.host) ?? '',
    title: value.title,
    lead: text(value.lead) ?? '',
    whys: texts(value.whys),
    downSince: text(value.downSince),
    verdict: text(value.verdict),
    evidence: text(value.evidence),
    tried: (Array.isArray(value.tried) ? value.tried : []).flatMap((step: unknown) =>
      isRecord(step) && typeof step.who === 'string' && typeof step.what === 'string'
        ? [{ who: step.who, what: step.what }]
        : [],
    ),
    finding: text(value.finding),
    todo: texts(value.todo),
    log: log && typeof log.path === 'string' ? { path: log.path, lines: texts(log.lines) } : undefined,
  }
}
