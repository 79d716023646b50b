/** Learned remedies: proposed after two healings, approved, applied by Level 2, dropped; their command; damaged files. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, type TestContext, test, vi } from 'vitest'
import { type LearnedRemedy, learn, readRemedies } from '../../lib/doctor/learned.ts'
import { fingerprintOf } from '../../lib/doctor/limits.ts'
import type { InstrumentCall } from '../../lib/doctor/session.ts'
import { loadSettings } from '../../lib/tier/settings.ts'
import { createSandbox, waitFor } from '../support/sandbox.ts'

vi.setConfig({ testTimeout: 180_000 })
/** Most of it is waiting. */
const concurrently = test.concurrent

type Call = LearnedRemedy['calls'][number]
const calls = (...names: string[]): Call[] => names.map((name) => ({ name, args: {} }))
const set = (path: string, value: unknown): Call => ({ name: 'set_config', args: { path, value } })
const REINSTALL = calls('reinstall_package', 'start_gateway')

/** A sandbox whose gateway dies for want of a file, which npm brings back; with or without a doctor that knows. */
async function sandbox({ onTestFinished }: TestContext, hasDoctor: boolean, settings: Record<string, string> = {}) {
  const box = await createSandbox({
    absent: hasDoctor ? [] : ['claude'],
    settings: { DOCTOR_SAME_FAILURE_HOURS: '0', ...(hasDoctor ? {} : { OPENCLAW_STARTUP_GRACE: '3' }), ...settings },
  })
  onTestFinished(box.close)
  box.writeDoctorScript({
    steps: [...REINSTALL.map(({ name }) => ({ call: name })), { call: 'wait_until_healthy', args: { seconds: 30 } }],
    report: { symptom: 'It exits at once.', root_cause: 'A file is missing.', fix: 'Reinstalled.' },
  })
  const file = join(box.packageDir, 'dist', 'run-command.mjs')
  mkdirSync(join(box.packageDir, 'dist'), { recursive: true })
  const path = join(box.stateDir, 'watchdog', 'learned-remedies.json')
  const remedies = () => JSON.parse(readFileSync(path, 'utf8')) as LearnedRemedy[]
  return {
    ...{ box, file, path, remedies },
    statuses: () => remedies().map(({ status }) => status),
    /** Ends the gateway and takes the file away. @param npm what npm does; by default it brings the file back */
    fail: async (npm = `touch '${file}'`) => {
      for (const { pid } of box.events().filter(({ what }) => what === 'ready')) {
        if (!box.processes().includes(pid)) continue
        process.kill(pid, 'SIGKILL')
        await waitFor(() => !box.processes().includes(pid), 'the end of the gateway')
      }
      rmSync(file, { force: true })
      box.addTool('npm', npm)
      await box.startGateway({ missingModule: file }, 'exit')
    },
    keep: (...some: Partial<LearnedRemedy>[]) => {
      mkdirSync(join(box.stateDir, 'watchdog'), { recursive: true })
      const whole = { fingerprint: 'f'.repeat(12), verdict: 'absent', evidence: 'x', status: 'approved', healed: 2 }
      const all = some.map((one) => ({ ...whole, calls: [], at: '2026-11-22T05:44:10+09:00', ...one }))
      writeFileSync(path, JSON.stringify(all))
    },
    nurse: (env = {}) => box.runScript('gateway-healthcheck', [], { env }),
    learned: (...args: string[]) => box.runScript('learned', args),
    /** What identifies a failure that Level 2 met: the last one, or one by its words. */
    failure: (words = /(?:)/) => {
      const all = [...box.log('healthcheck').matchAll(/ DOWN ([a-z-]+): (.*)/g)]
      const [, verdict = '', evidence = ''] = all.findLast(([line]) => words.test(line)) ?? []
      return fingerprintOf({ verdict, evidence })
    },
    used: () => box.log('healthcheck').match(/INSTRUMENT .*/g) ?? [],
    doctors: () => box.events().filter(({ what }) => what === 'doctor started').length,
  }
}

