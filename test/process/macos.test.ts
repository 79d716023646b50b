/**
 * What macos.yml runs on a Mac, in its order, on one machine whose launchd, crontab and gateway are stand-ins. Minutes pass,
 * and cron runs its lines, when the test says so.
 */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { hostname, userInfo } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, type TestContext, test } from 'vitest'
import { parse } from 'yaml'
import { createMachine, DOMAIN, HEALTHCHECK, runCronLine, WATCHDOG } from '../support/machine.ts'
import { projectDir, waitFor } from '../support/sandbox.ts'
import { collect, type Run } from '../support/script-process.ts'

const GATEWAY = 'ai.openclaw.gateway'

async function mac({ onTestFinished }: TestContext) {
  // The steps bring their own gateway and its config.
  const settings = { OPENCLAW_PULSE_INTERVAL: '60' }
  const machine = await createMachine('mac', { settings, runsTiers: true, absent: ['openclaw'] })
  onTestFinished(machine.close)
  rmSync(machine.configPath)
  const launchd = machine.launchd!
  const outputs = join(machine.root, 'outputs')
  const env: Record<string, string> = {
    ...machine.env,
    ...{ THROW_AWAY_MAC: 'yes', OUTPUTS: outputs, STAND_IN_CONTROL: machine.controlDir },
    OPENCLAW_GATEWAY_PORT: String(machine.port),
    // Of all its limits: other tests run beside this one.
    PATIENCE: '4',
  }
  const plistutil = '/usr/bin/plistutil'
  machine.addTool('plutil', existsSync(plistutil) ? `exec ${plistutil} -f json -i "$2" -o /dev/null` : 'exit 0')
  for (const tool of ['npm', 'npx']) machine.addTool(tool, 'echo "$0 $*"')
  // Of this machine's processes it would find those of other tests.
  machine.addTool('pgrep', 'exit 1')

  function run(command: string, more: Record<string, string> = {}): Promise<Run> {
    const child = spawn('/bin/sh', ['-c', command], { env: { ...env, ...more }, cwd: projectDir, stdio: 'pipe' })
    return collect(child, command, 500_000)
  }

  async function isRunning(label: string): Promise<boolean> {
    return /^\tstate = running$/m.test((await launchd.call('print', `${DOMAIN}/${label}`)).stdout ?? '')
  }

  return { machine, launchd, outputs, run, isRunning }
}

test('each step of the workflow passes on a machine that does what a Mac has to do', async (context) => {
  const { machine, launchd, outputs, run } = await mac(context)
  /** What launchd and cron do while a step runs. */
  const meanwhile: Record<string, (isOver: () => boolean) => Promise<void>> = {
    async schedule(isOver) {
      for (; !isOver(); await sleep(200)) launchd.passMinutes(1)
    },
    async cron(isOver) {
      for (; !isOver(); await sleep(200)) for (const line of machine.cronLines()) await runCronLine(line)
    },
  }

  const { jobs } = parse(readFileSync(join(projectDir, '.github', 'workflows', 'macos.yml'), 'utf8'))
  const commands = (jobs.launchd.steps as { run?: string }[]).flatMap(({ run: command }) => command ?? [])
  const ours = commands.filter((command) => command.startsWith('sh test/macos/'))
  for (const command of ours) {
    let isOver = false
    const ended = run(command).finally(() => (isOver = true))
    await meanwhile[command.split(' ').at(-1)!]?.(() => isOver)
    const ran = await ended
    expect(ran, `${command}\n${ran.stdout}`).toMatchObject({ code: 0, stderr: '' })
  }
  // The rest is npm's and Homebrew's.
  expect(commands.filter((command) => !ours.includes(command)).map((command) => command.split(' ')[0])).toEqual([
    'npm',
    'brew',
  ])
  expect(machine.jobs()).toEqual([GATEWAY])
  const kept = (name: string) => readFileSync(join(outputs, `${name}.txt`), 'utf8')
  expect(kept('running-print')).toMatch(
    /^\$ launchctl print gui\/\d+\/ai\.openclaw\.gateway\n[\s\S]*\tstate = running\n/,
  )
  expect(kept('unloaded-print')).toMatch(/Could not find service[\s\S]*\[exit 113\]\n$/)
})

