/** Learned remedies: proposed after two healings, approved, applied by Level 2, dropped; their command; damaged files. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, type TestContext, test } from 'vitest'
import { type LearnedRemedy, learn, readRemedies } from '../../lib/doctor/memory.ts'
import type { InstrumentCall } from '../../lib/doctor/session.ts'
import { fingerprintOf } from '../../lib/incidents/history.ts'
import { loadSettings } from '../../lib/tier/settings.ts'
import { breakPackage } from '../support/doctor-script.ts'
import { createSandbox, type SandboxOptions, waitFor } from '../support/sandbox.ts'

const concurrently = test.concurrent

type Call = LearnedRemedy['calls'][number]
const calls = (...names: string[]): Call[] => names.map((name) => ({ name, args: {} }))
const set = (path: string, value: unknown): Call => ({ name: 'set_config', args: { path, value } })
const REINSTALL = calls('reinstall_package', 'start_gateway')

async function sandbox({ onTestFinished }: TestContext, options?: SandboxOptions) {
  const box = await createSandbox(options)
  onTestFinished(box.close)
  const path = join(box.stateDir, 'watchdog', 'learned-remedies.json')
  return {
    ...{ box, path },
    statuses: () => (JSON.parse(readFileSync(path, 'utf8')) as LearnedRemedy[]).map(({ status }) => status),
    /** Ends the gateway and breaks its package. @param npm what npm does, instead of mending it */
    fail: async (npm?: string) => {
      const ready = box.events().flatMap(({ what, pid }) => (what === 'ready' ? [pid] : []))
      for (const pid of box.processes().filter((one) => ready.includes(one))) {
        process.kill(pid, 'SIGKILL')
        await waitFor(() => !box.processes().includes(pid), 'the end of the gateway')
      }
      return breakPackage(box, npm)
    },
    keep: (...some: Partial<LearnedRemedy>[]) => {
      mkdirSync(join(box.stateDir, 'watchdog'), { recursive: true })
      const whole = { fingerprint: 'f'.repeat(12), verdict: 'absent', evidence: 'x', status: 'approved', healed: 2 }
      const all = some.map((one) => ({ ...whole, calls: [], at: '2026-11-22T05:44:10+09:00', ...one }))
      writeFileSync(path, JSON.stringify(all))
    },
    nurse: (env = {}) => box.runScript('gateway-healthcheck', [], { env }),
    learned: (...args: string[]) => box.runScript('learned', args),
    used: () => box.log('healthcheck').match(/INSTRUMENT .*/g) ?? [],
  }
}

concurrently('what healed twice is proposed; approved, Level 2 applies it without a doctor', async (t) => {
  const { box, statuses, fail, nurse, learned, used } = await sandbox(t, {
    settings: { DOCTOR_SAME_FAILURE_HOURS: '0' },
  })
  const wait = { call: 'wait_until_healthy', args: { seconds: 30 } }
  box.writeDoctorScript({
    steps: [...REINSTALL.map(({ name }) => ({ call: name })), wait],
    report: { symptom: 'It exits at once.', root_cause: 'A file is missing.', fix: 'Reinstalled.' },
  })
  const heal = async () => {
    await fail()
    const { code, stdout } = await nurse()
    expect(code, stdout).toBe(0)
    return stdout
  }
  expect(await heal()).not.toMatch(/NOTICE/)
  const fingerprint = /NOTICE .*npm run learned approve ([0-9a-f]{12})/.exec(await heal())?.[1] ?? 'none'
  const listed = (await learned()).stdout
  expect(listed).toMatch(new RegExp(`${fingerprint} {2}proposed, healed 2 times[^]*reinstall_package, start_gateway`))
  // Proposed is not approved.
  expect(await heal()).toMatch(/RECOVERED by level 3/)
  expect(statuses()).toEqual(['proposed'])
  expect(await learned('approve', fingerprint)).toMatchObject({ code: 0 })
  expect(await heal()).toMatch(/RECOVERED by level 2/)
  expect(used()[0]).toMatch(/^INSTRUMENT allowed reinstall_package/)
  expect(box.events().filter(({ what }) => what === 'doctor started')).toHaveLength(3)
})