concurrently(
  'what healed twice is proposed; approved, Level 2 applies it without a doctor; after one failure it is dropped',
  async (t) => {
    const { box, remedies, statuses, fail, nurse, learned, doctors } = await sandbox(t, true)
    const heal = async () => {
      await fail()
      return (await box.runScript('emergency-recovery')).stdout
    }
    expect((await learned()).stdout).toMatch(/Nothing was learned yet/)
    expect(await heal()).not.toMatch(/NOTICE/)
    const fingerprint = /NOTICE .*npm run learned approve ([0-9a-f]{12})/.exec(await heal())?.[1] ?? 'none'
    const listed = (await learned()).stdout
    expect(listed).toMatch(new RegExp(`${fingerprint} {2}proposed, healed 2 times[^]*reinstall_package, start_gateway`))

    // Proposed is not approved.
    await fail()
    expect((await nurse()).stdout).toMatch(/RECOVERED by level 3/)
    expect(doctors()).toBe(3)
    expect(statuses()).toEqual(['proposed'])
    expect(await learned('approve', fingerprint)).toMatchObject({ code: 0 })
    await fail()
    const healed = await nurse()
    expect(healed.code, healed.stdout).toBe(0)
    expect(box.log('healthcheck')).toMatch(/INSTRUMENT allowed reinstall_package[\s\S]*RECOVERED by level 2/)
    expect(doctors()).toBe(3)

    // npm fails this time: the remedy is dropped, and the doctor is called.
    await fail('exit 1')
    expect((await nurse()).stdout).toMatch(/NOTICE .*did not help and is dropped[\s\S]*ESCALATE to level 3/)
    expect(remedies()[0]!.status).toBe('dropped')
    expect(doctors()).toBe(4)
  },
)

concurrently('only an approved remedy of this failure is applied; on needs no approval, off forgets', async (t) => {
  const { box, path, fail, keep, nurse, failure, used } = await sandbox(t, false)
  await fail()
  await nurse()
  const remedy = { calls: REINSTALL, fingerprint: failure() }
  const others = (['seen', 'proposed', 'rejected', 'dropped'] as const).map((status) => ({ ...remedy, status }))
  keep({ ...remedy, fingerprint: 'a'.repeat(12) }, ...others)
  expect((await nurse()).code).toBe(1)
  expect(used()).toEqual([])
  const healed = await nurse({ LEARNED_REMEDIES: 'on' })
  expect(healed.code, healed.stdout).toBe(0)
  expect(healed.stdout).toMatch(/RECOVERED by level 2/)
  // A damaged file is kept aside.
  await fail()
  writeFileSync(path, '[{ "fingerprint": 7 }]')
  await nurse()
  const kept = readdirSync(join(box.stateDir, 'watchdog')).filter((name) => name.startsWith('learned-remedies.json.'))
  expect(kept).toHaveLength(1)
  keep(remedy)
  expect((await nurse({ LEARNED_REMEDIES: 'off' })).code).toBe(1)
  expect(existsSync(path)).toBe(false)
})

concurrently(
  'a remedy that does not help: its edits of the config are rolled back, and a human is called',
  async (t) => {
    const { box, statuses, fail, keep, nurse, failure, used } = await sandbox(t, false)
    await fail('exit 1')
    await nurse()
    const config = readFileSync(box.configPath, 'utf8')
    keep({ fingerprint: failure(), calls: [set('logging.level', 'debug'), ...calls('start_gateway')] })
    const run = await nurse()
    expect(run.code).toBe(1)
    expect(used()).toEqual([
      'INSTRUMENT allowed set_config {"path":"logging.level","value":"debug"}',
      'INSTRUMENT allowed start_gateway {}',
    ])
    expect(run.stdout).toMatch(
      /NOTICE the learned remedy \w+ [\s\S]*ESCALATE to level 3[\s\S]*MANUAL INTERVENTION REQUIRED/,
    )
    expect(readFileSync(box.configPath, 'utf8')).toBe(config)
    expect(statuses()).toEqual(['dropped'])
    const kept = box.memoryFiles().filter((name) => name.includes('config-'))
    for (const name of kept) expect(readFileSync(join(box.memoryDir, name), 'utf8')).not.toContain('stand-in-token')
    const runs = join(box.stateDir, 'watchdog', 'doctor')
    expect(existsSync(runs) ? readdirSync(runs) : []).toEqual([])
    // Once dropped, it is not tried again.
    await nurse()
    expect(used()).toHaveLength(2)
  },
)

