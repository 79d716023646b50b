/** Whatever stands in the files, logs and answers that the tiers read: they do not break, and nothing passes for ours. */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, expect, test, vi } from 'vitest'
import { chosenDoctors } from '../../lib/agents/choice.ts'
import { readRemedies } from '../../lib/doctor/learned.ts'
import { readVisits } from '../../lib/doctor/limits.ts'
import { configSyntaxProblem } from '../../lib/gateway/config.ts'
import { isGatewayCommand } from '../../lib/gateway/processes.ts'
import { readRecord } from '../../lib/gateway/record.ts'
import { readWatchState } from '../../lib/gateway/watch-state.ts'
import { readLaunchdJob } from '../../lib/services/launchd.ts'
import { readUnits } from '../../lib/services/systemd.ts'
import { formatLine, MARKER, oneLine, parseLine, parseMarker } from '../../lib/tier/contract.ts'
import { redact } from '../../lib/tier/redact.ts'
import { ALL_SETTINGS, DOCTOR_NAMES } from '../../lib/tier/setting-table.ts'
import { loadSettings, SettingsError } from '../../lib/tier/settings.ts'

const home = mkdtempSync(join(tmpdir(), 'fuzz-'))
const state = join(home, '.openclaw')
mkdirSync(join(state, 'watchdog'), { recursive: true })
let inputs = 0

afterAll(() => {
  rmSync(home, { recursive: true, force: true })
  process.stdout.write(`inputs tried: ${inputs}\n`)
})

function forAll<T>(arbitrary: fc.Arbitrary<T>, numRuns: number, holds: (value: T) => void): void {
  fc.assert(
    fc.property(arbitrary, (value) => {
      inputs++
      holds(value)
    }),
    { numRuns },
  )
}

/** Text of the kind that lands in logs: anything, and pieces that look like ours. */
const piece = fc.constantFrom(
  '\n',
  '\r',
  '\u001b[2J',
  '\u2028',
  '[2026-11-22T05:44:10+09:00] [watchdog] [ERROR] ',
  'MANUAL INTERVENTION REQUIRED: ',
  'RUN ended: healthy, exit 0 after 1.0 s',
  'DOWN absent: ',
  '"',
  '=',
  '{',
)
const text = fc
  .array(fc.oneof(piece, fc.string({ unit: 'binary', maxLength: 30 })), { maxLength: 12 })
  .map((parts) => parts.join(''))

test('a text from outside makes one line of ours, and no other', () => {
  forAll(text, 30_000, (outside) => {
    const lines = formatLine(new Date(), 'watchdog', 'WARN', MARKER.down('hung', outside)).split('\n')
    expect(lines.filter((line) => parseLine(line) !== undefined)).toHaveLength(1)
    expect(parseMarker(parseLine(lines[0]!)!.text)?.kind).toBe('down')
    expect(oneLine(outside)).not.toMatch(/[\n\r\u001b\u2028]/)
  })
})

test('whatever stands in a log can be read', () => {
  forAll(text, 20_000, (line) => {
    const parsed = parseLine(line)
    if (parsed) parseMarker(parsed.text)
    parseMarker(line)
  })
})

test('whatever launchctl and systemctl print can be read', () => {
  const printed = fc
    .array(
      fc.oneof(text, fc.constantFrom('\tstate = running\n', '\tpid = 12\n', '\tlast exit code = ', 'Id=a\n', '\n\n')),
    )
    .map((parts) => parts.join(''))
  forAll(fc.tuple(fc.integer({ min: 0, max: 255 }), printed, text), 15_000, ([code, stdout, stderr]) => {
    const job = readLaunchdJob(code, stdout, stderr)
    if (job?.pid !== undefined) expect(job.pid).toBeGreaterThan(0)
    readUnits(stdout)
  })
})

test('whatever stands in .env, it is settings or a refusal in words', () => {
  const name = fc.constantFrom(...Object.values(ALL_SETTINGS).map((setting) => setting.name))
  const line = fc.oneof(
    text,
    fc.tuple(name, text).map(([left, right]) => `${left}=${right}`),
  )
  const file = join(state, '.env')
  forAll(fc.array(line, { maxLength: 8 }), 10_000, (lines) => {
    writeFileSync(file, lines.join('\n'))
    try {
      const settings = loadSettings({ HOME: home })
      expect(settings.gatewayPort).toBeGreaterThan(0)
    } catch (error) {
      expect(error).toBeInstanceOf(SettingsError)
    }
  })
  rmSync(file)
})

