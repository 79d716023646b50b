/** The stage with the real OpenClaw as its own user service: one machine with a real systemd for all. */
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bootPatientMachine, CHECKOUT, slowly } from '../real/patient-machine.ts'
import { USER } from '../support/container.ts'
import { waitFor } from '../support/wait-for.ts'
import type { SystemdScene } from './fault.ts'
import type { Performance } from './play.ts'
import { lockedPid, nodeOptions, removeCopies, SETTINGS, undoings } from './scene.ts'

const UNIT = 'openclaw-gateway.service'
/** Its network is its own: Node's usual one. */
const DEBUG_PORT = 9229

export async function buildSystemdStage() {
  const machine = await bootPatientMachine('systemd')
  const { must, tries, stateDir, configPath } = machine
  const config = readFileSync(configPath, 'utf8')
  const dropIns = `${USER.home}/.config/systemd/user/${UNIT}.d`
  const inbox = join(machine.home, 'received.json')
  let readBefore = 0

  const systemctl = (...args: string[]) => must('systemctl', '--user', ...args)
  const unit = async (property: string) => (await systemctl('show', UNIT, `--property=${property}`, '--value')).trim()
  const until = async (property: string, value: string) =>
    void (await slowly(async () => (await unit(property)) === value, `${property} ${value}`, 300_000))
  const isRunning = async (pid: number) => (await tries('kill', '-0', String(pid))).code === 0
  const pidNow = async () => lockedPid(stateDir, USER.uid)
  const startup = () => tries('curl', '-sm', '5', 'http://127.0.0.1:18789/startupz')
  const isReady = async () => /"status":"started"/.test((await startup()).stdout)
  const script = (name: string) => `${CHECKOUT}/test/faults/${name}`
  const received = (): { url: string; requests: { text: string; problems: string[] }[] } =>
    JSON.parse(readFileSync(inbox, 'utf8'))

  async function writeDropIn(name: string, text: string): Promise<void> {
    await must('mkdir', '-p', dropIns)
    writeFileSync(join(machine.root, dropIns, name), text)
    await systemctl('daemon-reload')
  }

  async function inGateway(code: string): Promise<void> {
    await must('kill', '-USR1', String(await pidNow()))
    const run = () => tries('node', script('in-gateway.mjs'), String(DEBUG_PORT), code)
    await slowly(async () => (await run()).code === 0, 'its debugger', 60_000)
  }

  async function restartUserManager(): Promise<void> {
    await machine.runAsRoot(['systemctl', 'restart', `user@${USER.uid}.service`])
    const isUp = async () => (await tries('systemctl', '--user', 'is-system-running')).stdout.trim() === 'running'
    await slowly(isUp, "the user's systemd", 60_000)
  }

  /** Everything as it was, with a gateway that is live as its service: the one of the fault before, if it is. */
  async function reset(settings: Record<string, string>): Promise<void> {
    machine.writeEnv({ ...SETTINGS, DISCORD_WEBHOOK_URL: received().url, ...settings })
    if (!existsSync(configPath) || readFileSync(configPath, 'utf8') !== config) machine.writeConfig(config.trimEnd())
    removeCopies(stateDir)
    // The starts of the fault before do not count towards systemd's limit.
    await tries('systemctl', '--user', 'reset-failed', UNIT)
    if (!(await machine.isHealthy()) || (await unit('MainPID')) !== String(await pidNow())) {
      await tries('pkill', '-9', '-x', 'openclaw-gatewa')
      await systemctl('start', UNIT)
    }
    await slowly(isReady, 'the gateway', 300_000)
    await machine.ageBoots()
    for (const folder of [machine.watchdogDir, machine.memoryDir]) rmSync(folder, { recursive: true, force: true })
    readBefore = received().requests.length
  }

  async function open(settings: Record<string, string> = {}): Promise<Performance<SystemdScene>> {
    await reset(settings)
    const { onClose, undo } = undoings()
    const scene: SystemdScene = {
      machine,
      port: 18789,
      pid: await pidNow(),
      stateDir,
      configPath,
      writeConfig: (text) => machine.writeConfig(`${text}\n`),
      log: machine.log,
      async signal(this: SystemdScene, signal, pid = this.pid) {
        await must('kill', `-${signal.slice('SIG'.length)}`, String(pid))
        if (signal === 'SIGKILL') await waitFor(async () => !(await isRunning(pid)), `the end of ${pid}`)
      },
      pidNow,
      isLive: () => machine.isHealthy(),
      onClose,
      systemctl,
      unit,
      until,
      async changeUnit(text) {
        await writeDropIn('fault.conf', text)
        onClose(async () => {
          rmSync(join(machine.root, dropIns, 'fault.conf'), { force: true })
          await systemctl('daemon-reload')
        })
      },
      inGateway,
      restartUserManager,
    }
    return {
      scene,
      run: (name) => machine.level(name),
      examine: async () => (await must('node', script('say-verdict.ts'))).trim(),
      processes: async () => (await must('ps', '-u', USER.name, '-o', 'pid=')).trim().split(/\s+/).map(Number),
      received: () => {
        const requests = received().requests.slice(readBefore)
        return { texts: requests.map(({ text }) => text), problems: requests.flatMap(({ problems }) => problems) }
      },
      close: undo,
    }
  }

  await must('sh', '-c', `nohup node ${script('receive.ts')} ${USER.home}/received.json >/dev/null 2>&1 &`)
  await waitFor(() => existsSync(inbox), 'the receiver', 60_000)
  await must('openclaw', 'gateway', 'install')
  await writeDropIn('debug.conf', `[Service]\nEnvironment="NODE_OPTIONS=${nodeOptions(DEBUG_PORT)}"\n`)
  // So that it starts with that.
  await systemctl('restart', UNIT)
  return { open, close: machine.stop }
}
