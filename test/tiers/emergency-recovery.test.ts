/** Level 3 as a process, with a scripted doctor in a real tmux. */
import { spawn, spawnSync } from 'node:child_process'
import { appendFileSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, type TestContext, test } from 'vitest'
import { breakPackage, type DoctorScript } from '../support/doctor-script.ts'
import { commandLineOf } from '../support/processes-of-home.ts'
import { createSandbox, type Sandbox, type SandboxOptions, waitFor } from '../support/sandbox.ts'

const REPORT = {
  symptom: 'The gateway exits at once.',
  root_cause: 'A file of the package was missing.',
  fix: 'Reinstalled the same version with npm.',
  lessons: 'Look for MODULE_NOT_FOUND in the log first.',
}

const concurrently = test.concurrent

/** A gateway that only a reinstallation brings back. */
async function patient({ onTestFinished }: TestContext, options: SandboxOptions = {}): Promise<Sandbox> {
  const box = await createSandbox(options)
  onTestFinished(box.close)
  breakPackage(box)
  return box
}

const recover = (box: Sandbox, env: Record<string, string> = {}, args: string[] = []) =>
  box.runScript('emergency-recovery', args, { env, timeoutMs: 180_000 })

/** A doctor that edits the config, and one that then goes on working. */
const edit = (value: string) => ({ call: 'set_config', args: { path: 'logging.level', value } })
const WORKING = { waitMs: 60_000 }
const config = (box: Sandbox) => readFileSync(box.configPath, 'utf8')
/** Level 3 with a doctor that takes these steps, as soon as it has its prompt. */
async function atWork(t: TestContext, steps: DoctorScript['steps']) {
  const box = await patient(t, { settings: { DOCTOR_SAME_FAILURE_HOURS: '0' } })
  box.writeDoctorScript({ steps })
  const before = config(box)
  const run = box.startScript('emergency-recovery')
  await waitFor(() => box.prompts().length === 1, 'the prompt')
  return { box, run, before }
}
const doctorDid = (box: Sandbox, what: string) =>
  waitFor(() => box.events().some((one) => one.what.startsWith(what)), what)

const markers = (box: Sandbox) => box.log('emergency-recovery-2').match(/MANUAL INTERVENTION REQUIRED: .*/g) ?? []
const doctors = (box: Sandbox) => box.events().filter(({ what }) => what === 'doctor started').length
const soleFile = (box: Sandbox, beginning: string) => {
  expect(box.memoryFiles(beginning), beginning).toHaveLength(1)
  return box.log(beginning)
}
/** Processes of the sandbox other than the gateway and the shell that waits for its exit code, by their command lines. */
const leftovers = (box: Sandbox) =>
  box.processes().flatMap((pid) => {
    const command = commandLineOf(pid)
    return /^$|^openclaw|bare-gateway-end/.test(command) ? [] : [command]
  })
const sockets = (box: Sandbox) =>
  readdirSync(join(box.root, 'tmp'), { recursive: true, encoding: 'utf8' }).filter((name) => name.includes('doctor-'))
/** What was ended just now may be listed for a moment longer. */
const nothingRuns = (box: Sandbox) =>
  waitFor(() => leftovers(box).length + sockets(box).length === 0, 'the end of all that it started', 10_000)

