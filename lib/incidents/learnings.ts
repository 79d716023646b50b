/** The learnings (`recovery-learnings.md`), one section per incident, are read and edited by people: they are parsed as text. */
import { appendFileSync, existsSync, mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { localStamp, oneLine } from '../tier/contract.ts'
import { readTail } from '../tier/journal.ts'
import type { Settings } from '../tier/settings.ts'
import { namesIn } from '../tier/state.ts'
import type { Incident } from './history.ts'

const HEADER = `# Recovery learnings

What the emergency doctor learned, one section per incident, newest last. The next doctor is shown the sections that are
most like its own case. Edit them freely: correct a cause, add what you know, delete what is wrong.
`
const UNKNOWN = 'not reported'
const WORKED = 'its fix WORKED'
const MAX_FIELD_CHARS = 1200
const MAX_SECTION_CHARS = 3600

type NewLearning = Record<'at' | 'verdict' | 'evidence' | 'outcome', string> & {
  seconds: number
  report: Readonly<Record<'symptom' | 'rootCause' | 'fix' | 'prevention' | 'decisions' | 'lessons', string>> | undefined
}

export const learningsPath = ({ memoryDir }: Settings): string => join(memoryDir, 'recovery-learnings.md')

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
  const lines = Object.entries(fields).map(([label, text]) => `- **${label}:** ${indented(text || UNKNOWN)}\n`)
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 })
  const header = existsSync(path) ? '' : HEADER
  appendFileSync(path, `${header}\n## ${at} ${verdict}\n\n${lines.join('')}`, { mode: 0o600 })
}

/** Below this the words have nothing in common but the language. */
const LEAST_SIMILARITY = 0.25
const SAME_TROUBLE = 0.6

/** At most three, best first: half is the verdict, half the words of the evidence; the newer of equals first. */
export function similarLearnings(path: string, verdict: string, evidence: string) {
  const words = [...wordsOf(evidence)]
  return readTail(path, 16_000_000)
    .split(/^## /m)
    .slice(1)
    .map((text, age) => {
      const theirs = wordsOf(text)
      const common = words.filter((word) => theirs.has(word)).length / Math.max(words.length, 1)
      return { text, age, similarity: (theirs.has(verdict) ? 0.5 : 0) + common / 2 }
    })
    .filter((one) => one.similarity >= LEAST_SIMILARITY)
    .sort((a, b) => b.similarity - a.similarity || b.age - a.age)
    .slice(0, 3)
}

const wordsOf = (text: string): Set<string> => new Set(text.toLowerCase().match(/[\p{L}_][\p{L}\p{N}_.$-]{2,}/gu) ?? [])

/** Behind `- **Fix:**`, `Fix:` or `### Fix`; an indented one is a doctor's text. */
function fieldOf(section: string, names: string): string {
  const title = new RegExp(`^(?:[-*#][-*# ]*)?(?:${names})\\b[^\\n:]*(?::[*_]*|\\n)`, 'im')
  const [, rest = ''] = section.split(title, 2)
  return rest.split(/\n(?:[-*#]+ |\*\*|[A-Z][\w ]{2,30}:)/)[0]!.trim()
}

/** By its outcome. By itself or from outside: nothing shows what the fix was worth. */
const WORTH: [outcome: RegExp, words: string][] = [
  [/^recovered by (?:itself|the gateway)/i, 'unknown whether its fix worked'],
  [/\bnot (?:recovered|fixed|resolved)|\bfail|\bstill down/i, 'its fix did NOT work'],
  [/\brecovered|\bfixed|\bresolved|\bworked|\bhealthy/i, WORKED],
  [/^/, 'unknown whether its fix worked'],
]

export function describeLearnings(similar: ReturnType<typeof similarLearnings>): string {
  const described = similar.map(({ text, similarity }, place) => {
    const [heading = '', ...body] = text.trim().slice(0, MAX_SECTION_CHARS).split('\n')
    const outcome = fieldOf(text, 'outcome|final result')
    const worth = WORTH.find(([pattern]) => pattern.test(outcome))![1]
    const fix = fieldOf(text, 'fix|fix applied|resolution|actions?')
    const isFirst = place === 0 && worth === WORKED && similarity >= SAME_TROUBLE && fix && fix !== UNKNOWN
    const lines = body.filter((line) => !line.includes(UNKNOWN))
    return [`${heading} (${worth})`, ...(isFirst ? [`TRY THIS FIRST: ${oneLine(fix, 400)}`] : []), ...lines].join('\n')
  })
  return described.join('\n\n')
}

/** From the report of the doctor's session that began in the incident. */
export function rootCauseOf({ memoryDir }: Settings, { begin, lastSeen }: Incident, hide: (text: string) => string) {
  const stamp = (at: Date) => `emergency-recovery-report-${localStamp(at)}`
  const reports = namesIn(memoryDir).filter(
    (name) => name >= stamp(begin) && name <= `${stamp(lastSeen)}~` && name.endsWith('.md'),
  )
  const newest = reports.sort().at(-1)
  const text = newest ? hide(readTail(join(memoryDir, newest), 200_000)) : ''
  const section = /^##+ *Root cause *\n([\s\S]*?)(?=^#|$(?![\s\S]))/im.exec(text)?.[1]
  return oneLine(section ?? '', 700) || undefined
}
