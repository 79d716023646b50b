/** Level 3 as a process, with a scripted doctor in a real tmux. */
import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, type TestContext, test, vi } from 'vitest'
import type { DoctorScript } from '../support/doctor-script.ts'
import { createSandbox, type Sandbox, type SandboxOptions, waitFor } from '../support/sandbox.ts'

// On a machine that does other things, too, a visit takes its time.
vi.setConfig({ testTimeout: 180_000 })

const REPORT = {
  symptom: 'The gateway exits at once.',
  root_cause: 'A file of the package was missing.',
  fix: 'Reinstalled the same version with npm.',
  lessons: 'Look for MODULE_NOT_FOUND in the log first.',
}

/** Most of a session is waiting, so that several fit beside each other. */
const concurrently = test.concurrent

async function sandbox({ onTestFinished }: TestContext, options: SandboxOptions = {}): Promise<Sandbox> {
  const box = await createSandbox(options)
  onTestFinished(box.close)
  return box
}

const recover = (box: Sandbox, env: Record<string, string | undefined> = {}, args: string[] = []) =>
  box.runScript('emergency-recovery', args, { env, timeoutMs: 180_000 })

/** A gateway that dies for want of a file which only a reinstallation brings back; npm does that here. */
async function breakPackage(box: Sandbox): Promise<void> {
  const file = join(box.packageDir, 'dist', 'run-command.mjs')
  mkdirSync(join(box.packageDir, 'dist'), { recursive: true })
  rmSync(file, { force: true })
  box.addTool('npm', `[ "$*" = "install -g openclaw@2026.9.6" ] && touch '${file}' && echo "changed 1 package"`)
  await box.startGateway({ missingModule: file }, 'exit')
}

const REINSTALL: DoctorScript = {
  steps: [
    { say: 'I reinstall it.', call: 'reinstall_package' },
    { call: 'start_gateway' },
    { call: 'wait_until_healthy', args: { seconds: 30 } },
  ],
  report: REPORT,
}

/** A doctor that edits the config, and one that then goes on working. */
const edit = (value: string) => ({ call: 'set_config', args: { path: 'logging.level', value } })
const WORKING = { waitMs: 60_000 }
const config = (box: Sandbox) => readFileSync(box.configPath, 'utf8')
/** Level 3 with a doctor that takes these steps, as soon as it has its prompt. */
async function atWork(t: TestContext, steps: DoctorScript['steps'], settings: Record<string, string> = {}) {
  const box = await sandbox(t, { settings })
  await breakPackage(box)
  box.writeDoctorScript({ steps })
  const before = config(box)
  const run = box.startScript('emergency-recovery')
  await waitFor(() => box.prompts().length === 1, 'the prompt')
  return { box, run, before }
}
const edited = (box: Sandbox) =>
  waitFor(() => box.events().some(({ what }) => what.startsWith('doctor called set_config')), 'the edit')

const markers = (box: Sandbox) => box.log('emergency-recovery-2').match(/MANUAL INTERVENTION REQUIRED: .*/g) ?? []
const doctors = (box: Sandbox) => box.events().filter(({ what }) => what === 'doctor started').length
const soleFile = (box: Sandbox, beginning: string) => {
  const names = box.memoryFiles(beginning)
  expect(names, `files that begin with ${beginning}`).toHaveLength(1)
  return readFileSync(join(box.memoryDir, names[0]!), 'utf8')
}
/** Processes of the sandbox other than the gateway, by their command lines. */
const leftovers = (box: Sandbox) =>
  box.processes().flatMap((pid) => {
    const command = spawnSync('ps', ['-o', 'command=', '-p', String(pid)], { encoding: 'utf8' }).stdout.trim()
    return command === '' || command.startsWith('openclaw') ? [] : [command]
  })
const sockets = (box: Sandbox) =>
  readdirSync(join(box.root, 'tmp'), { recursive: true, encoding: 'utf8' }).filter((name) => name.includes('doctor-'))

const nothingRuns = (box: Sandbox) => expect([...leftovers(box), ...sockets(box)]).toEqual([])

