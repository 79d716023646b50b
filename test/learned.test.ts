/** Learned remedies at their edges: edited by hand, for another failure, damaged, stopped in the midst; and their command. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, type TestContext, test, vi } from 'vitest'
import { approvedRemedy, type LearnedRemedy, learn, readRemedies } from '../lib/doctor/learned.ts'
import { fingerprintOf } from '../lib/doctor/limits.ts'
import type { InstrumentCall } from '../lib/doctor/session.ts'
import type { Examination } from '../lib/gateway/examine.ts'
import { loadSettings } from '../lib/tier/settings.ts'
import { createSandbox, type Sandbox, waitFor } from './support/sandbox.ts'

vi.setConfig({ testTimeout: 180_000 })
/** Most of it is waiting. */
const concurrently = test.concurrent

type Call = LearnedRemedy['calls'][number]
const calls = (...names: string[]): Call[] => names.map((name) => ({ name, args: {} }))
const set = (path: string, value: unknown): Call => ({ name: 'set_config', args: { path, value } })

/** A sandbox without a doctor, whose gateway dies for want of a file; `npm` brings that back. */
async function sandbox({ onTestFinished }: TestContext, settings: Record<string, string> = {}) {
  const box = await createSandbox({ absent: ['claude'], settings: { OPENCLAW_STARTUP_GRACE: '3', ...settings } })
  onTestFinished(box.close)
  const file = join(box.packageDir, 'dist', 'run-command.mjs')
  mkdirSync(join(box.packageDir, 'dist'), { recursive: true })
  box.addTool('npm', `touch '${file}'`)
  return { box, file }
}

async function breakPackage(box: Sandbox, file: string): Promise<void> {
  rmSync(file, { force: true })
  await box.startGateway({ missingModule: file }, 'exit')
}

const path = (box: Sandbox) => join(box.stateDir, 'watchdog', 'learned-remedies.json')
const remedies = (box: Sandbox) => JSON.parse(readFileSync(path(box), 'utf8')) as LearnedRemedy[]
const keep = (box: Sandbox, ...some: Partial<LearnedRemedy>[]) => {
  mkdirSync(join(box.stateDir, 'watchdog'), { recursive: true })
  const whole = { fingerprint: 'f'.repeat(12), verdict: 'absent', evidence: 'x', status: 'approved', healed: 2 }
  writeFileSync(
    path(box),
    JSON.stringify(some.map((one) => ({ ...whole, calls: [], at: '2026-11-22T05:44:10+09:00', ...one }))),
  )
}
const nurse = (box: Sandbox) => box.runScript('gateway-healthcheck')
/** What identifies the failure that Level 2 met last. */
const lastFailure = (box: Sandbox) => {
  const [, verdict = '', evidence = ''] = [...box.log('healthcheck').matchAll(/ DOWN ([a-z-]+): (.*)/g)].at(-1) ?? []
  return fingerprintOf({ verdict, evidence })
}
const used = (box: Sandbox) => box.log('healthcheck').match(/INSTRUMENT .*/g) ?? []

concurrently(
  'a remedy that does not help: its edits of the config are rolled back, and a human is called',
  async (t) => {
    const { box, file } = await sandbox(t)
    await breakPackage(box, file)
    await nurse(box)
    const config = readFileSync(box.configPath, 'utf8')
    keep(box, { fingerprint: lastFailure(box), calls: [set('logging.level', 'debug'), ...calls('start_gateway')] })
    const run = await nurse(box)
    expect(run.code).toBe(1)
    expect(used(box)).toEqual([
      'INSTRUMENT allowed set_config {"path":"logging.level","value":"debug"}',
      'INSTRUMENT allowed start_gateway {}',
    ])
    expect(run.stdout).toMatch(
      /NOTICE the learned remedy \w+ did not help and is dropped \(broken-install: .*\); its edits of the config were rolled back\n[\s\S]*ESCALATE to level 3[\s\S]*MANUAL INTERVENTION REQUIRED/,
    )
    expect(readFileSync(box.configPath, 'utf8')).toBe(config)
    expect(remedies(box)[0]!.status).toBe('dropped')
    // What it was is kept whole beside the config, and without secrets beside the log.
    const kept = readdirSync(box.memoryDir).filter((name) => name.includes('config-'))
    for (const name of kept) expect(readFileSync(join(box.memoryDir, name), 'utf8')).not.toContain('stand-in-token')
    expect(
      existsSync(join(box.stateDir, 'watchdog', 'doctor')) && readdirSync(join(box.stateDir, 'watchdog', 'doctor')),
    ).toEqual([])

    // Once dropped, it is not tried again.
    await nurse(box)
    expect(used(box)).toHaveLength(2)
  },
)

