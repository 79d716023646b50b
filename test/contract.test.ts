import fc from 'fast-check'
import { expect, test } from 'vitest'
import {
  cleanText,
  DEED,
  formatLine,
  isBareRunLine,
  isHealthyObservation,
  MARKER,
  oneLine,
  parseDeed,
  parseLine,
  parseMarker,
} from '../lib/tier/contract.ts'

const AT = new Date('2026-11-22T05:44:10+09:00')

test('every marker that is written can be read back', () => {
  expect(parseMarker(MARKER.runStarted(42))).toEqual({ kind: 'run-started', pid: 42 })
  expect(parseMarker(MARKER.runEnded('healthy', 0, 1.23))).toEqual({
    kind: 'run-ended',
    verdict: 'healthy',
    exitCode: 0,
    seconds: 1.2,
  })
  expect(parseMarker(MARKER.down('broken-install', 'gone: x'))).toEqual({
    kind: 'down',
    verdict: 'broken-install',
    evidence: 'gone: x',
  })
  expect(parseMarker(MARKER.recovered(2, 61.4))).toEqual({ kind: 'recovered', level: 2, seconds: 61 })
  expect(parseMarker(MARKER.recovered(undefined, 5))).toEqual({ kind: 'recovered', level: undefined, seconds: 5 })
  expect(parseMarker(MARKER.escalate(3, 'why'))).toEqual({ kind: 'escalate', level: 3, why: 'why' })
  expect(parseMarker(MARKER.manual('port taken'))).toEqual({ kind: 'manual', why: 'port taken' })
  expect(parseMarker(MARKER.notice('config rolled back'))).toEqual({ kind: 'notice', what: 'config rolled back' })
})

test('every deed that is written can be read back, and is no marker', () => {
  const deeds = [DEED.restart('a'), DEED.doctor('Claude Code', '2.1.330', 3), DEED.told('ntfy', 'x: y')]
  expect(deeds.map(parseDeed)).toEqual([
    { kind: 'restart', how: 'a' },
    { kind: 'doctor', name: 'Claude Code', version: '2.1.330' },
    { kind: 'told', channel: 'ntfy', title: 'x: y' },
  ])
  expect(deeds.map(parseMarker)).toEqual(deeds.map(() => undefined))
})

test('the deeds in the logs of the first version are still read', () => {
  expect(parseDeed('no supervisor starts what the doctor repaired: started `openclaw gateway run`')).toEqual({
    kind: 'restart',
    how: 'started `openclaw gateway run`',
  })
  expect(parseDeed('calling Claude Code 2.1.330 with 2 similar incidents of the past')).toEqual({
    kind: 'doctor',
    name: 'Claude Code',
    version: '2.1.330',
  })
})

test('the marker of Level 3 is the one that Level 4 looks for, capitals and all', () => {
  expect(MARKER.manual('x')).toMatch(/^MANUAL INTERVENTION REQUIRED: /)
  expect(parseMarker('Manual intervention required: x')).toBeUndefined()
})

test('a line that is written is read back with its time, tier, severity and text', () => {
  const line = parseLine(formatLine(AT, 'watchdog', 'WARN', 'hello'))
  expect(line).toEqual({ at: AT, tier: 'watchdog', severity: 'WARN', text: 'hello' })
})

test('only a healthy end of a run or a recovery ends an incident', () => {
  expect(isHealthyObservation(parseMarker(MARKER.runEnded('healthy', 0, 1)))).toBe(true)
  expect(isHealthyObservation(parseMarker(MARKER.recovered(1, 1)))).toBe(true)
  expect(isHealthyObservation(parseMarker(MARKER.runEnded('hung', 1, 1)))).toBe(false)
  expect(isHealthyObservation(parseMarker(MARKER.runEnded('stood down', 3, 1)))).toBe(false)
})

test('no text from outside can forge a line or a marker', () => {
  const hostile = fc.array(
    fc.constantFrom(
      '\n',
      '\r',
      '\u2028',
      '\u0085',
      '\u001b[2K',
      '\u0000',
      ' ',
      'x',
      '[2026-11-22T05:44:10+09:00] [watchdog] [WARN] ',
      'MANUAL INTERVENTION REQUIRED: forged',
      'RUN ended: healthy, exit 0 after 1 s',
      'DOWN hung: forged',
    ),
  )
  fc.assert(
    fc.property(hostile, (parts) => {
      const text = `quoted: ${parts.join('')}`
      const parsed = formatLine(AT, 'watchdog', 'INFO', text).split('\n').map(parseLine).filter(Boolean)
      expect(parsed).toHaveLength(1)
      expect(parseMarker(parsed[0]!.text)).toBeUndefined()
      // As evidence inside a marker it stays one line and cannot end the marker's line.
      const down = formatLine(AT, 'watchdog', 'WARN', MARKER.down('hung', oneLine(text))).split('\n')
      expect(down).toHaveLength(1)
      expect(parseMarker(parseLine(down[0]!)!.text)?.kind).toBe('down')
    }),
    { numRuns: 2000 },
  )
})

test('terminal escape sequences are taken out whole', () => {
  expect(cleanText('\u001b[31mred\u001b[0m \u001b]0;title\u0007ok\u001b(B')).not.toContain('\u001b')
  expect(cleanText('\u001b[31mred\u001b[0m \u001b]0;title\u0007ok')).toBe('red ok')
})

test('a long text is cut without splitting a character', () => {
  const cut = oneLine('🙂'.repeat(300), 100)
  expect(cut.length).toBeLessThanOrEqual(100)
  // A lone surrogate cannot be encoded.
  expect(() => encodeURIComponent(cut)).not.toThrow()
})

test('only a run’s own first and last line pass for words without secrets', () => {
  expect(isBareRunLine(MARKER.runStarted(4242))).toBe(true)
  expect(isBareRunLine(MARKER.runEnded('stood down', 3, 12.34))).toBe(true)
  for (const text of [
    `${MARKER.runStarted(4242)} token=abcdefgh`,
    `token=abcdefgh ${MARKER.runEnded('healthy', 0, 1)}`,
    MARKER.runEnded('healthy password=hunter2', 0, 1),
    `${MARKER.runEnded('healthy', 0, 1)}\ntoken=abcdefgh`,
    MARKER.down('absent', 'nobody listens'),
  ])
    expect(isBareRunLine(text), text).toBe(false)
})
