/** An alert, before any channel has given it its form: already redacted, bounded in size, kept in the outbox as it is. */
import { isRecord } from '../tier/state.ts'

export interface Alert {
  /** `update`: another failure in an incident that was alerted before. */
  kind: 'failure' | 'update' | 'test'
  /** ISO time at which it was written. */
  writtenAt: string
  host: string
  /** Our own words, one line. */
  title: string
  /** Why a human is needed, as the tiers said it: text from outside, one line each. */
  whys: string[]
  /** ISO time since when the gateway is down, when that is known. */
  downSince?: string
  /** What the gateway's trouble was called, and what was seen: the evidence is text from outside. */
  verdict?: string
  evidence?: string
  /** What each level did, lowest first: who (our own words) and what (text from outside). */
  tried: { who: string; what: string }[]
  /** What to do next: our own words, commands in backticks. */
  todo: string[]
  /** The end of the log with the failure: text from outside. */
  log?: { path: string; lines: string[] }
}

/** Reads an alert back from disk; undefined when it is none. Unknown or missing parts do not make it useless. */
export function checkAlert(value: unknown): Alert | undefined {
  if (!isRecord(value)) return undefined
  const text = (x: unknown) => (typeof x === 'string' ? x : undefined)
  const texts = (x: unknown) => (Array.isArray(x) ? x.filter((item) => typeof item === 'string') : [])
  const title = text(value.title)
  if (title === undefined) return undefined
  const kind = value.kind === 'update' || value.kind === 'test' ? value.kind : 'failure'
  const log = isRecord(value.log) ? value.log : undefined
  return {
    kind,
    writtenAt: text(value.writtenAt) ?? '',
    host: text(value.host) ?? '',
    title,
    whys: texts(value.whys),
    downSince: text(value.downSince),
    verdict: text(value.verdict),
    evidence: text(value.evidence),
    tried: (Array.isArray(value.tried) ? value.tried : []).flatMap((step: unknown) =>
      isRecord(step) && typeof step.who === 'string' && typeof step.what === 'string'
        ? [{ who: step.who, what: step.what }]
        : [],
    ),
    todo: texts(value.todo),
    log: log && typeof log.path === 'string' ? { path: log.path, lines: texts(log.lines) } : undefined,
  }
}
