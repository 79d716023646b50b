/**
 * The learnings, `recovery-learnings.md`: one dated section per incident, kept for ever, meant to be read and edited by
 * people. Reading is therefore tolerant: fields may be missing, reordered, bold or headings.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { oneLine } from '../tier/contract.ts'
import type { Report } from './instrument.ts'

/** The fields of a section, in the order in which they are written, with the words that people use for them. */
const FIELDS = {
  symptom: { label: 'Symptom', words: /^(?:symptoms?|what happened|situation|problem|summary)$/i },
  evidence: { label: 'Verdict and evidence', words: /^(?:verdict(?: and evidence)?|evidence|findings?|diagnosis)$/i },
  rootCause: { label: 'Root cause', words: /^(?:root[ -]?causes?|causes?|why it failed)$/i },
  fix: { label: 'Fix', words: /^(?:fix(?:es)?(?: applied)?|actions?(?: taken)?|resolution|repairs?|steps taken)$/i },
  prevention: { label: 'Prevention', words: /^(?:preventions?|recommendations?|follow[ -]?ups?)$/i },
  decisions: { label: 'Decision making', words: /^(?:decisions?(?:[ -]making)?|reasoning|rationale)$/i },
  lessons: { label: 'Lessons', words: /^(?:lessons?(?: learn(?:ed|t))?|learnings?|takeaways?)$/i },
  outcome: { label: 'Outcome', words: /^(?:outcome|final result)$/i },
  seconds: { label: 'Seconds', words: /^(?:seconds|duration|time to recovery)$/i },
} as const
type Field = keyof typeof FIELDS
const NAMES = Object.keys(FIELDS) as Field[]