concurrently(
  'the doctor repairs what restarts cannot; what is refused is not done; report, recording and learnings follow, and nothing stays behind',
  async (t) => {
    const box = await sandbox(t)
    await breakPackage(box)
    const before = config(box)
    const wishes = [
      { call: 'set_config', args: { path: 'gateway.bind', value: 'lan' } },
      { call: 'bash', args: { command: 'rm -rf ~' } },
    ]
    box.writeDoctorScript({ ...REINSTALL, steps: [...wishes, ...REINSTALL.steps!] })
    const run = await recover(box)
    expect(run.code, run.stdout).toBe(0)
    expect(run.stdout).toMatch(/RECOVERED by level 3 after \d+ s/)
    expect(markers(box)).toEqual([])
    expect(config(box)).toBe(before)
    expect(box.log('emergency-recovery-2').match(/INSTRUMENT refused (?:set_config|bash) /g)).toHaveLength(2)

    // Told once, the whole briefing.
    expect(box.prompts()).toEqual([
      expect.stringMatching(/^# [\s\S]*Cannot find module[\s\S]*Carry out the mission now\.$/),
    ])
    expect(soleFile(box, 'emergency-recovery-report')).toMatch(
      /A file of the package was missing[\s\S]*recovered by the doctor[\s\S]*set_config gateway\.bind lan/,
    )
    const recording = soleFile(box, 'claude-session')
    expect(recording).toMatch(/I reinstall it\.[\s\S]*> reinstall_package/)
    expect(recording).not.toContain('\u001b')
    expect(soleFile(box, 'recovery-learnings')).toMatch(/\*\*Root cause:\*\* A file of the package was missing\./)
    for (const name of box.memoryFiles()) expect(statSync(join(box.memoryDir, name)).mode & 0o777, name).toBe(0o600)

    nothingRuns(box)
    expect(readdirSync(join(box.stateDir, 'watchdog', 'doctor'))).toEqual([])

    // Healthy, it needs no doctor.
    expect((await recover(box)).code).toBe(0)
    expect(doctors(box)).toBe(1)
  },
)

concurrently('a pause ends the session: the doctor goes, the report says why, and no human is called', async (t) => {
  const { box, run } = await atWork(t, [{ call: 'validate_config' }, WORKING])
  writeFileSync(join(box.stateDir, 'self-healing.paused'), '')
  const { code, stdout } = await run.finished
  expect(code, stdout).toBe(3)
  expect(markers(box)).toEqual([])
  expect(soleFile(box, 'emergency-recovery-report')).toContain('everything was paused')
  nothingRuns(box)
})

concurrently('a recovery from outside is not the doctor’s', async (t) => {
  const { box, run } = await atWork(t, [{ call: 'validate_config' }, WORKING])
  await box.startGateway({})
  const { code, stdout } = await run.finished
  expect(code, stdout).toBe(0)
  expect(stdout).toMatch(/RECOVERED by itself or from outside/)
  expect(soleFile(box, 'recovery-learnings')).toMatch(/\*\*Outcome:\*\* recovered by itself or from outside/)
})

concurrently.for<[string, SandboxOptions, RegExp]>([
  ['tmux', { absent: ['tmux'] }, /tmux is not installed/],
  ['an agent', { absent: ['claude'] }, /claude \(Claude Code\) is not on the PATH/],
  ['a session left for today', { settings: { DOCTOR_MAX_PER_DAY: '0' } }, /DOCTOR_MAX_PER_DAY=0/],
])('without %s the human is called at once', async ([, options, words], t) => {
  const box = await sandbox(t, options)
  await breakPackage(box)
  expect((await recover(box)).code).toBe(1)
  expect(markers(box)).toEqual([expect.stringMatching(words)])
  expect(doctors(box)).toBe(0)
})

concurrently.for<[string, DoctorScript, RegExp, Record<string, string>?]>([
  ['is not signed in', { mode: 'login' }, /not signed in \(Not logged in · Please run \/login\)/],
  ['has no credit left', { mode: 'quota' }, /no quota or credit left \(Credit balance is too low/],
  ['cannot reach its service', { mode: 'service' }, /cannot reach its service \(API Error: 529 Overloaded/],
  ['ends at its start', { mode: 'exits' }, /ended early .*Claude Code could not start/],
  ['never says a word', { mode: 'silent' }, /not connected to its instruments/, { CLAUDE_STARTUP_WAIT: '3' }],
  ['speaks an unknown stream', { mode: 'strange' }, /not connected to its instruments/, { CLAUDE_STARTUP_WAIT: '3' }],
  ['has no instruments', { ...REINSTALL, mode: 'no-instruments' }, /not connected to its instruments .*failed/],
  ['falls silent', { mode: 'hangs' }, /no sign of work/, { EMERGENCY_RECOVERY_IDLE_LIMIT: '2' }],
  ['works too long', { steps: [WORKING] }, /the time of .* was over/, { EMERGENCY_RECOVERY_TIMEOUT: '4' }],
  ['gives up', { steps: [{ say: 'I cannot repair this.' }] }, /has finished, and the gateway is not healthy/],
  [
    'says that a human is needed',
    { report: { ...REPORT, human_needed: 'The disk of the database is failing.' } },
    /the doctor says: The disk of the database is failing/,
  ],
])('a doctor that %s: the human is called, with the reason', async ([, script, words, settings], t) => {
  const box = await sandbox(t, { settings: { EMERGENCY_RECOVERY_IDLE_LIMIT: '60', ...settings } })
  await breakPackage(box)
  box.writeDoctorScript(script)
  const run = await recover(box)
  expect(run.code, run.stdout).toBe(1)
  expect(markers(box)).toEqual([expect.stringMatching(words)])
  // The marker is among the log's last words, and says what is wrong with the gateway.
  expect(run.stdout.trim().split('\n').slice(-2)[0]).toMatch(/MANUAL INTERVENTION REQUIRED.*broken-install/)
  nothingRuns(box)
})

concurrently('a terminal that is ended from outside ends the session, and the human is called', async (t) => {
  const { box, run } = await atWork(t, [WORKING])
  spawnSync('tmux', ['-S', join(box.root, 'tmp', sockets(box)[0]!), 'kill-server'])
  expect((await run.finished).code).toBe(1)
  expect(markers(box)).toEqual([expect.stringMatching(/the tmux session of Claude Code is gone/)])
  nothingRuns(box)
})

concurrently(
  'told to stop, it leaves the marker, ends the doctor and everything that it started, and rolls its edit back',
  async (t) => {
    const { box, run, before } = await atWork(t, [edit('debug'), WORKING])
    await edited(box)
    process.kill(run.pid, 'SIGTERM')
    expect((await run.finished).code).toBe(1)
    expect(markers(box)).toEqual([expect.stringMatching(/stopped before it was done/)])
    expect(config(box)).toBe(before)
    expect(readdirSync(box.stateDir).filter((name) => name.includes('before-doctor'))).toEqual([])
    nothingRuns(box)
    expect(soleFile(box, 'claude-session')).toContain('connected to its instruments')
  },
)

concurrently('an edit that does not help is rolled back; one that should stay stays', async (t) => {
  const box = await sandbox(t, { settings: { DOCTOR_SAME_FAILURE_HOURS: '0' } })
  await breakPackage(box)
  const before = config(box)
  box.writeDoctorScript({ steps: [edit('debug')], report: REPORT })
  expect((await recover(box)).code).toBe(1)
  await edited(box)
  expect(config(box)).toBe(before)
  const keep_config_edits = 'The log level helps to see it.'
  box.writeDoctorScript({ steps: [edit('debug')], report: { ...REPORT, keep_config_edits } })
  expect((await recover(box)).code).toBe(1)
  expect(JSON.parse(config(box)).logging.level).toBe('debug')
  expect(box.log('emergency-recovery-2')).toContain(keep_config_edits)
})

concurrently(
  'a second run stands down; once the first is killed its doctor can change nothing more, and the next run clears up',
  async (t) => {
    const goOn = join('/tmp', `go-on-${process.pid}`)
    t.onTestFinished(() => rmSync(goOn, { force: true }))
    const { box, run } = await atWork(t, [edit('debug'), { untilFile: goOn }, edit('trace'), WORKING], {
      DOCTOR_SAME_FAILURE_HOURS: '0',
    })
    await edited(box)
    expect((await recover(box)).code).toBe(3)
    expect(doctors(box)).toBe(1)
    process.kill(run.pid, 'SIGKILL')
    await run.finished
    writeFileSync(goOn, '')
    const isRefused = () => box.events().some(({ what }) => what.startsWith('doctor was refused set_config'))
    await waitFor(isRefused, 'the refusal')
    expect(JSON.parse(config(box)).logging.level).toBe('debug')
    expect(leftovers(box)).not.toEqual([])
    box.writeDoctorScript(REINSTALL)
    const next = await recover(box)
    expect(next.code, next.stdout).toBe(0)
    expect(config(box)).not.toMatch(/debug|trace/)
    nothingRuns(box)
  },
)

concurrently('no second doctor for the same unchanged failure; a changed config is a reason to call one', async (t) => {
  const box = await sandbox(t, { settings: { EMERGENCY_RECOVERY_IDLE_LIMIT: '1' } })
  await breakPackage(box)
  box.writeDoctorScript({ steps: [{ say: 'No idea.' }] })
  expect((await recover(box)).code).toBe(1)
  expect((await recover(box)).stdout).toMatch(/MANUAL.*called for this same failure at .*nothing has changed/)
  expect(doctors(box)).toBe(1)
  writeFileSync(box.configPath, `${readFileSync(box.configPath, 'utf8')}\n// edited\n`)
  expect((await recover(box)).code).toBe(1)
  expect(doctors(box)).toBe(2)
})

concurrently('the same fault again: the second prompt carries the first lesson, to be tried first', async (t) => {
  // A doctor that is not there is skipped for the next one.
  const box = await sandbox(t, { settings: { DOCTOR_SAME_FAILURE_HOURS: '0', DOCTOR: 'codex claude' } })
  await breakPackage(box)
  box.writeDoctorScript(REINSTALL)
  const first = await recover(box)
  expect(first.code, first.stdout).toBe(0)
  const gateway = box.events().findLast(({ what }) => what === 'ready')!.pid
  process.kill(gateway, 'SIGKILL')
  await waitFor(() => !box.processes().includes(gateway), 'the end of the gateway')
  await breakPackage(box)
  const second = await recover(box)
  expect(second.code, second.stdout).toBe(0)
  expect(box.prompts()[0]).not.toContain('TRY THIS FIRST')
  expect(box.prompts()[1]).toContain('TRY THIS FIRST: Reinstalled the same version with npm.')
  expect(box.prompts()[1]).toContain('Look for MODULE_NOT_FOUND in the log first.')
})

concurrently('OpenClaw’s own triage is waited for; no doctor is called when it brings the gateway back', async (t) => {
  const box = await sandbox(t)
  await breakPackage(box)
  const agent = `process.title = 'claude --safe-mode'; setInterval(() => {}, 1000)`
  const triage = `process.title = 'openclaw'; require('child_process').spawn(process.execPath, ['-e', process.env.AGENT], { stdio: 'inherit' }); setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['-e', triage], { env: { ...box.env, AGENT: agent }, stdio: 'ignore' })
  t.onTestFinished(() => void child.kill('SIGKILL'))
  await waitFor(() => leftovers(box).some((command) => command.startsWith('claude --safe-mode')), 'the triage')
  const run = box.startScript('emergency-recovery')
  await waitFor(() => box.log('emergency-recovery-2').includes('own triage is at work'), 'the waiting')
  await box.startGateway({})
  const { code, stdout } = await run.finished
  expect(code, stdout).toBe(0)
  expect(stdout).toMatch(/RECOVERED by itself or from outside/)
  expect(doctors(box)).toBe(0)
})

concurrently('a dry run says what it would do and changes nothing', async (t) => {
  const box = await sandbox(t)
  await breakPackage(box)
  const before = readdirSync(box.home, { recursive: true }).sort()
  const run = await recover(box, {}, ['--dry-run'])
  expect(run.code).toBe(1)
  expect(run.stdout).toMatch(/broken-install[\s\S]*dry run: level 3 would now: doctor/)
  expect(readdirSync(box.home, { recursive: true }).sort()).toEqual(before)
  expect(doctors(box)).toBe(0)
})
