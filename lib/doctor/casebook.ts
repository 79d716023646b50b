/**
 * The casebook, `recovery-learnings.md`: one dated section per incident, kept for ever, meant to be read and edited by
 * people. Reading is therefore tolerant: fields may be missing, renamed, reordered, bold or headings.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { cleanText, oneLine } from '../tier/contract.ts'

/** The fields of a section, in the order in which they are written, with the words that reports use for them. */
const FIELDS = {
  symptom: { label: 'Symptom', words: /^(?:symptoms?|what happened|situation|problem|summary)$/i },
  evidence: { label: 'Verdict and evidence', words: /^(?:verdict(?: and evidence)?|evidence|findings?|diagnosis)$/i },
  rootCause: { label: 'Root cause', words: /^(?:root[ -]?causes?|causes?|why it failed)$/i },
  fix: {
    label: 'Fix',
    words:
      /^(?:fix(?:es)?(?: applied)?|actions?(?: taken)?|resolution|repairs?|what (?:was|i) (?:done|did)|steps taken)$/i,
  },
  prevention: {
    label: 'Prevention',
    words: /^(?:preventions?|how to prevent(?: it)?|recommendations?|follow[ -]?ups?)$/i,
  },
  decisions: { label: 'Decision making', words: /^(?:decisions?(?:[ -]making)?|reasoning|rationale)$/i },
  lessons: { label: 'Lessons', words: /^(?:lessons?(?: learn(?:ed|t))?|learnings?|takeaways?)$/i },
  outcome: { label: 'Outcome', words: /^(?:outcome|final result)$/i },
  seconds: { label: 'Seconds', words: /^(?:seconds|duration|time to recovery)$/i },
} as const
export type CaseField = keyof typeof FIELDS
const NAMES = Object.keys(FIELDS) as CaseField[]

export type CaseFields = Partial<Record<CaseField, string>>

/** An incident of the past as its section tells it. */
export interface PastCase extends CaseFields {
  /** The section's heading. */
  heading: string
  verdict: string
  /** The whole section, for one whose fields cannot be found. */
  text: string
}

const HEADER = `# Recovery learnings

What the emergency doctor learned, one section per incident, newest last. The next doctor is shown the sections that are
most like its own case. Edit them freely: correct a cause, add what you know, delete what is wrong.
`

/** A field is kept short enough that three cases fit into a briefing. */
const MAX_FIELD_CHARS = 1200

/**
 * Takes the fields out of a report, whatever its form: `## Root cause`, `**Root cause:** …`, `- Root cause: …`, a table
 * row `| Root cause | … |`. Smaller headings within a field are a part of it; what stands under an unknown heading of the
 * same size belongs to no field.
 */
export function parseReport(text: string): CaseFields {
  const found: CaseFields = {}
  let current: { field: CaseField | undefined; level: number } = { field: undefined, level: 0 }
  let isFenced = false
  for (const line of cleanText(text).split('\n')) {
    if (/^\s*(?:```|~~~)/.test(line)) isFenced = !isFenced
    const title = isFenced ? undefined : titleOf(line)
    const isPartOfCurrent = title && title.field === undefined && title.level > current.level
    if (title && !isPartOfCurrent) current = title
    const added = title && !isPartOfCurrent ? title.rest : line
    if (current.field !== undefined) found[current.field] = [found[current.field], added].filter(isGiven).join('\n')
  }
  return Object.fromEntries(
    Object.entries(found).flatMap(([field, value]) => {
      const kept = value.replace(/\n{3,}/g, '\n\n').trim()
      return kept ? [[field, shortened(kept)]] : []
    }),
  )
}

const isGiven = (value: string | undefined) => value !== undefined

/** A title within a line counts as smaller than every heading. */
const WITHIN_LINE = 7

interface Title {
  /** Undefined for a heading that names no field. */
  field: CaseField | undefined
  level: number
  /** What stands behind the title on the same line. */
  rest: string
}

/** The title that a line opens a part with. */
function titleOf(line: string): Title | undefined {
  let m = /^\s{0,3}(#{1,6})\s+(.{1,80}?)\s*#*$/.exec(line)
  if (m) {
    const name = m[2]!.replace(/[*_`]/g, '').replace(/^(?:\d+[.)]\s*)+/, '')
    const split = /^([^:]{1,40}):\s*(.*)$/.exec(name)
    const field = fieldNamed(split?.[1] ?? name)
    return { field, level: m[1]!.length, rest: field && split ? split[2]! : '' }
  }
  m =
    /^\s*\|\s*[*_]*([^|*_]{1,40}?)[*_]*\s*\|\s*(.*?)\s*\|?\s*$/.exec(line) ??
    /^\s*(?:[-*+]\s+|\d+[.)]\s+)?(?:\*\*|__)?([A-Za-z][\w /-]{1,40}?)(?:\*\*|__)?\s*:\s*(?:\*\*|__)?\s*(.*)$/.exec(line)
  const field = m ? fieldNamed(m[1]!) : undefined
  return m && field ? { field, level: WITHIN_LINE, rest: m[2]! } : undefined
}