concurrently('it repairs, what is refused is not done, and the next doctor has its lesson', async (t) => {
  // A doctor that is not there is skipped for the next one.
  const box = await patient(t, { settings: { DOCTOR_SAME_FAILURE_HOURS: '0', DOCTOR: 'codex claude' } })
  const before = config(box)
  box.writeDoctorScript({
    steps: [
      { call: 'set_config', args: { path: 'gateway.bind', value: 'lan' } },
      { call: 'bash', args: { command: 'rm -rf ~' } },
      { say: 'I reinstall it.', call: 'reinstall_package' },
      { call: 'start_gateway' },
      { call: 'wait_until_healthy', args: { seconds: 30 } },
    ],
    report: REPORT,
  })
  const first = await recover(box)
  expect(first.code, first.stdout).toBe(0)
  expect(first.stdout).toMatch(/RECOVERED by level 3 after \d+ s/)
  expect(markers(box)).toEqual([])
  expect(config(box)).toBe(before)
  expect(box.log('emergency-recovery-2').match(/INSTRUMENT refused (?:set_config|bash) /g)).toHaveLength(2)

  // Told once, the whole briefing.
  expect(box.prompts()).toEqual([
    expect.stringMatching(/^# [\s\S]*Cannot find module[\s\S]*Carry out the mission now\.$/),
  ])
  expect(box.prompts()[0]).not.toContain('TRY THIS FIRST')
  expect(soleFile(box, 'emergency-recovery-report')).toMatch(
    /A file of the package was missing[\s\S]*recovered by the doctor[\s\S]*set_config gateway\.bind lan/,
  )
  const recording = soleFile(box, 'claude-session')
  expect(recording).toMatch(/I reinstall it\.[\s\S]*> reinstall_package/)
  expect(recording).not.toContain('\u001b')
  expect(soleFile(box, 'recovery-learnings')).toMatch(/\*\*Root cause:\*\* A file of the package was missing\./)
  for (const name of box.memoryFiles()) expect(statSync(join(box.memoryDir, name)).mode & 0o777, name).toBe(0o600)
  await nothingRuns(box)
  expect(readdirSync(join(box.stateDir, 'watchdog', 'doctor'))).toEqual([])

  expect((await recover(box)).code).toBe(0)
  expect(doctors(box)).toBe(1)

  const gateway = box.events().findLast(({ what }) => what === 'ready')!.pid
  process.kill(gateway, 'SIGKILL')
  // Also of the shell that notes how it ended.
  await waitFor(() => box.processes().length === 0, 'the end of the gateway')
  await box.startGateway({ missingModule: breakPackage(box) }, 'exit')
  const second = await recover(box)
  expect(second.code, second.stdout).toBe(0)
  expect(box.prompts()[1]).toMatch(
    /TRY THIS FIRST: Reinstalled the same version with npm\.[\s\S]*Look for MODULE_NOT_FOUND in the log first\./,
  )
})

concurrently.for<[string, (box: Sandbox) => unknown, number, RegExp]>([
  [
    'everything is paused',
    (box) => writeFileSync(join(box.stateDir, 'self-healing.paused'), ''),
    3,
    /everything was paused/,
  ],
  [
    'the gateway comes back',
    (box) => box.startGateway({}),
    0,
    /RECOVERED by itself or from outside[\s\S]*\*\*Outcome:\*\* recovered by itself/,
  ],
  [
    'its terminal is ended',
    (box) => spawnSync('tmux', ['-S', join(box.root, 'tmp', sockets(box)[0]!), 'kill-server']),
    1,
    /the tmux session of Claude Code is gone/,
  ],
])('the session ends when %s', async ([, happen, code, words], t) => {
  const { box, run } = await atWork(t, [{ call: 'validate_config' }, WORKING])
  await happen(box)
  const ended = await run.finished
  expect(ended.code, ended.stdout).toBe(code)
  expect(`${ended.stdout}${box.log('emergency-recovery-report')}${box.log('recovery-learnings')}`).toMatch(words)
  expect(markers(box)).toHaveLength(code === 1 ? 1 : 0)
  await nothingRuns(box)
})

concurrently('without tmux or without an agent the human is called at once', async (t) => {
  const box = await patient(t, { absent: ['tmux', 'claude'] })
  expect((await recover(box)).code).toBe(1)
  box.addTool('tmux', 'exit 1')
  expect((await recover(box)).code).toBe(1)
  const reasons = [/tmux is not installed/, /claude \(Claude Code\) is not on the PATH/]
  expect(markers(box)).toEqual(reasons.map((words) => expect.stringMatching(words)))
})

concurrently.for<[string, DoctorScript, RegExp, Record<string, string>?]>([
  ['is not signed in', { mode: 'login' }, /not signed in \(Not logged in · Please run \/login\)/],
  ['ends at its start', { mode: 'exits' }, /ended early .*Claude Code could not start/],
  ['never says a word', { mode: 'silent' }, /not connected to its instruments/, { CLAUDE_STARTUP_WAIT: '3' }],
  ['has no instruments', { mode: 'no-instruments', steps: [WORKING] }, /not connected to its instruments .*failed/],
  ['falls silent', { mode: 'hangs' }, /no sign of work/, { EMERGENCY_RECOVERY_IDLE_LIMIT: '2' }],
  ['works too long', { steps: [WORKING] }, /the time of .* was over/, { EMERGENCY_RECOVERY_TIMEOUT: '4' }],
])('a doctor that %s: the human is called, with the reason', async ([, script, words, settings], t) => {
  const box = await patient(t, { settings: { EMERGENCY_RECOVERY_IDLE_LIMIT: '60', ...settings } })
  box.writeDoctorScript(script)
  const run = await recover(box)
  expect(run.code, run.stdout).toBe(1)
  expect(markers(box)).toEqual([expect.stringMatching(words)])
  // The marker is among the log's last words, and says what is wrong with the gateway.
  expect(run.stdout.trim().split('\n').slice(-2)[0]).toMatch(/MANUAL INTERVENTION REQUIRED.*broken-install/)
  await nothingRuns(box)
})

concurrently('told to stop, it calls the human, ends the doctor and rolls its edit back', async (t) => {
  const { box, run, before } = await atWork(t, [edit('debug'), WORKING])
  await doctorDid(box, 'doctor called set_config')
  process.kill(run.pid, 'SIGTERM')
  expect((await run.finished).code).toBe(1)
  expect(markers(box)).toEqual([expect.stringMatching(/stopped before it was done/)])
  expect(config(box)).toBe(before)
  expect(readdirSync(box.stateDir).filter((name) => name.includes('before-doctor'))).toEqual([])
  await nothingRuns(box)
  expect(soleFile(box, 'claude-session')).toContain('connected to its instruments')
})

concurrently('a vain edit is rolled back; no second doctor unless something changed; an edit may stay', async (t) => {
  const box = await patient(t)
  const before = config(box)
  const human_needed = 'The disk of the database is failing.'
  box.writeDoctorScript({ steps: [edit('debug')], report: { ...REPORT, human_needed } })
  expect((await recover(box)).code).toBe(1)
  await doctorDid(box, 'doctor called set_config')
  expect(config(box)).toBe(before)
  expect(markers(box)).toEqual([
    expect.stringMatching(/has finished, and the gateway is not healthy.*the doctor says: The disk of the database is/),
  ])
  expect((await recover(box)).stdout).toMatch(/MANUAL.*called for this same failure at .*nothing has changed/)
  expect(doctors(box)).toBe(1)
  appendFileSync(box.configPath, '\n// edited\n')
  const keep_config_edits = 'The log level helps to see it.'
  box.writeDoctorScript({ steps: [edit('debug')], report: { ...REPORT, keep_config_edits } })
  expect((await recover(box)).code).toBe(1)
  expect(doctors(box)).toBe(2)
  expect(config(box)).toContain('"level": "debug"')
  expect(box.log('emergency-recovery-2')).toContain(keep_config_edits)
})

concurrently('the doctor of a killed run can change nothing more, and the next run clears up', async (t) => {
  const { box, run, before } = await atWork(t, [edit('debug'), { untilFile: 'go-on' }, edit('trace'), WORKING])
  await doctorDid(box, 'doctor called set_config')
  expect((await recover(box)).code).toBe(3)
  process.kill(run.pid, 'SIGKILL')
  await run.finished
  writeFileSync(join(box.controlDir, 'go-on'), '')
  await doctorDid(box, 'doctor was refused set_config')
  expect(JSON.parse(config(box)).logging.level).toBe('debug')
  expect(leftovers(box)).not.toEqual([])
  expect((await recover(box, { DOCTOR_MAX_PER_DAY: '0' })).code).toBe(1)
  expect(markers(box)).toEqual([expect.stringMatching(/DOCTOR_MAX_PER_DAY=0/)])
  expect(doctors(box)).toBe(1)
  expect(config(box)).toBe(before)
  await nothingRuns(box)
})

concurrently('OpenClaw’s own triage is waited for; no doctor is called when it brings the gateway back', async (t) => {
  const box = await patient(t)
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
  const box = await patient(t)
  const before = readdirSync(box.home, { recursive: true }).sort()
  const run = await recover(box, {}, ['--dry-run'])
  expect(run.code).toBe(1)
  expect(run.stdout).toMatch(/broken-install[\s\S]*dry run: level 3 would now: doctor/)
  expect(readdirSync(box.home, { recursive: true }).sort()).toEqual(before)
  expect(doctors(box)).toBe(0)
})