test('a step fails where a Mac would not do that, and none runs on a machine that is not to be broken', async (context) => {
  const { machine, launchd, run, isRunning } = await mac(context)
  expect((await run('sh test/macos/steps.sh gateway', { THROW_AWAY_MAC: '' })).code).toBe(2)
  expect((await run('sh test/macos/steps.sh no-such-step')).code).toBe(2)
  expect(launchd.calls).toEqual([])
  writeFileSync(join(machine.stateDir, 'self-healing.paused'), '')
  await machine.succeeds()
  for (const label of [WATCHDOG, HEALTHCHECK]) await waitFor(async () => !(await isRunning(label)), 'the first run')
  const failed = expect.objectContaining({ code: 1, stderr: expect.stringContaining('FAILED: ') })
  for (const step of ['killed', 'schedule', 'escalation', 'cron'])
    expect(await run(`sh test/macos/steps.sh ${step}`, { PATIENCE: '0' }), step).toEqual(failed)
  launchd.plan('bootstrap', { code: 125, stderr: 'Bootstrap failed: 125: Domain does not support specified action\n' })
  expect(await run('sh test/macos/steps.sh gateway')).toEqual(failed)
  machine.addTool('npx', 'exit 1')
  expect(await run('sh test/macos/steps.sh tests')).toEqual(failed)
  machine.addTool('plutil', 'echo "$2: Encountered unexpected EOF"; exit 1')
  expect(await run('sh test/macos/steps.sh plists')).toEqual(failed)
})

test('what people send us is one file that says how their launchd is, and nothing that is only theirs', async (context) => {
  const { machine, launchd, outputs, run } = await mac(context)
  const token = 'stand-in-token-0123456789'
  machine.writeConfig()
  const plist = join(machine.agentsDir, `${GATEWAY}.plist`)
  mkdirSync(machine.agentsDir, { recursive: true })
  const variable = (name: string, value: string) => `<key>${name}</key><string>${value}</string>`
  const variables = variable('OPENCLAW_GATEWAY_TOKEN', 'abc-def') + variable('PET', 'a-cat')
  writeFileSync(plist, `<dict><key>EnvironmentVariables</key><dict>${variables}</dict></dict>\n`)
  machine.writeCrontab(
    "*/5 * * * * /bin/sh '/openclaw/scripts/run-tier.sh' watchdog-guardian\n0 4 * * * /backups/of/mine\n1 1 * * * PIN=four openclaw agent --message 'dear diary'\n",
  )
  const job = `${DOMAIN}/${GATEWAY} = {\n\tactive count = 1\n\tstate = running\n\tpid = 77\n\tenvironment = {\n\t\tPET => a-cat\nand-a-dog\n\t\tNODE_PETS => 2-cats\n\t\tOPENCLAW_GATEWAY_PORT => 18789\n\t}\n\targuments = {\n\t\t${machine.home}/node\n\t\t--token\n\t\tonly-here\n\t\t--password=${token}\n\t\thttps://example.org/in/hook\n\t}\n}\n`
  launchd.plan(`print ${DOMAIN}/${GATEWAY}`, { code: 0, stdout: job })
  const domain = `${DOMAIN} = {\n\ttype = login\n\ton-demand count = 1\n\tenvironment = {\n\t\tPET => a-cat\n\t}\n\tservices = {\n\t\t   0      -     \tcom.example.other-program\n\t\t  77      -     \t${GATEWAY}\n\t}\n}\n`
  launchd.plan(`print ${DOMAIN}`, { code: 0, stdout: domain })
  launchd.plan('print-disabled', { code: 0, stdout: '\t"com.example.other-program" => enabled\n' })
  machine.addTool('lsof', `printf 'p12\\nf3\\nn127.0.0.1:${machine.port}\\np34\\nf4\\nn*:8080\\n'`)
  const { username } = userInfo()
  machine.addTool('pmset', `echo 'AC of ${username} on ${hostname()}'`)

  const file = join(machine.root, 'outputs.txt')
  expect(await run(`sh test/macos/outputs.sh '${outputs}'`)).toMatchObject({ code: 0, stderr: '' })
  const share = `node --import tsx test/macos/share.ts '${outputs}' '${file}'`
  expect(await run(share)).toMatchObject({ code: 0, stderr: '' })
  const text = readFileSync(file, 'utf8')
  for (const line of [
    '\ton-demand count = 1',
    `\t\t  77      -     \t${GATEWAY}`,
    '\tstate = running',
    '\t\tPET => [hidden]',
    '\t\tOPENCLAW_GATEWAY_PORT => 18789',
    '\t\t~/node',
    'AC of USER on HOST',
    `p12\nn127.0.0.1:${machine.port}`,
    "*/5 * * * * /bin/sh '/openclaw/scripts/run-tier.sh' watchdog-guardian",
  ])
    expect(text).toContain(`${line}\n`)
  for (const theirs of [
    token,
    'only-here',
    'abc-def',
    'a-cat',
    'a-dog',
    '2-cats',
    'org/in/hook',
    'four',
    'diary',
    'other-program',
    '8080',
    '/backups/of/mine',
    machine.home,
  ])
    expect(text).not.toContain(theirs)
})
