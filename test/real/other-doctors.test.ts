/** Level 3 with each of the other real agents, its model scripted: it repairs a damaged package with the instruments. */
import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { startChatApi } from '../support/chat-api.ts'
import { startGeminiApi } from '../support/gemini-api.ts'
import { startResponsesApi } from '../support/responses-api.ts'
import { createSandbox } from '../support/sandbox.ts'
import { codexBin, geminiBin, node24Bin, qwenBin } from './parts.ts'

const KEY = 'sk-local-0123456789abcdefghijklmn'
const CALLS: [name: string, input: Record<string, unknown>][] = [
  ['set_config', { path: 'gateway.bind', value: 'lan' }],
  ['reinstall_package', {}],
  ['start_gateway', {}],
  ['wait_until_healthy', { seconds: 60 }],
  ['write_report', { symptom: 'It is down.', root_cause: 'A module was missing.', fix: 'Reinstalled.' }],
]
const turns = (prefix: string, extra: Record<string, unknown> = {}) => [
  ...CALLS.map(([name, input]) => ({ tools: [{ name: `${prefix}${name}`, input, ...extra }] })),
  { text: 'I stop.' },
]

const AGENTS = {
  codex: async () => {
    const api = await startResponsesApi(turns('', { namespace: 'mcp__doctor' }))
    return { api, bin: codexBin, settings: { OPENAI_API_KEY: KEY, OPENAI_BASE_URL: api.url }, env: {} }
  },
  qwen: async () => {
    const api = await startChatApi(turns('mcp__doctor__'))
    const settings = { OPENAI_API_KEY: KEY, OPENAI_BASE_URL: `${api.url}/v1`, OPENAI_MODEL: 'local' }
    return { api, bin: qwenBin, settings, env: {} }
  },
  gemini: async () => {
    const api = await startGeminiApi(turns('mcp_doctor_'))
    return {
      api,
      bin: geminiBin,
      settings: { GEMINI_API_KEY: KEY },
      env: { GOOGLE_GEMINI_BASE_URL: api.url, GEMINI_MODEL: 'gemini-2.5-pro' },
    }
  },
} as const

test.each(Object.entries(AGENTS))('%s repairs the package; security stays as it was', async (name, open) => {
  const { api, bin, settings, env } = await open()
  onTestFinished(api.close)
  const box = await createSandbox({
    settings: {
      ...settings,
      DOCTOR: name,
      EMERGENCY_RECOVERY_TIMEOUT: '200',
      EMERGENCY_RECOVERY_IDLE_LIMIT: '90',
      EMERGENCY_RECOVERY_REPORT_WAIT: '60',
      CLAUDE_STARTUP_WAIT: '90',
    },
  })
  onTestFinished(box.close)
  box.addTool(name, `PATH='${node24Bin}':$PATH\nexport PATH\nexec '${join(bin, name)}' "$@"`)
  const file = join(box.packageDir, 'dist', 'run-command.mjs')
  mkdirSync(join(box.packageDir, 'dist'), { recursive: true })
  rmSync(file, { force: true })
  box.addTool('npm', `[ "$*" = "install -g openclaw@2026.9.6" ] && touch '${file}'`)
  await box.startGateway({ missingModule: file }, 'exit')

  const run = await box.runScript('emergency-recovery', [], { timeoutMs: 300_000, env })
  expect(run.code, `${run.stdout}\n${box.log(`${name}-session`)}`).toBe(0)
  expect(run.stdout).toMatch(/RECOVERED by level 3/)
  expect(box.log('emergency-recovery-2').match(/INSTRUMENT (?:allowed|refused) \w+/g)).toEqual([
    'INSTRUMENT refused set_config',
    ...CALLS.slice(1).map(([call]) => `INSTRUMENT allowed ${call}`),
  ])
  expect(box.log('emergency-recovery-report')).toMatch(/A module was missing/)
})

test('a doctor without credit is followed by the next one of DOCTOR, which repairs', async () => {
  const { api, bin, settings } = await AGENTS.qwen()
  onTestFinished(api.close)
  const box = await createSandbox({
    settings: { ...settings, DOCTOR: 'claude qwen', EMERGENCY_RECOVERY_TIMEOUT: '200', CLAUDE_STARTUP_WAIT: '90' },
  })
  onTestFinished(box.close)
  box.writeDoctorScript({ mode: 'quota' })
  box.addTool('qwen', `PATH='${node24Bin}':$PATH\nexport PATH\nexec '${join(bin, 'qwen')}' "$@"`)
  const file = join(box.packageDir, 'dist', 'run-command.mjs')
  mkdirSync(join(box.packageDir, 'dist'), { recursive: true })
  rmSync(file, { force: true })
  box.addTool('npm', `[ "$*" = "install -g openclaw@2026.9.6" ] && touch '${file}'`)
  await box.startGateway({ missingModule: file }, 'exit')
  const run = await box.runScript('emergency-recovery', [], { timeoutMs: 300_000 })
  expect(run.code, `${run.stdout}\n${box.log('qwen-session')}`).toBe(0)
  expect(run.stdout).toMatch(/the session ended: quota: Credit balance is too low[\s\S]*calling Qwen Code/)
  expect(run.stdout).toMatch(/RECOVERED by level 3/)
})
