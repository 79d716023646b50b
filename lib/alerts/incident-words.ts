/** What the logs and the doctor's report say about an incident, in few words. */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Incident, Step } from '../incidents/incident.ts'
import { localIso, oneLine, parseLine, TIERS } from '../tier/contract.ts'
import { readTail } from '../tier/journal.ts'
import type { Settings } from '../tier/settings.ts'
import type { Alert } from './alert.ts'
import { clockTime } from './time-words.ts'

const MAX_LOG_LINES = 40
const MAX_LOG_LINE_CHARS = 300
const MAX_FINDING_CHARS = 700

const LEVELS = [
  ['watchdog', 'watchdog'],
  ['healthcheck', 'health check'],
  ['emergency-recovery', 'doctor'],
] as const

/** One entry for each level, lowest first: `Level 1, watchdog, 02:14 to 02:20` and what it came to. */
export function whatEachLevelDid(incident: Incident, hide: (text: string) => string, now: Date): Alert['tried'] {
  return LEVELS.map(([tier, name]) => {
    const who = `Level ${TIERS[tier].level}, ${name}`
    const lines = incident.steps.filter((step) => step.tier === tier)
    if (lines.length === 0) return { who, what: 'was not called' }
    const from = clockTime(lines[0]!.at, now)
    const to = clockTime(new Date(Math.max(...lines.map(({ until }) => until.getTime()))), now)
    const what = oneLine(hide(lastWord(lines)), 300)
    return { who: `${who}, ${from === to ? from : `${from} to ${to}`}`, what }
  })
}

/** What a level's part in the incident came to: the last thing it said to the next level or to a human. */
function lastWord(lines: readonly Step[]): string {
  const markers = lines.map(({ said }) => said).reverse()
  for (const marker of markers) {
    if (marker.kind === 'manual') return 'called for you'
    if (marker.kind === 'escalate') return `handed on: ${marker.why}`
  }
  const down = lines.findLast(({ said }) => said.kind === 'down')
  const ended = markers.find((marker) => marker.kind === 'run-ended')
  if (down?.said.kind === 'down')
    return `found it ${down.said.verdict} (${down.times === 1 ? 'once' : `${down.times} times`})`
  return ended ? `ended: ${ended.verdict}` : 'is at work'
}

/** The last lines of a log, each as short as it can be: the day and the tier are known. */
export function tailOf(path: string, hide: (text: string) => string): string[] {
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

/** What the doctor's report of this incident gives as the root cause; undefined when there is no report of it. */
export function doctorsFinding(settings: Settings, since: Date, hide: (text: string) => string): string | undefined {
  const path = newestReport(settings.memoryDir, since)
  return path === undefined ? undefined : findingIn(path, hide)
}

function findingIn(path: string, hide: (text: string) => string): string | undefined {
  const text = hide(readTail(path, 200_000))
  const section = /^##+ *Root cause *\n([\s\S]*?)(?=^#|$(?![\s\S]))/im.exec(text)?.[1]
  const firstParagraph = text.split(/\n\s*\n/).find((paragraph) => paragraph.trim() !== '' && !/^\s*#/.test(paragraph))
  return oneLine(section?.trim() || firstParagraph || '', MAX_FINDING_CHARS) || undefined
}

function newestReport(memoryDir: string, since: Date): string | undefined {
  try {
    return reportsIn(memoryDir)
      .slice(-1)
      .map((name) => join(memoryDir, name))
      .find((path) => statSync(path).mtimeMs >= since.getTime())
  } catch {
    return undefined
  }
}

/** Oldest first; none when the folder cannot be read. */
function reportsIn(memoryDir: string): string[] {
  try {
    return readdirSync(memoryDir)
      .filter((name) => /^emergency-recovery-report-[\w-]+\.md$/.test(name))
      .sort()
  } catch {
    return []
  }
}
