/** `npm run doctor:eval` with the real Claude Code, whose model is scripted: the harness counts what happens. */
import { dirname, join } from 'node:path'
import { execa } from 'execa'
import { expect, onTestFinished, test } from 'vitest'
import { startMessagesApi, type Turn, textOf } from '../support/messages-api.ts'
import { claudeBin } from './parts.ts'

const instrument = (name: string, input: Record<string, unknown> = {}): Turn => ({
  tools: [{ name: `mcp__doctor__${name}`, input }],
})
const heal = [instrument('start_gateway'), instrument('wait_until_healthy', { seconds: 60 })]
const report = (root_cause: string) =>
  instrument('write_report', { symptom: 'It is down.', root_cause, fix: 'See the calls.' })

/** What the model does, by the verdict in the briefing. The second one gives up and names a wrong cause. */
const PLAYS: readonly [RegExp, Turn[]][] = [
  [
    /^\| misconfigured: .*not JSON5/m,
    [instrument('restore_known_good_config'), ...heal, report('The config could not be parsed: it was cut off.')],
  ],
  [
    /^\| misconfigured: .*start blocked/m,
    [instrument('set_config', { path: 'gateway.bind', value: 'lan' }), report('The moon.')],
  ],
  [/^\| broken-install: /m, [instrument('reinstall_package'), ...heal, report('A module was missing.')]],
]

test('three faults: cause, healing, seconds, cost, calls and refusals are told for each', async () => {
  const turns = new Map<string, number>()
  const api = await startMessagesApi(({ body }) => {
    const prompt = textOf(body.messages[0]?.content)
    const [, steps] = PLAYS.find(([words]) => words.test(prompt)) ?? PLAYS[1]!
    const turn = turns.get(prompt) ?? 0
    turns.set(prompt, turn + 1)
    return steps[turn] ?? { text: 'I stop.' }
  })
  onTestFinished(api.close)
  const script = join(import.meta.dirname, '..', '..', 'bench', 'doctor-eval.ts')
  const { stdout, stderr, exitCode } = await execa(process.execPath, ['--import', 'tsx', script, '1', '3', '16'], {
    env: {
      HOME: '/nonexistent',
      PATH: `${dirname(claudeBin)}:${process.env.PATH}`,
      ANTHROPIC_API_KEY: 'sk-ant-api03-local-0123456789abcdefghij',
      ANTHROPIC_BASE_URL: api.url,
    },
    extendEnv: false,
    reject: false,
  })
  expect(exitCode, `${stdout}\n${stderr}`).toBe(0)
  expect(stdout).toMatch(/^1 config broken +yes +yes +\d+ +\$[\d.]+ +4 +0 +(?:recovered|finished)$/m)
  expect(stdout).toMatch(/^3 config valid, but refused +no +no +\d+ +\$[\d.]+ +2 +1 +finished$/m)
  expect(stdout).toMatch(/^16 broken install +yes +yes +\d+ +\$[\d.]+ +4 +0 +(?:recovered|finished)$/m)
  expect(stdout).toMatch(/claude: 2 of 3 healed, 2 causes named rightly/)
})