concurrently('only of this failure, only what was approved and is allowed; vain edits are rolled back', async (t) => {
  const { box, path, statuses, fail, keep, nurse, used } = await sandbox(t, {
    absent: ['claude'],
    settings: { OPENCLAW_STARTUP_GRACE: '3' },
  })
  const file = await fail('exit 1')
  await nurse()
  const config = readFileSync(box.configPath, 'utf8')
  const [, verdict = '', evidence = ''] = / DOWN ([a-z-]+): (.*)/.exec(box.log('healthcheck')) ?? []
  const fingerprint = fingerprintOf({ verdict, evidence })

  const remedy = { calls: REINSTALL, fingerprint }
  const others = (['seen', 'proposed', 'rejected', 'dropped'] as const).map((status) => ({ ...remedy, status }))
  keep({ ...remedy, fingerprint: 'a'.repeat(12) }, ...others)
  expect((await nurse()).code).toBe(1)
  expect(used()).toEqual([])

  const lift = set('logging.level', 'debug')
  keep({ fingerprint, calls: [lift, ...calls('start_gateway')] })
  const vain = await nurse()
  expect(vain.code).toBe(1)
  expect(vain.stdout).toMatch(
    /NOTICE the learned remedy \w+ [\s\S]*ESCALATE to level 3[\s\S]*MANUAL INTERVENTION REQUIRED/,
  )
  expect(statuses()).toEqual(['dropped'])
  const kept = box.memoryFiles().filter((name) => name.includes('config-'))
  for (const name of kept) expect(readFileSync(join(box.memoryDir, name), 'utf8')).not.toContain('stand-in-token')
  const runs = join(box.stateDir, 'watchdog', 'doctor')
  expect(existsSync(runs) ? readdirSync(runs) : []).toEqual([])
  // Once dropped, it is not tried again.
  await nurse()
  expect(used()).toEqual([
    'INSTRUMENT allowed set_config {"path":"logging.level","value":"debug"}',
    'INSTRUMENT allowed start_gateway {}',
  ])
  expect(readFileSync(box.configPath, 'utf8')).toBe(config)

  // Edited by hand: nothing that stands behind a refused call is done, either.
  const wrong = [
    set('gateway.bind', 'lan'),
    { name: 'bash', args: { command: `touch ${box.root}/canary` } },
    { name: 'constructor', args: {} },
    { name: 'end_gateway_process', args: { pid: 1 } },
  ]
  for (const bad of wrong) {
    keep({ fingerprint, calls: [bad, ...REINSTALL] })
    expect((await nurse()).code).toBe(1)
    expect(statuses()).toEqual(['dropped'])
  }
  expect(used().slice(2)).toEqual(wrong.map(({ name }) => expect.stringMatching(`^INSTRUMENT refused ${name} `)))
  expect([file, join(box.root, 'canary')].filter((one) => existsSync(one))).toEqual([])

  // Told to stop in the midst of it.
  await fail('sleep 60')
  keep({ fingerprint, calls: [lift, ...calls('reinstall_package')] })
  const run = box.startScript('gateway-healthcheck')
  await waitFor(() => used().some((one) => one.includes('allowed reinstall_package')), 'the second call')
  expect(readFileSync(box.configPath, 'utf8')).toContain('debug')
  process.kill(run.pid, 'SIGTERM')
  await run.finished
  expect(readFileSync(box.configPath, 'utf8')).toBe(config)

  await fail()
  keep(...others)
  const healed = await nurse({ LEARNED_REMEDIES: 'on' })
  expect(healed.code, healed.stdout).toBe(0)
  expect(healed.stdout).toMatch(/RECOVERED by level 2/)
  await fail('exit 1')
  writeFileSync(path, '[{ "fingerprint": 7 }]')
  await nurse()
  const names = readdirSync(join(box.stateDir, 'watchdog'))
  expect(names.filter((name) => name.startsWith('learned-remedies.json.'))).toHaveLength(1)
  keep(remedy)
  expect((await nurse({ LEARNED_REMEDIES: 'off' })).code).toBe(1)
  expect(existsSync(path)).toBe(false)
})

