/** Writes the alert: everything that somebody needs who is woken by it, and has only a phone at hand. */
import { hostname } from 'node:os'
import { readConfig } from '../gateway/config.ts'
import type { Verdict } from '../gateway/examine.ts'
import { localIso, oneLine, parseLine } from '../tier/contract.ts'
import { currentIncident, type Incident, type MarkedLine, readTail } from '../tier/journal.ts'
import type { Settings } from '../tier/settings.ts'
import { adviceFor, adviceForDisk, adviceForWatchers } from './advice.ts'
import type { Alert } from './alert.ts'
import type { Case } from './cases.ts'
import { redact, secretValues } from './redact.ts'
import type { Sighting } from './sightings.ts'
import { clockTime } from './time-words.ts'

const MAX_WHYS = 10
const MAX_WHY_CHARS = 600
const MAX_LOG_LINES = 40
const MAX_LOG_LINE_CHARS = 300

/**
 * One alert for all the failures that were seen for the first time in this run.
 * @param news at least one; each with a `manual` marker
 * @param cases the open cases, `news` included
 */
export async function composeAlert(
  settings: Settings,
  news: readonly Sighting[],
  cases: readonly Case[],
  now: Date,
): Promise<Alert> {
  const hide = await hiding(settings)
  const ofGateway = news.filter(({ scope }) => scope === 'gateway')
  const last = ofGateway.at(-1) ?? news.at(-1)!
  const incident = ofGateway.length > 0 ? currentIncident(settings, last.at) : undefined
  const host = hostname().replace(/\.local$/, '')
  const isUpdate = cases.some(({ scope, failures }) => scope === last.scope && failures.length > news.length)
  const subject = ofGateway.length > 0 ? `OpenClaw Gateway on ${host}` : `The watchers of OpenClaw on ${host}`
  const needs = ofGateway.length > 0 ? 'needs you' : 'need you'
  return {
    kind: isUpdate ? 'update' : 'failure',
    writtenAt: now.toISOString(),
    host,
    title: isUpdate ? `${subject} still ${needs}: something new` : `${subject} ${needs}`,
    whys: [...new Set(news.map((one) => oneLine(hide(whyOf(one)), MAX_WHY_CHARS)))].slice(0, MAX_WHYS),
    downSince: incident?.since.toISOString(),
    verdict: incident?.verdict,
    evidence: incident && oneLine(hide(incident.evidence), 300),
    tried: incident ? whatEachLevelDid(incident, hide, now) : [],
    todo: ofGateway.length > 0 ? adviceFor(incident?.verdict as Verdict | undefined, settings) : adviceForWatchers(),
    log: { path: last.log, lines: tailOf(last.log, hide) },
  }
}

/** The alert that nobody but Level 4 itself can give: without their folders the other tiers cannot write a word. */
export function composeDiskAlert(troubles: readonly string[], now: Date): Alert {
  const host = hostname().replace(/\.local$/, '')
  return {
    kind: 'failure',
    writtenAt: now.toISOString(),
    host,
    title: `Self-healing of OpenClaw on ${host} cannot work: it cannot write its files`,
    whys: troubles.map((trouble) => oneLine(trouble, MAX_WHY_CHARS)),
    tried: [],
    todo: adviceForDisk(),
  }
}

export function composeTestAlert(now: Date): Alert {
  const host = hostname().replace(/\.local$/, '')
  return {
    kind: 'test',
    writtenAt: now.toISOString(),
    host,
    title: `Test from ${host}: alerts of OpenClaw self-healing arrive here`,
    whys: [],
    tried: [],
    todo: ['nothing: somebody ran `emergency-recovery-monitor --test-alert`'],
  }
}

/** Redaction that also knows the values of the gateway's config. */
async function hiding(settings: Settings): Promise<(text: string) => string> {
  const known = new Set(settings.secrets)
  const config = readConfig(settings)
  if (config) {
    const { default: JSON5 } = await import('json5')
    try {
      for (const secret of secretValues(JSON5.parse(config.text))) known.add(secret)
    } catch {
      // A config that cannot be parsed may be why we are here; what looks like a secret is still taken out.
    }
  }
  return (text) => redact(text, known)
}

function whyOf({ marker, scope }: Sighting): string {
  const why = marker.kind === 'manual' ? marker.why : ''
  return scope === 'watchers' ? `guardian: ${why}` : why
}

const LEVELS = [
  ['watchdog', 'Level 1, watchdog'],
  ['healthcheck', 'Level 2, health check'],
  ['emergency-recovery', 'Level 3, Claude Code'],
] as const

function whatEachLevelDid(incident: Incident, hide: (text: string) => string, now: Date): Alert['tried'] {
  return LEVELS.map(([tier, name]) => {
    const lines = incident.lines.filter((line) => line.tier === tier)
    if (lines.length === 0) return { who: name, what: 'was not called' }
    const from = clockTime(lines[0]!.at, now)
    const to = clockTime(lines.at(-1)!.at, now)
    return { who: `${name}, ${from === to ? from : `${from} to ${to}`}`, what: oneLine(hide(lastWord(lines)), 300) }
  })
}

/** What a level's part in the incident came to: the last thing it said to the next level or to a human. */
function lastWord(lines: readonly MarkedLine[]): string {
  const markers = lines.map(({ marker }) => marker).reverse()
  for (const marker of markers) {
    if (marker.kind === 'manual') return 'called for you'
    if (marker.kind === 'escalate') return `handed on: ${marker.why}`
  }
  const downs = markers.filter((marker) => marker.kind === 'down')
  const ended = markers.find((marker) => marker.kind === 'run-ended')
  if (downs.length > 0) return `found it ${downs[0]!.verdict} (${downs.length} times)`
  return ended ? `ended: ${ended.verdict}` : 'is at work'
}

/** The last lines of a log, each as short as it can be: the day and the tier are known. */
function tailOf(path: string, hide: (text: string) => string): string[] {
  // Redacted before it is cut into lines: a private key goes over many, and half a token would not be recognised.
  return hide(readTail(path, 64 * 1024))
    .split('\n')
    .filter((line) => line.trim() !== '')
    .slice(-MAX_LOG_LINES)
    .map((raw) => {
      const line = parseLine(raw)
      if (!line) return `  ${oneLine(raw, MAX_LOG_LINE_CHARS)}`
      const severity = line.severity === 'INFO' ? '' : `${line.severity} `
      return oneLine(`${localIso(line.at).slice(11, 19)} ${severity}${line.text}`, MAX_LOG_LINE_CHARS)
    })
}
