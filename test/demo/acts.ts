/** The four acts of the demo: one fault each, made on the stand-in gateway, and what the real tier scripts do about it. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { isLive as isLiveAt } from '../faults/scene.ts'
import { type Sandbox, waitFor } from '../support/sandbox.ts'
import { startStranger } from '../support/stranger.ts'
import type { WebhookReceiver } from '../support/webhook-receiver.ts'
import { type ActResult, act, discord, excerpt, narrate, say, tierSays } from './stage.ts'

export interface Scene {
  sandbox: Sandbox
  receiver: WebhookReceiver
}

/** Thrown when an act does not go as it should; the message is what the closing table says. */
class NotAsItShould extends Error {}

function expectThat(condition: boolean, otherwise: string): void {
  if (!condition) throw new NotAsItShould(otherwise)
}

type Tier = 'gateway-watchdog' | 'gateway-healthcheck' | 'emergency-recovery-monitor'

const TICKS: Record<Tier, string> = {
  'gateway-watchdog': 'The watchdog ticks (in life every 180 s).',
  'gateway-healthcheck': 'The health check ticks (in life every 300 s, and at once when the watchdog escalates).',
  'emergency-recovery-monitor': 'The monitor ticks (in life every 5 minutes, from cron).',
}

/** Runs a tier's script as it is installed, its lines live in the commentary, and holds it to its exit code. */
async function tick({ sandbox }: Scene, tier: Tier, expectedCode: 0 | 1): Promise<void> {
  narrate(TICKS[tier])
  const running = sandbox.startScript(tier, [], { timeoutMs: 90_000 })
  let rest = ''
  running.child.stdout!.on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop()!
    for (const line of lines) tierSays(line.replaceAll(sandbox.home, '~'))
  })
  const told = followDoctor(sandbox)
  const { code, signal, stderr } = await running.finished
  told.stop()
  if (stderr.trim()) say('stderr', stderr.trim(), 'red')
  expectThat(code === expectedCode, `${tier} ended with ${code ?? signal} instead of ${expectedCode}`)
}

/** Tells in the commentary what the doctor does, as it does it. */
function followDoctor(sandbox: Sandbox): { stop: () => void } {
  let seen = sandbox.events().length
  const look = () => {
    const events = sandbox.events()
    for (const { what } of events.slice(seen)) {
      const m = /^doctor (called|was refused) (\w+): ([^\n]*)/.exec(what)
      if (!m) continue
      const answer = m[3]!.replaceAll(sandbox.home, '~')
      if (m[1] === 'called') say('doctor', `${m[2]}: ${answer}`)
      else say('doctor', `${m[2]}: ${answer}`, 'yellow')
    }
    seen = events.length
  }
  const timer = setInterval(look, 100)
  return {
    stop: () => {
      clearInterval(timer)
      look()
    },
  }
}

const isLive = ({ sandbox }: Scene) => isLiveAt(sandbox.port, 2000)

const boots = ({ sandbox }: Scene) => sandbox.events().filter(({ what }) => what === 'boot').length

/** Ends the running gateway, if one is running, as a power cut would. */
async function killGateway(scene: Scene): Promise<void> {
  const { sandbox } = scene
  const pid = sandbox.events().findLast(({ what }) => what === 'ready')?.pid
  if (pid !== undefined && sandbox.processes().includes(pid)) process.kill(pid, 'SIGKILL')
  await waitFor(async () => !(await isLive(scene)), 'the end of the gateway')
}

/** Runs one act; whatever goes wrong in it ends up in the table. */
async function perform(number: number, name: string, fault: string, play: () => Promise<string>): Promise<ActResult> {
  act(number, name)
  const started = performance.now()
  let healedBy = 'nobody'
  let problem: string | undefined
  try {
    healedBy = await play()
  } catch (error) {
    problem = (error as Error).message
    say('demo', `Not as it should: ${problem}`, 'red')
  }
  return { fault, healedBy, seconds: (performance.now() - started) / 1000, problem }
}

export function crash(scene: Scene): Promise<ActResult> {
  return perform(1, 'the gateway crashes', 'crash (kill -9)', async () => {
    await killGateway(scene)
    say('gateway', 'killed with SIGKILL; nobody answers on its port', 'red')
    const before = boots(scene)
    await tick(scene, 'gateway-watchdog', 0)
    expectThat(await isLive(scene), 'the gateway is not live')
    expectThat(boots(scene) === before + 1, `${boots(scene) - before} starts instead of 1`)
    return 'level 1'
  })
}

export function brokenConfig(scene: Scene): Promise<ActResult> {
  const { sandbox } = scene
  return perform(2, 'somebody breaks the config', 'broken config', async () => {
    const good = readFileSync(sandbox.configPath, 'utf8')
    sandbox.writeConfig(good.trimEnd().slice(0, -1))
    say('somebody', 'edits openclaw.json and loses its last brace', 'red')
    const before = boots(scene)
    await tick(scene, 'gateway-watchdog', 0)
    expectThat(boots(scene) === before, 'the watchdog restarted a gateway that ran well on its old config')
    narrate(
      'The running gateway lives on its old config, so it was warned about and not restarted. Then the power fails:',
    )
    await killGateway(scene)
    say('gateway', 'killed with SIGKILL; it would now refuse to start, with exit code 78', 'red')
    await tick(scene, 'gateway-watchdog', 1)
    expectThat(boots(scene) === before, 'the watchdog spent a restart that could not help')
    await tick(scene, 'gateway-healthcheck', 0)
    expectThat(await isLive(scene), 'the gateway is not live')
    expectThat(readFileSync(sandbox.configPath, 'utf8') === good, 'the known-good config is not back')
    expectThat(boots(scene) === before + 1, `${boots(scene) - before} starts instead of 1`)
    return 'level 2'
  })
}