concurrently('the command lists, approves, rejects, and says what it cannot do', async (t) => {
  const { box, path, statuses, keep, learned } = await sandbox(t)
  const [one, two] = ['a'.repeat(12), 'b'.repeat(12)]
  const before = readdirSync(box.stateDir)
  expect(await learned()).toMatchObject({ code: 0, stdout: expect.stringMatching(/Nothing was learned/), stderr: '' })
  expect(readdirSync(box.stateDir)).toEqual(before)
  const model = set('agents.defaults.model.primary', 'a/b')
  keep(
    { fingerprint: one, status: 'seen', healed: 1, calls: calls('restart_gateway') },
    { fingerprint: one, status: 'proposed', calls: [model, ...calls('start_gateway')] },
    { fingerprint: two, status: 'dropped', calls: calls('reinstall_package') },
  )
  expect((await learned('list')).stdout).toMatch(
    /a{12} {2}seen[\s\S]*a{12} {2}proposed[\s\S]*set_config "agents\.defaults\.model\.primary" "a\/b", start_gateway[\s\S]*b{12} {2}dropped/,
  )
  // Of two for one failure the proposed one is meant.
  expect((await learned('approve', one)).code).toBe(0)
  expect(statuses()).toEqual(['seen', 'approved', 'dropped'])
  for (const word of ['reject', 'approve']) expect((await learned(word, two)).code).toBe(0)
  expect(statuses()).toEqual(['seen', 'approved', 'approved'])

  const bad = { [`approve ${'c'.repeat(12)}`]: 1, 'reject x;rm': 1, approve: 2, [`apply ${one}`]: 2 }
  for (const [args, code] of Object.entries({ ...bad, [`approve ${one} ${two}`]: 2 }))
    expect(await learned(...args.split(' ')), args).toMatchObject({ code, stdout: '' })
  expect(await learned('--help')).toMatchObject({ code: 0, stdout: expect.stringMatching(/npm run learned approve/) })
  const damaged = '{ half'
  writeFileSync(path, damaged)
  expect(await learned()).toMatchObject({ code: 0, stderr: expect.stringContaining('learned-remedies.json') })
  expect(readFileSync(path, 'utf8')).toBe(damaged)
})

test('what is learned: acts that were done, of one failure, twice the same, and few', async (t) => {
  const { box } = await sandbox(t)
  const act = (name: string, decision: InstrumentCall['decision'] = 'done', acts = true): InstrumentCall => ({
    ...{ at: 1, name, args: {}, acts, decision },
  })
  const heal = (evidence: string, some: InstrumentCall[], mode = 'ask') => {
    const settings = loadSettings({ ...box.env, LEARNED_REMEDIES: mode })
    return learn(settings, { verdict: 'absent', evidence }, some, (problem) => expect.fail(problem))
  }
  const all = () => readRemedies(loadSettings(box.env)).value
  const look = act('read_log', 'done', false)
  const vain = [act('start_gateway', 'refused'), act('start_gateway', 'failed')]
  const many = Array.from({ length: 6 }, () => act('restart_gateway'))
  for (const none of [[], [look], vain, many]) for (let i = 0; i < 2; i++) expect(heal('x', none)).toBeUndefined()
  expect(all()).toEqual([])

  const one = [look, act('start_gateway'), act('set_config', 'refused')]
  const other = [act('restart_gateway')]
  // Numbers differ every time, words tell one failure from another.
  for (const [evidence, did] of Object.entries({ 'pid 1': one, 'pid 2': other, elsewhere: one }))
    expect(heal(evidence, did)).toBeUndefined()
  expect(heal('pid 3', one)).toMatch(/npm run learned approve [0-9a-f]{12}/)
  expect(heal('pid 4', one)).toBeUndefined()
  expect(all().map(({ status, healed }) => `${status} ${healed}`)).toEqual(['seen 1', 'seen 1', 'proposed 3'])
  expect(all().at(-1)!.calls).toEqual(calls('start_gateway'))
  expect(heal('pid 6', other, 'on')).toBeDefined()
  expect(heal('pid 7', one, 'off')).toBeUndefined()
})