concurrently('a file that was edited by hand does nothing that the policy does not allow', async (t) => {
  const { box, file } = await sandbox(t)
  await breakPackage(box, file)
  await nurse(box)
  const before = { config: readFileSync(box.configPath, 'utf8'), calls: box.openclawCalls() }
  const fingerprint = lastFailure(box)
  for (const bad of [
    [set('gateway.bind', 'lan')],
    [set('plugins.entries.evil.enabled', true)],
    [{ name: 'bash', args: { command: `touch ${box.root}/canary` } }],
    [{ name: 'constructor', args: {} }],
    [{ name: 'reinstall_package', args: { version: 'latest' } }],
    [{ name: 'end_gateway_process', args: { pid: 1 } }],
    [{ name: 'replace_in_config', args: { line: 5, old: 'loopback', new: 'lan' } }],
  ]) {
    keep(box, { fingerprint, calls: [...bad, ...calls('reinstall_package', 'start_gateway')] })
    const run = await nurse(box)
    expect(run.code).toBe(1)
    expect(run.stdout).toMatch(/is dropped \(Refused: /)
    expect(remedies(box)[0]!.status).toBe('dropped')
  }
  // Nothing that stood behind the refused call was done, either.
  expect(used(box).every((one) => one.startsWith('INSTRUMENT refused '))).toBe(true)
  expect(existsSync(file)).toBe(false)
  expect(existsSync(join(box.root, 'canary'))).toBe(false)
  expect(readFileSync(box.configPath, 'utf8')).toBe(before.config)
})

concurrently(
  'another failure has no use for it; a proposed, rejected or once seen remedy is not applied',
  async (t) => {
    const { box, file } = await sandbox(t)
    await breakPackage(box, file)
    await nurse(box)
    const fingerprint = lastFailure(box)
    const remedy = { calls: calls('reinstall_package', 'start_gateway') }
    keep(
      box,
      { ...remedy, fingerprint: fingerprintOf({ verdict: 'absent', evidence: 'connection refused' }) },
      ...(['seen', 'proposed', 'rejected', 'dropped'] as const).map((status) => ({ ...remedy, fingerprint, status })),
    )
    expect((await nurse(box)).code).toBe(1)
    expect(used(box)).toEqual([])

    keep(box, { ...remedy, fingerprint })
    const run = await nurse(box)
    expect(run.code, run.stdout).toBe(0)
    expect(run.stdout).toMatch(/RECOVERED by level 2/)
  },
)

concurrently(
  'a config that its owner broke gets its remedy, though the known-good one was put back in between',
  async (t) => {
    const { box, file } = await sandbox(t, { CONFIG_KNOWN_GOOD_AFTER: '0' })
    const gateway = await box.startGateway()
    for (let tick = 0; tick < 2; tick++) await box.runScript('gateway-watchdog')
    process.kill(gateway.pid, 'SIGKILL')
    await waitFor(() => !box.processes().includes(gateway.pid), 'the end of the gateway')
    box.setFaults({ missingModule: file })
    box.writeConfig('{ "gateway": { "mode": "local" ')
    await nurse(box)
    expect(readFileSync(box.configPath, 'utf8')).toBe('{ "gateway": { "mode": "local" \n')
    const [, verdict = '', evidence = ''] = / DOWN ([a-z-]+): (.*is not JSON5.*)/.exec(box.log('healthcheck'))!
    keep(box, {
      fingerprint: fingerprintOf({ verdict, evidence }),
      calls: calls('restore_known_good_config', 'reinstall_package', 'start_gateway'),
    })
    const run = await nurse(box)
    expect(run.code, run.stdout).toBe(0)
    expect(run.stdout).toMatch(/INSTRUMENT allowed restore_known_good_config|RECOVERED by level 2/)
    expect(used(box).slice(-3)).toEqual(
      calls('restore_known_good_config', 'reinstall_package', 'start_gateway').map(
        ({ name }) => `INSTRUMENT allowed ${name} {}`,
      ),
    )
  },
)

concurrently('a damaged file is kept aside, and the log says so', async (t) => {
  const { box, file } = await sandbox(t)
  await breakPackage(box, file)
  for (const damage of ['{ half', '{}', '[{ "fingerprint": 7 }]']) {
    keep(box)
    writeFileSync(path(box), damage)
    expect(await box.runScript('learned')).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/learned-remedies\.json is damaged/),
    })
    expect(readFileSync(path(box), 'utf8')).toBe(damage)
  }
  const run = await nurse(box)
  expect(run.stdout).toMatch(
    /state file \S+learned-remedies\.json was damaged; kept as learned-remedies\.json\.corrupt-/,
  )
  expect(
    readdirSync(join(box.stateDir, 'watchdog')).some((name) => name.startsWith('learned-remedies.json.corrupt-')),
  ).toBe(true)
})

