/** Whatever stands in the logs, settings and answers that the tiers read: they do not break, and nothing passes for ours. */
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
const textOf = (...pieces: fc.Arbitrary<string>[]) =>
  fc
    .array(fc.oneof(...pieces, fc.string({ unit: 'binary', maxLength: 30 })), { maxLength: 12 })
    .map((parts) => parts.join(''))
/** Text of the kind that lands in logs: anything, and pieces that look like ours. */
const ours = words('[2026-11-22T05:44:10+09:00] [watchdog] [ERROR] ', 'MANUAL INTERVENTION REQUIRED: ', 'DOWN absent: ')
const text = textOf(ours, words('\n', '\r', '\u001b[2J', '\u2028', 'RUN ended: healthy, exit 0 after 1.0 s', '"', '='))
const forAll = <T>(inputs: fc.Arbitrary<T>, numRuns: number, holds: (input: T) => void) =>
  fc.assert(fc.property(inputs, holds), { numRuns })

test('a text from outside makes one line of ours, and no other', () => {
  forAll(text, 30_000, (outside) => {
    const lines = formatLine(new Date(), 'watchdog', 'WARN', MARKER.down('hung', outside)).split('\n')
    expect(lines.filter((line) => parseLine(line) !== undefined)).toHaveLength(1)
    expect(parseMarker(parseLine(lines[0]!)!.text)?.kind).toBe('down')
    expect(oneLine(outside)).not.toMatch(/[\n\r\u001b\u2028]/)
    parseMarker(parseLine(outside)?.text ?? outside)
    isGatewayCommand(outside)
  })
})

test('whatever stands in .env, it is settings or a refusal in words', () => {
  const name = words(...Object.values(ALL_SETTINGS).map((setting) => setting.name))
  const line = fc.oneof(
    text,
    fc.tuple(name, text).map((pair) => pair.join('=')),
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

test('whatever launchctl, systemctl and a doctor print can be read', () => {
  const key = words('type', 'subtype', 'message', 'content', 'text', 'error', 'item', 'result', 'mcp_servers', 'name')
  const word = words('system', 'init', 'assistant', 'user', 'result', 'text', 'tool_use', 'tool_result', 'item')
  const object = fc.dictionary(key, fc.oneof(word, fc.jsonValue({ maxDepth: 1 })), { maxKeys: 5 })
  const nested = fc.dictionary(key, fc.oneof(word, object, fc.array(object, { maxLength: 3 })), { maxKeys: 5 })
  const event = fc.dictionary(key, fc.oneof(word, nested, fc.array(nested, { maxLength: 3 })), { maxKeys: 5 })
  const state = textOf(words('\tstate = running\n', '\tpid = 12\n', '\tlast exit code = ', 'Id=a\n', '\n\n'))
  const doctors = chosenDoctors({ ...loadSettings({ HOME: '/nonexistent' }), doctors: [...DOCTOR_NAMES] })
  const printed = fc.oneof(
    text,
    state,
    event.map((one) => JSON.stringify(one)),
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
  forAll(fc.tuple(text, text), 5000, ([before, after]) => {
    expect(redact(`${before} ${secret} ${after}`, [secret])).not.toContain(secret)
  })
})
