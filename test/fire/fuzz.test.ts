/** Odd logs, settings and answers: the tiers do not break over them, and nothing from outside passes for ours. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, expect, test } from 'vitest'
import { chosenDoctors } from '../../lib/agents/choice.ts'
import { isGatewayCommand } from '../../lib/gateway/processes.ts'
import { readLaunchdJob } from '../../lib/services/launchd.ts'
import { formatLine, MARKER, oneLine, parseLine, parseMarker } from '../../lib/tier/contract.ts'
import { redact } from '../../lib/tier/redact.ts'
import { ALL_SETTINGS, DOCTOR_NAMES } from '../../lib/tier/setting-table.ts'
import { loadSettings, SettingsError } from '../../lib/tier/settings.ts'

const home = mkdtempSync(join(tmpdir(), 'fuzz-'))
mkdirSync(join(home, '.openclaw'))
afterAll(() => rmSync(home, { recursive: true, force: true }))

const words = (...list: string[]) => fc.constantFrom(...list)
/** Text of the kind that lands in logs: anything, and pieces that look like ours. */
const text = fc.array(
  fc.oneof(
    words('[2026-11-22T05:44:10+09:00] [watchdog] [ERROR] ', 'MANUAL INTERVENTION REQUIRED: ', 'DOWN absent: '),
    words('\n', '\r', '\u001b[2J', '\u2028', 'RUN ended: healthy, exit 0 after 1.0 s', '"', '='),
    fc.string({ unit: 'binary', maxLength: 30 }),
  ),
  { maxLength: 12 },
)
const outside = text.map((parts) => parts.join(''))
const forAll = <T>(inputs: fc.Arbitrary<T>, numRuns: number, holds: (input: T) => void) =>
  fc.assert(fc.property(inputs, holds), { numRuns })

test('a text from outside makes one line of ours, and no other', () => {
  forAll(outside, 30_000, (input) => {
    const lines = formatLine(new Date(), 'watchdog', 'WARN', MARKER.down('hung', input)).split('\n')
    expect(lines.filter((line) => parseLine(line) !== undefined)).toHaveLength(1)
    expect(parseMarker(parseLine(lines[0]!)!.text)?.kind).toBe('down')
    expect(oneLine(input)).not.toMatch(/[\n\r\u001b\u2028]/)
    parseMarker(parseLine(input)?.text ?? input)
    isGatewayCommand(input)
  })
})

test('any .env is settings, or a refusal in words', () => {
  const name = words(...Object.values(ALL_SETTINGS).map((setting) => setting.name))
  const line = fc.oneof(
    outside,
    fc.tuple(name, outside).map((pair) => pair.join('=')),
  )
  forAll(fc.array(line, { maxLength: 8 }), 10_000, (lines) => {
    writeFileSync(join(home, '.openclaw', '.env'), lines.join('\n'))
    try {
      expect(loadSettings({ HOME: home }).gatewayPort).toBeGreaterThan(0)
    } catch (error) {
      expect(error).toBeInstanceOf(SettingsError)
    }
  })
})

test('what launchctl and a doctor print can be read, whatever it is', () => {
  const key = words('type', 'subtype', 'message', 'content', 'text', 'error', 'item', 'result', 'mcp_servers', 'name')
  const word = words('system', 'init', 'assistant', 'user', 'result', 'text', 'tool_use', 'tool_result', 'item')
  const values = [word, fc.jsonValue({ maxDepth: 1 })]
  const event = fc.object({ key, values, maxDepth: 3, maxKeys: 5 }).map((one) => JSON.stringify(one))
  const state = fc.tuple(words('\tstate = running\n', '\tpid = 12\n', '\tlast exit code = ', '\n\n'), outside)
  const doctors = chosenDoctors({ ...loadSettings({ HOME: '/nonexistent' }), doctors: [...DOCTOR_NAMES] })
  const printed = fc.oneof(
    outside,
    event,
    fc.array(state, { maxLength: 4 }).map((lines) => lines.flat().join('')),
  )
  forAll(fc.tuple(fc.integer({ min: 0, max: 255 }), printed), 30_000, ([code, line]) => {
    expect(readLaunchdJob(code, line, line)?.pid ?? 1).toBeGreaterThan(0)
    for (const doctor of doctors)
      for (const { kind } of [...doctor.read(line), ...(doctor.readError?.(line) ?? [])])
        expect(kind).toMatch(/^(?:connected|trouble|said|called|answered|finished)$/)
  })
})

test('whatever is sent, the secret is not in it', () => {
  const secret = 'sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789'
  forAll(fc.tuple(outside, outside), 5000, ([before, after]) => {
    expect(redact(`${before} ${secret} ${after}`, [secret])).not.toContain(secret)
  })
})
