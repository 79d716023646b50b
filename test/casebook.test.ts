/** The casebook: written by the tier, edited by people, read by the next doctor. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { addCase, describeCases, parseReport, readCases, similarCases } from '../lib/doctor/casebook.ts'

function casebook(): string {
  const folder = mkdtempSync(join(tmpdir(), 'casebook-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  return join(folder, 'memory', 'recovery-learnings.md')
}

const CASE = {
  at: '2026-11-22T08:12:10+09:00',
  verdict: 'misconfigured',
  evidence: "openclaw.json is not JSON5: invalid character '}' at 12:3",
  outcome: 'recovered by the doctor',
  seconds: 312,
  report: { rootCause: 'a stray brace', fix: 'removed it' },
}

test.each([
  ['headings', '# Report\n\n## Root Cause\n\nA stray brace.\n\n## Fix applied\n\nRemoved it.\n'],
  ['numbered headings', '### 1. Root cause:\nA stray brace.\n### 2. Fix\nRemoved it.'],
  ['bold words', '**Root cause:** A stray brace.\n\n**Fix**: Removed it.'],
  ['points', '- Root-cause: A stray brace.\n- Actions taken: Removed it.'],
  ['a table', '| Field | Text |\n|---|---|\n| Root cause | A stray brace. |\n| **Fix** | Removed it. |'],
  ['shouting', 'ROOT CAUSE: A stray brace.\r\nFIX: Removed it.\r\n'],
])('a report in the form of %s is understood', (_, text) => {
  expect(parseReport(text)).toEqual({ rootCause: 'A stray brace.', fix: 'Removed it.' })
})

test('smaller headings and code stay within their part; unknown parts belong to nobody', () => {
  const text =
    '## Fix\n\nFirst:\n\n### Step 1\n\n```\n# Symptom\nnpm install\n```\n\n## Appendix\n\nnoise\n\n## Lessons\nLook first.'
  expect(parseReport(text)).toEqual({
    fix: 'First:\n\n### Step 1\n\n```\n# Symptom\nnpm install\n```',
    lessons: 'Look first.',
  })
})

test('no report at all is no reason to stumble', () => {
  expect(parseReport('')).toEqual({})
  expect(parseReport('I could not find anything.\u0000\u001b[31m')).toEqual({})
})

test('what was written is read back', () => {
  const path = casebook()
  addCase(path, CASE)
  addCase(path, {
    ...CASE,
    verdict: 'hung',
    report: { fix: 'line one\n## not a heading of ours\n- **Outcome:** not recovered\nend' },
  })
  const [first, second] = readCases(path)
  expect(readCases(path)).toHaveLength(2)
  expect(first).toMatchObject({
    verdict: 'misconfigured',
    rootCause: 'a stray brace',
    fix: 'removed it',
    seconds: '312',
  })
  expect(second!.fix).toContain('## not a heading of ours')
  expect(second!.outcome).toBe('recovered by the doctor')
  expect(statSync(path).mode & 0o777).toBe(0o600)
})

test('a casebook that people have edited is still read', () => {
  const path = casebook()
  addCase(path, CASE)
  const mine = `\n## 2026-10-01 the one with the port misconfigured

Symptom: gateway did not start after I moved house
Verdict: misconfigured: openclaw.json is not JSON5, invalid character
My own note, without any form.

### Resolution
Put the comma back.

### Outcome
Fixed.
`
  writeFileSync(path, readFileSync(path, 'utf8').replace('a stray brace', 'a stray brace (my editor)') + mine)
  const cases = readCases(path)
  expect(cases[0]).toMatchObject({ rootCause: 'a stray brace (my editor)' })
  expect(cases[1]).toMatchObject({ verdict: 'misconfigured', fix: 'Put the comma back.', outcome: 'Fixed.' })
  expect(similarCases(cases, 'misconfigured', CASE.evidence).map(({ worked }) => worked)).toEqual([true, true])
})

test('the most similar three come first, the newer of two alike before the older', () => {
  const path = casebook()
  addCase(path, { ...CASE, verdict: 'hung', evidence: 'connected, but no answer within 10 s' })
  addCase(path, { ...CASE, at: 'older' })
  addCase(path, { ...CASE, at: 'newer' })
  addCase(path, { ...CASE, evidence: 'exit 78 without a reason' })
  addCase(path, { ...CASE, verdict: 'broken-install', evidence: 'Cannot find module express' })
  const similar = similarCases(
    readCases(path),
    'misconfigured',
    "openclaw.json is not JSON5: invalid character ',' at 3:21",
  )
  expect(similar.map((one) => one.case.heading.split(' ')[0])).toEqual(['newer', 'older', CASE.at])
  expect(similarCases(readCases(path), 'absent', 'something else entirely')).toEqual([])
})

test('what worked is to be tried first; what did not is told as such', () => {
  const path = casebook()
  addCase(path, CASE)
  const worked = similarCases(readCases(path), CASE.verdict, CASE.evidence)
  expect(describeCases(worked)).toMatch(/its fix WORKED[\s\S]*TRY THIS FIRST: removed it/)

  addCase(path, { ...CASE, outcome: 'not recovered: the doctor’s time was over' })
  const failed = similarCases(readCases(path), CASE.verdict, CASE.evidence)
  expect(describeCases(failed.slice(0, 1))).toMatch(/did NOT work/)
  expect(describeCases(failed.slice(0, 1))).not.toMatch(/TRY THIS FIRST/)

  addCase(path, { ...CASE, outcome: 'recovered by itself or from outside' })
  const unknown = similarCases(readCases(path), CASE.verdict, CASE.evidence)
  expect(describeCases(unknown.slice(0, 1))).toMatch(/unknown whether/)
})