/** An incident of the past as its section tells it. */
export interface Learning extends Partial<Record<Field, string>> {
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
const UNKNOWN = 'not reported'
/** A field is kept short enough that three sections fit into a briefing. */
const MAX_FIELD_CHARS = 1200

export interface NewLearning {
  /** ISO time, local, of the incident's end. */
  at: string
  verdict: string
  evidence: string
  /** What became of it, as a sentence; it begins with `recovered` or `not recovered`. */
  outcome: string
  seconds: number
  /** What the doctor reported; undefined when it wrote no report. */
  report: Report | undefined
}

/** Adds the section of one incident (redacted by the caller). Throws what the file system throws. */
export function addLearning(path: string, one: NewLearning): void {
  const values: Record<Field, string> = {
    symptom: one.report?.symptom || `the gateway was down (${one.verdict})`,
    evidence: `${one.verdict}: ${one.evidence}`,
    rootCause: one.report?.rootCause || UNKNOWN,
    fix: one.report?.fix || UNKNOWN,
    prevention: one.report?.prevention || UNKNOWN,
    decisions: one.report?.decisions || UNKNOWN,
    lessons: one.report?.lessons || UNKNOWN,
    outcome: one.outcome,
    seconds: String(Math.round(one.seconds)),
  }
  const lines = NAMES.map((field) => `- **${FIELDS[field].label}:** ${indented(values[field])}`)
  const section = [`## ${one.at} ${one.verdict}`, '', ...lines, ''].join('\n')
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  appendFileSync(path, `${existsSync(path) ? '' : HEADER}\n${section}`, { mode: 0o600 })
}

/** Further lines stand indented under their point, so that no heading in a report opens a section of ours. */
function indented(text: string): string {
  const lines = text.trim().slice(0, MAX_FIELD_CHARS).split('\n')
  return lines.map((line) => line.trimEnd()).join('\n  ')
}

/** All sections; none when there is no file yet. */
export function readLearnings(path: string): Learning[] {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch {
    return []
  }
  return text.split(/^## /m).slice(1).map(readSection)
}

/** `- **Fix:** …`, `**Fix:** …`, `Fix: …` or `### Fix` begins a field; what follows belongs to it. */
const TITLE =
  /^(?:#{3,6}\s+|[-*+]\s+|\d+[.)]\s+)?(?:\*\*|__)?([A-Za-z][\w /-]{1,40}?)(?:\*\*|__)?\s*(?::\s*(?:\*\*|__)?\s*(.*)|#*)$/

function readSection(section: string): Learning {
  const [heading = '', ...body] = section.split('\n')
  const found: Partial<Record<Field, string>> = {}
  let current: Field | undefined
  for (const line of body) {
    const m = TITLE.exec(line)
    const field = m && NAMES.find((name) => FIELDS[name].words.test(m[1]!.trim()))
    if (field) current = field
    if (current) found[current] = [found[current], field ? (m[2] ?? '') : line.replace(/^ {2}/, '')].join('\n').trim()
  }
  const verdict = /^([a-z]+(?:-[a-z]+)*)\b/.exec(found.evidence ?? '')?.[1]
  return {
    ...found,
    heading: heading.trim(),
    verdict: verdict ?? heading.trim().split(/\s+/).at(-1) ?? '',
    text: section.trim(),
  }
}

/** Below this the words have nothing in common but the language. */
const LEAST_SIMILARITY = 0.25
/** From this on it is the same trouble again. */
const SAME_TROUBLE = 0.6

export interface SimilarLearning {
  learning: Learning
  /** 0 to 1. */
  similarity: number
  /** Its fix worked, as its outcome tells; undefined when it does not tell. */
  worked: boolean | undefined
}

/**
 * The most similar incidents of the past, best first, at most three: half of it is the verdict, half the words of the
 * evidence. Of equally similar ones the newer comes first.
 */
export function similarLearnings(all: readonly Learning[], verdict: string, evidence: string): SimilarLearning[] {
  const words = wordsOf(evidence)
  return all
    .map((learning, age) => ({ learning, age, similarity: similarityOf(learning, verdict, words) }))
    .filter((one) => one.similarity >= LEAST_SIMILARITY)
    .sort((a, b) => b.similarity - a.similarity || b.age - a.age)
    .slice(0, 3)
    .map(({ learning, similarity }) => ({ learning, similarity, worked: hasWorked(learning) }))
}

function similarityOf(one: Learning, verdict: string, words: ReadonlySet<string>): number {
  const theirs = wordsOf(`${one.evidence ?? one.text} ${one.symptom ?? ''}`)
  const common = [...words].filter((word) => theirs.has(word)).length
  return (one.verdict === verdict ? 0.5 : 0) + (words.size === 0 ? 0 : common / words.size / 2)
}

/** Words that carry meaning: numbers, pids and times differ every time. */
function wordsOf(text: string): Set<string> {
  return new Set(text.toLowerCase().match(/[\p{L}_][\p{L}\p{N}_.$-]{2,}/gu) ?? [])
}

function hasWorked({ outcome }: Learning): boolean | undefined {
  // By itself or from outside: then nothing tells what its fix was worth.
  if (outcome === undefined || /^\s*recovered by (?:itself|the gateway)/i.test(outcome)) return undefined
  if (/\bnot (?:recovered|fixed|resolved)|\bfail|\bstill down/i.test(outcome)) return false
  return /\brecovered|\bfixed|\bresolved|\bworked|\bhealthy/i.test(outcome) ? true : undefined
}

/** The similar incidents as text for the briefing. */
export function describeLearnings(similar: readonly SimilarLearning[]): string {
  return similar
    .map(({ learning, similarity, worked }, place) => {
      const verdict =
        worked === undefined ? 'unknown whether its fix worked' : `its fix ${worked ? 'WORKED' : 'did NOT work'}`
      const isBest = place === 0 && worked === true && similarity >= SAME_TROUBLE && learning.fix
      const fields = NAMES.flatMap((field) =>
        learning[field] && learning[field] !== UNKNOWN ? [`${FIELDS[field].label}: ${learning[field]}`] : [],
      )
      return [
        `${learning.heading} (${verdict})`,
        ...(isBest ? [`TRY THIS FIRST: ${oneLine(learning.fix!, 400)}`] : []),
        ...(fields.length > 2 ? fields : [learning.text.slice(0, 2 * MAX_FIELD_CHARS)]),
      ].join('\n')
    })
    .join('\n\n')
}