concurrently('told to stop in the midst of a remedy, Level 2 takes its edits back', async (t) => {
  const { box, file } = await sandbox(t)
  await breakPackage(box, file)
  await nurse(box)
  const config = readFileSync(box.configPath, 'utf8')
  keep(box, { fingerprint: lastFailure(box), calls: [set('logging.level', 'debug'), ...calls('reinstall_package')] })
  box.addTool('npm', 'sleep 60')
  const run = box.startScript('gateway-healthcheck')
  await waitFor(() => used(box).some((one) => one.includes('reinstall_package')), 'the second call')
  expect(readFileSync(box.configPath, 'utf8')).toContain('debug')
  process.kill(run.pid, 'SIGTERM')
  await run.finished
  expect(readFileSync(box.configPath, 'utf8')).toBe(config)
})

concurrently('the command lists, approves, rejects, and says what it cannot do', async (t) => {
  const { box } = await sandbox(t)
  const learned = (...args: string[]) => box.runScript('learned', args)
  const [one, two] = ['a'.repeat(12), 'b'.repeat(12)]
  const before = readdirSync(box.stateDir)
  expect(await learned()).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/Nothing was learned yet/),
    stderr: '',
  })
  expect(readdirSync(box.stateDir)).toEqual(before)
  keep(
    box,
    { fingerprint: one, status: 'seen', healed: 1, calls: calls('restart_gateway') },
    {
      fingerprint: one,
      status: 'proposed',
      calls: [set('agents.defaults.model.primary', 'a/b'), ...calls('start_gateway')],
    },
    { fingerprint: two, status: 'dropped', calls: calls('reinstall_package') },
  )
  const listed = await learned('list')
  expect(listed.stdout).toMatch(
    /a{12} {2}seen, healed once[\s\S]*a{12} {2}proposed, healed 2 times[\s\S]*set_config "agents\.defaults\.model\.primary" "a\/b", start_gateway[\s\S]*b{12} {2}dropped/,
  )

  const text = readFileSync(path(box), 'utf8')
  expect(await learned('dry-run', 'approve', one)).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^would be approved/),
  })
  expect(await learned('reject', two, '--dry-run')).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^would be rejected/),
  })
  expect(readFileSync(path(box), 'utf8')).toBe(text)

  // Of two for one failure the proposed one is meant.
  expect((await learned('approve', one)).code).toBe(0)
  expect(remedies(box).map(({ status }) => status)).toEqual(['seen', 'approved', 'dropped'])
  expect((await learned('reject', two)).code).toBe(0)
  expect((await learned('approve', two)).code).toBe(0)
  expect(remedies(box).map(({ status }) => status)).toEqual(['seen', 'approved', 'approved'])

  for (const args of [
    ['approve', 'c'.repeat(12)],
    ['reject', 'x; rm'],
  ])
    expect(await learned(...args), args.join(' ')).toMatchObject({ code: 1, stdout: '' })
  for (const args of [['approve'], ['apply', one], ['approve', one, two], ['list', one]])
    expect(await learned(...args), args.join(' ')).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringMatching(/^learned: .*\n\nLists what healed/),
    })
  expect(await learned('--help')).toMatchObject({ code: 0, stdout: expect.stringMatching(/npm run learned approve/) })
  const bad = await box.runScript('learned', [], { env: { LEARNED_REMEDIES: 'maybe' } })
  expect(bad).toMatchObject({ code: 2, stderr: expect.stringMatching(/^learned: LEARNED_REMEDIES="maybe": expected/) })
})