function fieldNamed(name: string): CaseField | undefined {
  const wanted = name
    .replace(/[^\p{L}\p{N} -]/gu, ' ')
    .replace(/\s+/g, ' ')
    .trim()
  return NAMES.find((field) => FIELDS[field].words.test(wanted))
}

function shortened(text: string): string {
  return text.length <= MAX_FIELD_CHARS ? text : `${text.slice(0, MAX_FIELD_CHARS).replace(/\s+\S*$/, '')} …`
}

export interface NewCase {
  /** ISO time, local, of the incident's end. */
  at: string
  verdict: string
  evidence: string
  /** What became of it, as a sentence; it begins with `recovered` or `not recovered`. */
  outcome: string
  seconds: number
  /** What the doctor wrote. */
  report: CaseFields
}

/** Adds the section of one incident (redacted by the caller). Throws what the file system throws. */
export function addCase(path: string, one: NewCase): void {
  const values: Record<CaseField, string> = {
    symptom: one.report.symptom ?? `the gateway was down (${one.verdict})`,
    evidence: `${one.verdict}: ${one.evidence}`,
    rootCause: one.report.rootCause ?? UNKNOWN,
    fix: one.report.fix ?? UNKNOWN,
    prevention: one.report.prevention ?? UNKNOWN,
    decisions: one.report.decisions ?? UNKNOWN,
    lessons: one.report.lessons ?? UNKNOWN,
    outcome: one.outcome,
    seconds: String(Math.round(one.seconds)),
  }
  const lines = NAMES.map((field) => `- **${FIELDS[field].label}:** ${indented(values[field])}`)
  const section = [`## ${one.at} ${one.verdict}`, '', ...lines, ''].join('\n')
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  appendFileSync(path, `${existsSync(path) ? '' : HEADER}\n${section}`, { mode: 0o600 })
}

const UNKNOWN = 'not reported'

/** Continuation lines stand indented under their point, so that no heading in a report opens a section of ours. */
function indented(text: string): string {
  return text
    .trim()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n  ')
}

