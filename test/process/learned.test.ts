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
    expect((await learned('dry-run', 'approve', fingerprint)).stdout).toMatch(/would be approved/)
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

concurrently('LEARNED_REMEDIES=on needs no approval, off forgets', async (t) => {
  const { path, fail, keep, nurse, failure, doctors, box } = await sandbox(t, true, { LEARNED_REMEDIES: 'on' })
  await fail()
  await box.runScript('emergency-recovery')
  await fail()
  await nurse({ DOCTOR_MAX_PER_DAY: '0' })
  keep({ fingerprint: failure(), calls: REINSTALL, status: 'proposed' })
  expect((await nurse()).stdout).toMatch(/RECOVERED by level 2/)
  expect(doctors()).toBe(1)
  await fail()
  expect((await nurse({ LEARNED_REMEDIES: 'off' })).stdout).toMatch(/RECOVERED by level 3/)
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

concurrently('another failure has no use for it; only an approved one is applied', async (t) => {
  const { fail, keep, nurse, failure, used } = await sandbox(t, false)
  await fail()
  await nurse()
  const remedy = { calls: REINSTALL, fingerprint: failure() }
  const others = (['seen', 'proposed', 'rejected', 'dropped'] as const).map((status) => ({ ...remedy, status }))
  keep({ ...remedy, fingerprint: fingerprintOf({ verdict: 'absent', evidence: 'connection refused' }) }, ...others)
  expect((await nurse()).code).toBe(1)
  expect(used()).toEqual([])
  keep(remedy)
  const run = await nurse()
  expect(run.code, run.stdout).toBe(0)
  expect(run.stdout).toMatch(/RECOVERED by level 2/)
})

concurrently(
  'a config that its owner broke gets its remedy, though the known-good one was put back in between',
  async (t) => {
    const { box, file, keep, nurse, failure, used } = await sandbox(t, false, { CONFIG_KNOWN_GOOD_AFTER: '0' })
    box.addTool('npm', `touch '${file}'`)
    const gateway = await box.startGateway()
    for (let tick = 0; tick < 2; tick++) await box.runScript('gateway-watchdog')
    process.kill(gateway.pid, 'SIGKILL')
    await waitFor(() => !box.processes().includes(gateway.pid), 'the end of the gateway')
    box.setFaults({ missingModule: file })
    box.writeConfig('{ "gateway": { "mode": "local" ')
    await nurse()
    expect(readFileSync(box.configPath, 'utf8')).toBe('{ "gateway": { "mode": "local" \n')
    const remedy = calls('restore_known_good_config', 'reinstall_package', 'start_gateway')
    keep({ fingerprint: failure(/is not JSON5/), calls: remedy })
    const run = await nurse()
    expect(run.code, run.stdout).toBe(0)
    expect(used().slice(-3)).toEqual(remedy.map(({ name }) => `INSTRUMENT allowed ${name} {}`))
  },
)

concurrently('a damaged file is kept aside', async (t) => {
  const { box, path, fail, keep, nurse, learned } = await sandbox(t, false)
  await fail()
  for (const damage of ['{ half', '{}', '[{ "fingerprint": 7 }]']) {
    keep()
    writeFileSync(path, damage)
    const said = expect.stringMatching(/learned-remedies\.json is damaged/)
    expect(await learned()).toMatchObject({ code: 0, stderr: said })
    expect(readFileSync(path, 'utf8')).toBe(damage)
  }
  await nurse()
  const names = readdirSync(join(box.stateDir, 'watchdog'))
  expect(names.some((name) => name.startsWith('learned-remedies.json.corrupt-'))).toBe(true)
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
    /a{12} {2}seen, healed once[\s\S]*a{12} {2}proposed, healed 2 times[\s\S]*set_config "agents\.defaults\.model\.primary" "a\/b", start_gateway[\s\S]*b{12} {2}dropped/,
  )
  const text = readFileSync(path, 'utf8')
  for (const args of [
    ['dry-run', 'approve', one],
    ['reject', two, '--dry-run'],
  ])
    expect(await learned(...args)).toMatchObject({ code: 0, stdout: expect.stringMatching(/^would be/) })
  expect(readFileSync(path, 'utf8')).toBe(text)

  // Of two for one failure the proposed one is meant.
  expect((await learned('approve', one)).code).toBe(0)
  expect(statuses()).toEqual(['seen', 'approved', 'dropped'])
  for (const word of ['reject', 'approve']) expect((await learned(word, two)).code).toBe(0)
  expect(statuses()).toEqual(['seen', 'approved', 'approved'])

  for (const args of [
    ['approve', 'c'.repeat(12)],
    ['reject', 'x; rm'],
  ])
    expect(await learned(...args), args.join(' ')).toMatchObject({ code: 1, stdout: '' })
  for (const args of [['approve'], ['apply', one], ['approve', one, two], ['list', one]])
    expect(await learned(...args), args.join(' ')).toMatchObject({ code: 2, stdout: '' })
  expect(await learned('--help')).toMatchObject({ code: 0, stdout: expect.stringMatching(/npm run learned approve/) })
  const bad = await box.runScript('learned', [], { env: { LEARNED_REMEDIES: 'maybe' } })
  expect(bad).toMatchObject({ code: 2, stderr: expect.stringMatching(/^learned: LEARNED_REMEDIES="maybe": expected/) })
})

test('what is learned: acts that were done, of one failure, twice the same, and few', async (t) => {
  const { box } = await sandbox(t, false)
  const settings = (mode: string) => loadSettings({ ...box.env, LEARNED_REMEDIES: mode })
  const act = (name: string, decision: InstrumentCall['decision'] = 'done', acts = true): InstrumentCall => ({
    ...{ at: 1, name, args: {}, acts, decision },
  })
  const failure = (evidence: string) => ({ verdict: 'absent', evidence })
  const heal = (evidence: string, some: InstrumentCall[], mode = 'ask') =>
    learn(settings(mode), failure(evidence), some, (problem) => expect.fail(problem))
  const all = () => readRemedies(settings('ask')).value

  // Numbers differ every time, words tell one failure from another.
  expect(fingerprintOf(failure('pid 12 on 18789'))).toBe(fingerprintOf(failure('pid 4711 on 1')))
  expect(fingerprintOf(failure('a'))).not.toBe(fingerprintOf(failure('b')))
  expect(fingerprintOf({ verdict: 'hung', evidence: 'a' })).not.toBe(fingerprintOf(failure('a')))

  const looks = [act('read_log', 'done', false)]
  const vain = [act('start_gateway', 'refused'), act('start_gateway', 'failed')]
  const many = Array.from({ length: 6 }, () => act('restart_gateway'))
  for (const none of [[], looks, vain, many]) for (let i = 0; i < 2; i++) expect(heal('x', none)).toBeUndefined()
  expect(all()).toEqual([])

  const one = [...looks, act('start_gateway'), act('set_config', 'refused')]
  const other = [act('restart_gateway')]
  expect(heal('pid 1', one)).toBeUndefined()
  expect(heal('pid 2', other)).toBeUndefined()
  expect(heal('elsewhere', one)).toBeUndefined()
  expect(heal('pid 3', one)).toMatch(/npm run learned approve [0-9a-f]{12}/)
  expect(heal('pid 4', one)).toBeUndefined()
  expect(all().map(({ status, healed }) => `${status} ${healed}`)).toEqual(['seen 1', 'seen 1', 'proposed 3'])
  expect(all().at(-1)!.calls).toEqual(calls('start_gateway'))
  expect(heal('pid 6', other, 'on')).toMatch(/LEARNED_REMEDIES=on/)
  expect(heal('pid 7', one, 'off')).toBeUndefined()
})