test('whatever stands in a state file, it is state or a new beginning', () => {
  const settings = loadSettings({ HOME: home })
  const json = fc.oneof(
    text,
    fc.jsonValue().map((value) => JSON.stringify(value)),
    stateLike().map((v) => JSON.stringify(v)),
  )
  forAll(json, 10_000, (content) => {
    for (const name of STATE_FILES) writeFileSync(join(settings.watchdogDir, name), content)
    const record = readRecord(settings, true).value
    expect(record.lastHealthyMs).toBeGreaterThanOrEqual(0)
    expect(record.putBack.every((one) => typeof one === 'string')).toBe(true)
    const { backoff, warnings } = readWatchState(settings, true).value
    expect(backoff.crashes).toBeGreaterThanOrEqual(0)
    expect(Array.isArray(warnings)).toBe(true)
    for (const { failure } of readVisits(settings, true).value) expect(failure).toBeTypeOf('string')
    for (const { calls } of readRemedies(settings, true).value)
      for (const call of calls) expect(call.name).toBeTypeOf('string')
  })
  expect(readdirSync(settings.watchdogDir).sort()).toEqual(STATE_FILES)
})

const STATE_FILES = ['doctor-visits.json', 'gateway.json', 'learned-remedies.json', 'watchdog.json']

function stateLike() {
  const any = fc.oneof(fc.jsonValue(), fc.double(), fc.integer())
  return fc.record(
    {
      lastHealthyMs: any,
      pid: any,
      putBack: any,
      lastTickMs: fc.oneof(any, fc.nat()),
      warnings: fc.array(fc.record({ text: any, sinceMs: any, told: any })),
      backoff: fc.oneof(any, fc.record({ crashes: fc.nat(), lastCrashMs: any, lastRestartMs: fc.nat() })),
    },
    { requiredKeys: [] },
  )
}

test('whatever a doctor prints, it is an event or nothing', () => {
  const key = fc.constantFrom(
    ...['type', 'subtype', 'message', 'content', 'text', 'error', 'item', 'result', 'mcp_servers', 'is_error', 'name'],
  )
  const word = fc.constantFrom(
    'system',
    'init',
    'assistant',
    'user',
    'result',
    'text',
    'tool_use',
    'tool_result',
    'item',
  )
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      { maxDepth: 4 },
      word,
      fc.jsonValue({ maxDepth: 1 }),
      fc.array(tie('any'), { maxLength: 3 }),
      fc.dictionary(key, tie('any'), { maxKeys: 5 }),
    ),
  })).any
  const doctors = chosenDoctors({ ...loadSettings({ HOME: home }), doctors: [...DOCTOR_NAMES] })
  forAll(
    fc.oneof(
      text,
      value.map((one) => JSON.stringify(one)),
    ),
    20_000,
    (line) => {
      for (const doctor of doctors)
        for (const event of [...doctor.read(line), ...(doctor.readError?.(line) ?? [])]) {
          expect(event.kind).toMatch(/^(?:connected|trouble|said|called|answered|finished)$/)
          if (event.kind === 'trouble') expect(event.detail).toBeTypeOf('string')
          if ('text' in event) expect(event.text).toBeTypeOf('string')
        }
    },
  )
})

test('whatever stands in the config, it is read or refused in words of one line', async () => {
  // json5 warns of a U+2028 on standard error.
  vi.spyOn(console, 'warn').mockImplementation(() => {})
  const settings = loadSettings({ HOME: home })
  const content = fc.oneof(text, fc.json(), fc.uint8Array({ maxLength: 200 }))
  await fc.assert(
    fc.asyncProperty(content, async (bytes) => {
      inputs++
      writeFileSync(settings.configPath, bytes)
      const problem = await configSyntaxProblem(settings)
      if (problem !== undefined) expect(problem).not.toMatch(/\n/)
    }),
    { numRuns: 5000 },
  )
})

test('whatever is to be told, it can be redacted, and the secret is not in it', () => {
  const secret = 'sk-ant-api03-abcdefghijklmnopqrstuvwxyz0123456789'
  forAll(fc.tuple(text, text), 5000, ([before, after]) => {
    expect(redact(`${before} ${secret} ${after}`, [secret])).not.toContain(secret)
  })
})

test('whatever a command line is, it is a gateway or not', () => {
  forAll(text, 10_000, (command) => void isGatewayCommand(command))
})