/** All sections of the casebook; none when there is no file yet. */
export function readCases(path: string): PastCase[] {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch {
    return []
  }
  return text.split(/^## /m).slice(1).map(readSection)
}

function readSection(section: string): PastCase {
  const [heading = '', ...body] = section.split('\n')
  const fields = ownFields(body) ?? parseReport(body.join('\n'))
  const verdict = /^([a-z]+(?:-[a-z]+)*)\b/.exec(fields.evidence ?? '')?.[1]
  const lastWord = heading.trim().split(/\s+/).at(-1) ?? ''
  return { ...fields, heading: heading.trim(), verdict: verdict ?? lastWord, text: section.trim() }
}

/** The fields of a section in the form that `addCase` writes; undefined when somebody gave it another form. */
function ownFields(body: readonly string[]): CaseFields | undefined {
  const found: CaseFields = {}
  let current: CaseField | undefined
  for (const line of body) {
    const m = /^- \*\*([^*:]+):\*\* ?(.*)$/.exec(line)
    if (m) current = NAMES.find((field) => FIELDS[field].label === m[1])
    if (current === undefined) continue
    found[current] = m ? m[2]! : `${found[current]}\n${line.replace(/^ {2}/, '')}`.trim()
  }
  return Object.keys(found).length >= 3 ? found : undefined
}

export interface SimilarCase {
  case: PastCase
  /** 0 to 1. */
  similarity: number
  /** Its fix worked, as its outcome tells; undefined when it does not tell. */
  worked: boolean | undefined
}

/** Below this the words have nothing in common but the language. */
const LEAST_SIMILARITY = 0.25
/** From this on it is the same trouble again. */
const SAME_TROUBLE = 0.6

/**
 * The most similar cases of the past, best first, at most three: half of it is the verdict, half the words of the
 * evidence. Of equally similar ones the newer comes first.
 */
export function similarCases(cases: readonly PastCase[], verdict: string, evidence: string): SimilarCase[] {
  const words = wordsOf(evidence)
  return cases
    .map((one, age) => ({ one, age, similarity: similarity(one, verdict, words) }))
    .filter((entry) => entry.similarity >= LEAST_SIMILARITY)
    .sort((a, b) => b.similarity - a.similarity || b.age - a.age)
    .slice(0, 3)
    .map((entry) => ({ case: entry.one, similarity: entry.similarity, worked: hasWorked(entry.one) }))
}

function similarity(one: PastCase, verdict: string, words: ReadonlySet<string>): number {
  const theirs = wordsOf(`${one.evidence ?? one.text} ${one.symptom ?? ''}`)
  const common = [...words].filter((word) => theirs.has(word)).length
  const overlap = words.size === 0 ? 0 : common / words.size
  return (one.verdict === verdict ? 0.5 : 0) + overlap / 2
}

/** Words that carry meaning: numbers, pids and times differ every time. */
function wordsOf(text: string): Set<string> {
  return new Set(text.toLowerCase().match(/[\p{L}_][\p{L}\p{N}_.$-]{2,}/gu) ?? [])
}

function hasWorked(one: PastCase): boolean | undefined {
  if (one.outcome === undefined) return undefined
  // By itself or from outside: then nobody knows what its fix was worth.
  if (/^\s*recovered by (?:itself|the gateway)/i.test(one.outcome)) return undefined
  if (/\bnot (?:recovered|fixed|resolved)|\bfail|\bstill down/i.test(one.outcome)) return false
  return /\brecovered|\bfixed|\bresolved|\bworked|\bhealthy/i.test(one.outcome) ? true : undefined
}

/** The similar cases as text for the briefing. */
export function describeCases(similar: readonly SimilarCase[]): string {
  return similar.map((entry) => describeCase(entry, entry === similar[0])).join('\n\n')
}

function describeCase({ case: past, similarity: how, worked }: SimilarCase, isBest: boolean): string {
  const verdict =
    worked === true ? 'its fix WORKED' : worked === false ? 'its fix did NOT work' : 'unknown whether its fix worked'
  const advice =
    isBest && worked === true && how >= SAME_TROUBLE && past.fix ? [`TRY THIS FIRST: ${oneLine(past.fix, 400)}`] : []
  const fields = NAMES.flatMap((field) => {
    const value = past[field]
    return value && value !== UNKNOWN ? [`${FIELDS[field].label}: ${value}`] : []
  })
  const body = fields.length > 2 ? fields : [past.text.slice(0, 2 * MAX_FIELD_CHARS)]
  return [`${past.heading} (${verdict})`, ...advice, ...body].join('\n')
}
