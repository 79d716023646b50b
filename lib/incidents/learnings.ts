/** The learnings (`recovery-learnings.md`), one section per incident, are read and edited by people: they are parsed as text. */
import { appendFileSync, existsSync, mkdirSync, readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { localStamp, oneLine } from '../tier/contract.ts'
import { readTail } from '../tier/journal.ts'
import type { Settings } from '../tier/settings.ts'
import { readWhole, tried } from '../tier/state.ts'
import type { Incident } from './history.ts'

const HEADER = `# Recovery learnings

What the emergency doctor learned, one section per incident, newest last. The next doctor is shown the sections that are
most like its own case. Edit them freely: correct a cause, add what you know, delete what is wrong.
`
const UNKNOWN = 'not reported'
const MAX_FIELD_CHARS = 1200
const MAX_SECTION_CHARS = 3600

export interface NewLearning {
  at: string
  verdict: string
  evidence: string
  outcome: string
  seconds: number
  report: Readonly<Record<'symptom' | 'rootCause' | 'fix' | 'prevention' | 'decisions' | 'lessons', string>> | undefined
}

/** The caller redacts. Throws what the file system throws. */
export function addLearning(path: string, { at, verdict, evidence, outcome, seconds, report }: NewLearning): void {
  const fields: Record<string, string | undefined> = {
    Symptom: report?.symptom || `the gateway was down (${verdict})`,
    'Verdict and evidence': `${verdict}: ${evidence}`,
    'Root cause': report?.rootCause,
    Fix: report?.fix,
    Prevention: report?.prevention,
    'Decision making': report?.decisions,
    Lessons: report?.lessons,
    Outcome: outcome,
    Seconds: String(Math.round(seconds)),
  }
  const indented = (text: string) => text.trim().slice(0, MAX_FIELD_CHARS).replace(/\s*\n/g, '\n  ')
  const lines = Object.entries(fields).map(([label, text]) => `- **${label}:** ${indented(text || UNKNOWN)}`)
  const section = [`## ${at} ${verdict}`, '', ...lines, ''].join('\n')
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  appendFileSync(path, `${existsSync(path) ? '' : HEADER}\n${section}`, { mode: 0o600 })
}

interface Learning {
  text: string
  /** 0 to 1: how like it is to the present case. */
  similarity: number
  worked: boolean | undefined
}

/** Below this the words have nothing in common but the language. */
const LEAST_SIMILARITY = 0.25
const SAME_TROUBLE = 0.6

/** At most three, best first: half is the verdict, half the words of the evidence; the newer of equals first. */
export function similarLearnings(path: string, verdict: string, evidence: string): Learning[] {
  const words = [...wordsOf(evidence)]
  return sectionsOf(path)
    .map((text, age) => {
      const theirs = wordsOf(text)
      const common = words.filter((word) => theirs.has(word)).length / Math.max(words.length, 1)
      return { text, age, similarity: (theirs.has(verdict) ? 0.5 : 0) + common / 2, worked: hasWorked(text) }
    })
    .filter((one) => one.similarity >= LEAST_SIMILARITY)
    .sort((a, b) => b.similarity - a.similarity || b.age - a.age)
    .slice(0, 3)
}

function sectionsOf(path: string): string[] {
  // Opening a pipe would wait for its writer.
  const text = tried(() => (statSync(path).isFile() ? readWhole(path) : ''))
  return (text ?? '').split(/^## /m).slice(1)
}

const wordsOf = (text: string): Set<string> => new Set(text.toLowerCase().match(/[\p{L}_][\p{L}\p{N}_.$-]{2,}/gu) ?? [])

function hasWorked(section: string): boolean | undefined {
  const outcome = fieldOf(section, 'outcome|final result')
  // By itself or from outside: nothing shows what the fix was worth.
  if (/^recovered by (?:itself|the gateway)/i.test(outcome)) return undefined
  if (/\bnot (?:recovered|fixed|resolved)|\bfail|\bstill down/i.test(outcome)) return false
  return /\brecovered|\bfixed|\bresolved|\bworked|\bhealthy/i.test(outcome) ? true : undefined
}

/** Behind `- **Fix:**`, `Fix:` or `### Fix`; an indented one is a doctor's text. */
function fieldOf(section: string, names: string): string {
  const title = new RegExp(`^(?:[-*#][-*# ]*)?(?:${names})\\b[^\\n:]*(?::[*_]*|\\n)`, 'im')
  const begin = title.exec(section)
  const rest = begin ? section.slice(begin.index + begin[0].length) : ''
  return rest.split(/\n(?:[-*#]+ |\*\*|[A-Z][\w ]{2,30}:)/)[0]!.trim()
}

export function describeLearnings(similar: readonly Learning[]): string {
  return similar
    .map(({ text, similarity, worked }, place) => {
      const [heading = '', ...body] = text.trim().slice(0, MAX_SECTION_CHARS).split('\n')
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

/** From the report of the doctor's session that began in the incident. */
export function rootCauseOf(
  { memoryDir }: Settings,
  { begin, end, lastSeen }: Incident,
  hide: (text: string) => string,
): string | undefined {
  const stamp = (at: Date) => `emergency-recovery-report-${localStamp(at)}`
  const [first, last] = [stamp(begin), `${stamp(end ?? lastSeen)}~`]
  const names = tried(() => readdirSync(memoryDir)) ?? []
  const reports = names.filter((name) => /^emergency-recovery-report-[\w-]+\.md$/.test(name))
  const name = reports.sort().findLast((one) => one >= first && one <= last)
  if (name === undefined) return undefined
  const text = hide(readTail(join(memoryDir, name), 200_000))
  const section = /^##+ *Root cause *\n([\s\S]*?)(?=^#|$(?![\s\S]))/im.exec(text)?.[1]
  const firstParagraph = text.split(/\n\s*\n/).find((paragraph) => paragraph.trim() !== '' && !/^\s*#/.test(paragraph))
  return oneLine(section?.trim() || firstParagraph || '', 700) || undefined
}