test('what is learned: acts that were done, of one failure, twice the same, and few', async (t) => {
  const { box } = await sandbox(t)
  const settings = (mode: string) => loadSettings({ ...box.env, LEARNED_REMEDIES: mode })
  const act = (name: string, decision: InstrumentCall['decision'] = 'done', acts = true): InstrumentCall => ({
    at: 1,
    name,
    args: {},
    acts,
    decision,
  })
  const failure = (evidence: string) => ({ verdict: 'absent', evidence })
  const warn = (problem: string) => expect.fail(problem)
  const heal = (evidence: string, some: InstrumentCall[], mode = 'ask') =>
    learn(settings(mode), failure(evidence), some, warn)
  const all = () => readRemedies(settings('ask')).value

  // Numbers differ every time, words tell one failure from another.
  expect(fingerprintOf(failure('pid 12 on 18789'))).toBe(fingerprintOf(failure('pid 4711 on 1')))
  expect(fingerprintOf(failure('a'))).not.toBe(fingerprintOf(failure('b')))
  expect(fingerprintOf({ verdict: 'hung', evidence: 'a' })).not.toBe(fingerprintOf(failure('a')))

  for (const none of [
    [],
    [act('read_log', 'done', false)],
    [act('start_gateway', 'refused'), act('start_gateway', 'failed')],
    Array.from({ length: 6 }, () => act('restart_gateway')),
  ])
    for (let i = 0; i < 2; i++) expect(heal('x', none)).toBeUndefined()
  expect(all()).toEqual([])

  const [one, other] = [
    [act('read_log', 'done', false), act('start_gateway'), act('set_config', 'refused')],
    [act('restart_gateway')],
  ]
  expect(heal('pid 1', one)).toBeUndefined()
  expect(heal('pid 2', other)).toBeUndefined()
  expect(heal('elsewhere', one)).toBeUndefined()
  expect(heal('pid 3', one)).toMatch(
    /start_gateway healed "absent" 2 times; approve it with `npm run learned approve [0-9a-f]{12}`/,
  )
  expect(heal('pid 4', one)).toBeUndefined()
  expect(all().map(({ status, healed }) => [status, healed])).toEqual([
    ['seen', 1],
    ['seen', 1],
    ['proposed', 3],
  ])
  expect(all().at(-1)!.calls).toEqual([{ name: 'start_gateway', args: {} }])

  const seen = failure('pid 5') as Examination
  expect(approvedRemedy(settings('ask'), seen, warn)).toBeUndefined()
  expect(approvedRemedy(settings('on'), seen, warn)).toMatchObject({ status: 'proposed' })
  expect(heal('pid 6', other, 'on')).toMatch(/Level 2 applies it from now on/)
  expect(heal('pid 7', one, 'off')).toBeUndefined()
  expect(existsSync(path(box))).toBe(true)
  expect(approvedRemedy(settings('off'), seen, warn)).toBeUndefined()
  expect(existsSync(path(box))).toBe(false)
})