concurrently('a file that was edited by hand does nothing that the policy does not allow', async (t) => {
  const { box, file, statuses, fail, keep, nurse, failure, used } = await sandbox(t, false)
  await fail()
  await nurse()
  const config = readFileSync(box.configPath, 'utf8')
  const fingerprint = failure()
  for (const bad of [
    set('gateway.bind', 'lan'),
    set('plugins.entries.evil.enabled', true),
    { name: 'bash', args: { command: `touch ${box.root}/canary` } },
    { name: 'constructor', args: {} },
    { name: 'reinstall_package', args: { version: 'latest' } },
    { name: 'end_gateway_process', args: { pid: 1 } },
    { name: 'replace_in_config', args: { line: 5, old: 'loopback', new: 'lan' } },
  ]) {
    keep({ fingerprint, calls: [bad, ...REINSTALL] })
    expect((await nurse()).code).toBe(1)
    expect(statuses()).toEqual(['dropped'])
  }
  // Nothing that stood behind the refused call was done, either.
  expect(used()).toHaveLength(7)
  for (const line of used()) expect(line).toMatch(/^INSTRUMENT refused /)
  expect(existsSync(file)).toBe(false)
  expect(existsSync(join(box.root, 'canary'))).toBe(false)
  expect(readFileSync(box.configPath, 'utf8')).toBe(config)
})

concurrently('told to stop in the middle of a remedy, Level 2 rolls its edits back', async (t) => {
  const { box, fail, keep, nurse, failure, used } = await sandbox(t, false)
  await fail('sleep 60')
  await nurse()
  const config = readFileSync(box.configPath, 'utf8')
  keep({ fingerprint: failure(), calls: [set('logging.level', 'debug'), ...calls('reinstall_package')] })
  const run = box.startScript('gateway-healthcheck')
  await waitFor(() => used().some((one) => one.includes('reinstall_package')), 'the second call')
  expect(readFileSync(box.configPath, 'utf8')).toContain('debug')
  process.kill(run.pid, 'SIGTERM')
  await run.finished
  expect(readFileSync(box.configPath, 'utf8')).toBe(config)
})

concurrently('the command lists, approves, rejects, and says what it cannot do', async (t) => {
  const { box, path, statuses, keep, learned } = await sandbox(t, false)
  const [one, two] = ['a'.repeat(12), 'b'.repeat(12)]
  const before = readdirSync(box.stateDir)
  expect(await learned()).toMatchObject({ code: 0, stdout: expect.stringMatching(/./), stderr: '' })
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

  for (const [args, code] of [
    [['approve', 'c'.repeat(12)], 1],
    [['reject', 'x; rm'], 1],
    [['approve'], 2],
    [['apply', one], 2],
    [['approve', one, two], 2],
  ] as const)
    expect(await learned(...args), args.join(' ')).toMatchObject({ code, stdout: '' })
  expect(await learned('--help')).toMatchObject({ code: 0, stdout: expect.stringMatching(/npm run learned approve/) })
  const damaged = '{ half'
  writeFileSync(path, damaged)
  expect(await learned()).toMatchObject({ code: 0, stderr: expect.stringContaining('learned-remedies.json') })
  expect(readFileSync(path, 'utf8')).toBe(damaged)
})

test('what is learned: acts that were done, of one failure, twice the same, and few', async (t) => {
  const { box } = await sandbox(t, false)
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
  for (const [evidence, did] of [
    ['pid 1', one],
    ['pid 2', other],
    ['elsewhere', one],
  ] as const)
    expect(heal(evidence, [...did])).toBeUndefined()
  expect(heal('pid 3', one)).toMatch(/npm run learned approve [0-9a-f]{12}/)
  expect(heal('pid 4', one)).toBeUndefined()
  expect(all().map(({ status, healed }) => `${status} ${healed}`)).toEqual(['seen 1', 'seen 1', 'proposed 3'])
  expect(all().at(-1)!.calls).toEqual(calls('start_gateway'))
  expect(heal('pid 6', other, 'on')).toBeDefined()
  expect(heal('pid 7', one, 'off')).toBeUndefined()
})
