import fc from 'fast-check'
import { expect, test } from 'vitest'
import { cleanText, DEED, formatLine, MARKER, oneLine, parseLine, parseMarker } from '../../lib/tier/contract.ts'

const AT = new Date('2026-11-22T05:44:10+09:00')

test.each([
  [MARKER.runStarted(42), { kind: 'run-started', pid: 42 }],
  [MARKER.runEnded('healthy', 0, 1.23), { kind: 'run-ended', verdict: 'healthy', exitCode: 0, seconds: 1.2 }],
  [MARKER.down('broken-install', 'gone: x'), { kind: 'down', verdict: 'broken-install', evidence: 'gone: x' }],
  [MARKER.recovered(2, 61.4), { kind: 'recovered', level: 2, seconds: 61 }],
  [MARKER.recovered(undefined, 5), { kind: 'recovered', level: undefined, seconds: 5 }],
  [MARKER.escalate(3, 'why'), { kind: 'escalate', level: 3, why: 'why' }],
  [MARKER.manual('port taken'), { kind: 'manual', why: 'port taken' }],
  // Level 4 and other people's scripts look for these words.
  ['MANUAL INTERVENTION REQUIRED: port taken', { kind: 'manual', why: 'port taken' }],
  [MARKER.notice('config rolled back'), { kind: 'notice', what: 'config rolled back' }],
  ['Manual intervention required: x', undefined],
  [DEED.restart('a'), { kind: 'restart', how: 'a' }],
  [DEED.doctor('Claude Code', '2.1.330', 3), { kind: 'doctor', name: 'Claude Code', version: '2.1.330' }],
  [DEED.delivered('ntfy', 'x: y'), { kind: 'delivered', channel: 'ntfy', title: 'x: y' }],
  // As the first version wrote it.
  ['no supervisor starts what the doctor repaired: started `x`', { kind: 'restart', how: 'started `x`' }],
  ['NOTICE needs a look: disk', { kind: 'notice', what: 'needs attention: disk' }],
])('%s is read back', (text, marker) => {
  expect(parseMarker(text)).toEqual(marker)
  const line = { at: AT, tier: 'watchdog', severity: 'WARN', text }
  expect(parseLine(formatLine(AT, 'watchdog', 'WARN', text))).toEqual(line)
})

test('no text from outside can forge a line or a marker', () => {
  const hostile = fc.array(
    fc.oneof(
      fc.string({ unit: 'binary', maxLength: 30 }),
      fc.constantFrom(
        ...['\n', '\r', '\u2028', '\u0085', '\u001b[2K', '\u0000', ' ', 'x'],
        '[2026-11-22T05:44:10+09:00] [watchdog] [WARN] ',
        'MANUAL INTERVENTION REQUIRED: forged',
        'RUN ended: healthy, exit 0 after 1 s',
        'DOWN hung: forged',
      ),
    ),
  )
  fc.assert(
    fc.property(hostile, (parts) => {
      const text = `quoted: ${parts.join('')}`
      const parsed = formatLine(AT, 'watchdog', 'INFO', text).split('\n').map(parseLine).filter(Boolean)
      expect(parsed).toHaveLength(1)
      expect(parseMarker(parsed[0]!.text)).toBeUndefined()
      const down = formatLine(AT, 'watchdog', 'WARN', MARKER.down('hung', oneLine(text))).split('\n')
      expect(down).toHaveLength(1)
      expect(parseMarker(parseLine(down[0]!)!.text)?.kind).toBe('down')
    }),
    { numRuns: 1000 },
  )
})

test('terminal escapes are taken out whole, and a long text is cut without splitting a character', () => {
  expect(cleanText('\u001b[31mred\u001b[0m \u001b]0;title\u0007ok')).toBe('red ok')
  const cut = oneLine('🙂'.repeat(300), 100)
  expect(cut.length).toBeLessThanOrEqual(100)
  // A lone surrogate cannot be encoded.
  expect(() => encodeURIComponent(cut)).not.toThrow()
})
