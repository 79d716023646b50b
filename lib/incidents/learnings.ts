/**
 * The learnings, `recovery-learnings.md`: one dated section per incident, kept for ever, meant to be read and edited by
 * people. So a section is read back as text: only its verdict, its outcome and its fix are looked for.
 */
import { appendFileSync, existsSync, mkdirSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { oneLine } from '../tier/contract.ts'
import { readWhole } from '../tier/state.ts'

const HEADER = `# Recovery learnings

What the emergency doctor learned, one section per incident, newest last. The next doctor is shown the sections that are
most like its own case. Edit them freely: correct a cause, add what you know, delete what is wrong.
`
const UNKNOWN = 'not reported'
/** A field is kept short enough that three sections fit into a briefing. */
const MAX_FIELD_CHARS = 1200
const MAX_SECTION_CHARS = 3600

export interface NewLearning {
  /** ISO time, local, of the incident's end. */
  at: string
  verdict: string
  evidence: string
  /** What became of it, as a sentence; it begins with `recovered` or `not recovered`. */
  outcome: string
  seconds: number
  /** What the doctor reported; undefined when it wrote no report. */
  report: Readonly<Record<'symptom' | 'rootCause' | 'fix' | 'prevention' | 'decisions' | 'lessons', string>> | undefined
}

/** Adds the section of one incident (redacted by the caller). Throws what the file system throws. */
export function addLearning(path: string, one: NewLearning): void {
  const fields: Record<string, string> = {
    Symptom: one.report?.symptom || `the gateway was down (${one.verdict})`,
    'Verdict and evidence': `${one.verdict}: ${one.evidence}`,
    'Root cause': one.report?.rootCause || UNKNOWN,
    Fix: one.report?.fix || UNKNOWN,
    Prevention: one.report?.prevention || UNKNOWN,
    'Decision making': one.report?.decisions || UNKNOWN,
    Lessons: one.report?.lessons || UNKNOWN,
    Outcome: one.outcome,
    Seconds: String(Math.round(one.seconds)),
  }
  const lines = Object.entries(fields).map(([label, text]) => `- **${label}:** ${indented(text)}`)
  const section = [`## ${one.at} ${one.verdict}`, '', ...lines, ''].join('\n')
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  appendFileSync(path, `${existsSync(path) ? '' : HEADER}\n${section}`, { mode: 0o600 })
}

/** Further lines stand indented under their point, so that no heading in a report opens a section of ours. */
function indented(text: string): string {
  const lines = text.trim().slice(0, MAX_FIELD_CHARS).split('\n')
  return lines.map((line) => line.trimEnd()).join('\n  ')
}

/** An incident of the past as its section tells it. */
export interface Learning {
  /** The whole section. */
  text: string
  /** 0 to 1: how like it is to the present case. */
  similarity: number
  /** Its fix worked, as its outcome tells; undefined when it does not tell. */
  worked: boolean | undefined
}

/** Below this the words have nothing in common but the language. */
const LEAST_SIMILARITY = 0.25
/** From this on it is the same trouble again. */
const SAME_TROUBLE = 0.6

/**
 * The most similar incidents of the past, best first, at most three: half of it is the verdict, half the words of the
 * evidence. Of equally similar ones the newer comes first. None when there is no file yet.
 */
export function similarLearnings(path: string, verdict: string, evidence: string): Learning[] {
  const words = wordsOf(evidence)
  return sectionsOf(path)
    .map((text, age) => ({ text, age, similarity: similarityOf(text, verdict, words), worked: hasWorked(text) }))
    .filter((one) => one.similarity >= LEAST_SIMILARITY)
    .sort((a, b) => b.similarity - a.similarity || b.age - a.age)
    .slice(0, 3)
}

function sectionsOf(path: string): string[] {
  try {
    // To open a pipe would wait for whoever writes into it.
    if (!statSync(path).isFile()) return []
    return readWhole(path)
      .split(/^## /m)
      .slice(1)
      .map((section) => section.trim())
  } catch {
    return []
  }
}

function similarityOf(text: string, verdict: string, words: ReadonlySet<string>): number {
  const theirs = wordsOf(text)
  const common = [...words].filter((word) => theirs.has(word)).length
  return (theirs.has(verdict) ? 0.5 : 0) + (words.size === 0 ? 0 : common / words.size / 2)
}

/** Words that carry meaning: numbers, pids and times differ every time. */
function wordsOf(text: string): Set<string> {
  return new Set(text.toLowerCase().match(/[\p{L}_][\p{L}\p{N}_.$-]{2,}/gu) ?? [])
}

function hasWorked(section: string): boolean | undefined {
  const outcome = fieldOf(section, 'outcome|final result')
  // By itself or from outside: then nothing tells what its fix was worth.
  if (/^recovered by (?:itself|the gateway)/i.test(outcome)) return undefined
  if (/\bnot (?:recovered|fixed|resolved)|\bfail|\bstill down/i.test(outcome)) return false
  return /\brecovered|\bfixed|\bresolved|\bworked|\bhealthy/i.test(outcome) ? true : undefined
}

/**
 * What stands behind `- **Fix:**`, `Fix:` or below a heading `### Fix`, up to the next of its kind. Never one that is
 * indented: that is a doctor's own text.
 */
function fieldOf(section: string, names: string): string {
  const title = new RegExp(`^(?:[-*#][-*# ]*)?(?:${names})\\b[^\\n:]*(?::[*_]*|\\n)`, 'im')
  const begin = title.exec(section)
  const rest = begin ? section.slice(begin.index + begin[0].length) : ''
  return rest.split(/\n(?:[-*#]+ |\*\*|[A-Z][\w ]{2,30}:)/)[0]!.trim()
}

/** The similar incidents as text for the briefing. */
export function describeLearnings(similar: readonly Learning[]): string {
  return similar
    .map(({ text, similarity, worked }, place) => {
      const [heading = '', ...body] = text.slice(0, MAX_SECTION_CHARS).split('\n')
      const fix = fieldOf(text, 'fix|fix applied|resolution|actions?')
      const isFirst = place === 0 && worked === true && similarity >= SAME_TROUBLE && fix && fix !== UNKNOWN
      return [
        `${heading} (${worked === undefined ? 'unknown whether its fix worked' : `its fix ${worked ? 'WORKED' : 'did NOT work'}`})`,
        ...(isFirst ? [`TRY THIS FIRST: ${oneLine(fix, 400)}`] : []),
        ...body.filter((line) => !line.includes(UNKNOWN)),
      ].join('\n')
    })
    .join('\n\n')
}