export function damagedPackage(scene: Scene): Promise<ActResult> {
  const { sandbox } = scene
  return perform(3, 'a fault that only the doctor can fix', 'damaged package', async () => {
    const missing = addPackageFile(sandbox)
    sandbox.setFaults({ missingModule: missing })
    sandbox.writeDoctorScript({
      steps: [
        { say: 'I look at the log first.', call: 'read_log', args: { log: 'gateway.log', lines: 5 } },
        {
          say: 'A file of the package is missing. I clear the package away.',
          call: 'bash',
          args: { command: `rm -rf ${sandbox.packageDir}` },
        },
        { say: 'I have no shell. I reinstall the same version.', call: 'reinstall_package' },
        { call: 'start_gateway' },
        { call: 'wait_until_healthy' },
      ],
      report: REPORT,
    })
    rmSync(missing)
    await killGateway(scene)
    say('gateway', `killed, and a file of its package is gone: ${missing.replace(sandbox.home, '~')}`, 'red')
    await tick(scene, 'gateway-watchdog', 1)
    await tick(scene, 'gateway-healthcheck', 0)
    expectThat(await isLive(scene), 'the gateway is not live')
    const refused = sandbox.events().some(({ what }) => what.startsWith('doctor was refused bash'))
    expectThat(refused, 'the doctor got a shell')
    const report = sandbox.memoryFiles('emergency-recovery-report-')[0]
    expectThat(report !== undefined, 'there is no report')
    narrate(`The doctor's report, ${report}:`)
    excerpt(readFileSync(join(sandbox.memoryDir, report!), 'utf8'))
    return 'level 3'
  })
}

const REPORT = {
  symptom: "The gateway exits at once: Cannot find module 'run-command.mjs'.",
  root_cause: "A file of OpenClaw's package was missing.",
  fix: 'Reinstalled the installed version: npm install -g openclaw@2026.9.6.',
  prevention: 'Do not tidy up inside node_modules.',
}

/** A file that OpenClaw's package needs, and an `npm` that can put it back. */
function addPackageFile(sandbox: Sandbox): string {
  const path = join(sandbox.packageDir, 'dist', 'run-command.mjs')
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, '')
  sandbox.addTool(
    'npm',
    `case "$*" in
      "install -g openclaw@2026.9.6") touch '${path}'; echo "changed 1 package" ;;
      *) echo "unknown to this npm: $*" >&2; exit 1 ;;
    esac`,
  )
  return path
}

export function foreignProcess(scene: Scene): Promise<ActResult> {
  const { sandbox, receiver } = scene
  return perform(4, 'a stranger on the port', 'foreign process on the port', async () => {
    narrate('On another machine, whose gateway was well so far:')
    await sandbox.startGateway()
    await tick(scene, 'gateway-watchdog', 0)
    await killGateway(scene)
    say('gateway', 'gone', 'red')
    const stranger = await startStranger(sandbox)
    say('somebody', `starts a development server on port ${sandbox.port}; it answers every request with 200`, 'red')
    await tick(scene, 'gateway-watchdog', 1)
    await tick(scene, 'gateway-healthcheck', 1)
    expectThat(stranger.isAlive(), 'the stranger was killed')
    const sent = receiver.delivered().length
    await tick(scene, 'emergency-recovery-monitor', 0)
    const [message, ...more] = receiver.delivered().slice(sent)
    expectThat(message !== undefined, 'no alert was delivered')
    narrate('What a human now sees in Discord:')
    discord(message!)
    expectThat(more.length === 0, `${more.length + 1} messages instead of 1`)
    expectThat(JSON.stringify(message).includes(String(stranger.pid)), 'the alert does not name the owner of the port')
    narrate('A second tick of the monitor must not repeat it.')
    await tick(scene, 'emergency-recovery-monitor', 0)
    expectThat(receiver.delivered().length === sent + 1, 'the alert was sent twice')
    return 'level 4: a human'
  })
}

/** Before the first act: everything is well, and the config proves itself. */
export async function prologue(scene: Scene): Promise<void> {
  const { sandbox } = scene
  narrate('A gateway starts: a stand-in with the title, endpoints, signals and exit codes of the real one.')
  const { pid } = await sandbox.startGateway()
  say('gateway', `live on http://127.0.0.1:${sandbox.port}/ (pid ${pid})`, 'green')
  await tick(scene, 'gateway-watchdog', 0)
  narrate(
    'Once it has been healthy for a while on one config (here a second, in life ten minutes), that config is kept.',
  )
  const kept = join(sandbox.stateDir, 'watchdog', 'known-good')
  await waitFor(async () => {
    if (existsSync(kept)) return true
    await sandbox.runScript('gateway-watchdog')
    return false
  }, 'a known-good config')
  say('level 1', 'healthy; config kept as known-good', 'green')
}
