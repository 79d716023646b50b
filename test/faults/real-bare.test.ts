/** The failures of the field against the real OpenClaw as a bare process: one sandbox for all, whose gateway lives on where it can. */
import { spawn } from 'node:child_process'
import {
  closeSync,
  existsSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { node24Bin, openclawBin } from '../real/parts.ts'
import { WITHOUT_HEARTBEAT } from '../real/real-sandbox.ts'
import { freePort } from '../support/ports.ts'
import { createSandbox } from '../support/sandbox.ts'
import { waitFor } from '../support/wait-for.ts'
import { startWebhookReceiver } from '../support/webhook-receiver.ts'
import type { RealScene } from './fault.ts'
import { type Performance, playAll } from './play.ts'
import { playStorms } from './real-storm.ts'
import {
  isLive,
  isRunning,
  lockedPid,
  needsMount,
  nodeOptions,
  onSmallDisk,
  removeCopies,
  SETTINGS,
  sandboxScene,
  undoings,
} from './scene.ts'
import { tiersIn } from './stand-in-stage.ts'

const MODULES = join(openclawBin, '..', '..')
const BOOT_LIMIT_MS = 300_000
/** The gateway's token is a reference to this variable. */
const SECRET = 'OPENCLAW_FAULTS_TOKEN'

async function buildRealStage() {
  const receiver = await startWebhookReceiver()
  const box = await createSandbox()
  const debugPort = await freePort()
  const claude = join(box.binDir, 'claude')
  const calls = join(box.root, 'openclaw-calls')
  const auth = { mode: 'token', token: { source: 'env', provider: 'default', id: SECRET } }
  const gateway = { mode: 'local', port: box.port, bind: 'loopback', auth }
  const logging = { file: join(box.root, 'tmp', 'openclaw.log') }
  box.writeConfig(JSON.stringify({ gateway, logging, ...WITHOUT_HEARTBEAT }, null, 2))
  const config = readFileSync(box.configPath, 'utf8')
  // The user's own Node; the tiers are run by that of this test run.
  rmSync(join(box.binDir, 'node'))
  symlinkSync(join(node24Bin, 'node'), join(box.binDir, 'node'))
  // A disk that can be filled. Without root it stays where it is.
  const unmount = needsMount() ? () => {} : onSmallDisk(box.stateDir, '400m')
  let saidBefore = 0

  function linkOpenClaw(modules: string): void {
    rmSync(join(box.binDir, 'openclaw'))
    symlinkSync(join(modules, 'openclaw', 'openclaw.mjs'), join(box.binDir, 'openclaw'))
  }

  const said = () => readFileSync(box.gatewayLog).subarray(saidBefore).toString('utf8')
  const until = async (words: RegExp) => void (await waitFor(() => words.test(said()), String(words), BOOT_LIMIT_MS))

  const isReady = async () => /\[gateway\] ready/.test(said()) && isLive(box.port)

  /** @param tries on a busy machine OpenClaw may give up by itself: it gives its lease 5 s (2026.9.6) */
  async function start(goal: 'live' | 'exit' | RegExp, tries = 3): Promise<number> {
    const written = () => statSync(box.gatewayLog, { throwIfNoEntry: false })
    // A supervisor leaves seconds between two runs, too. Within one, undated last words look like the line above them.
    await waitFor(() => Date.now() - (written()?.mtimeMs ?? 0) > 1500, 'a quiet log')
    saidBefore = written()?.size ?? 0
    const out = openSync(box.gatewayLog, 'a')
    const child = spawn(join(box.binDir, 'openclaw'), ['gateway', 'run'], {
      env: { ...box.env, BY_HAND: 'yes' },
      cwd: '/',
      detached: true,
      stdio: ['ignore', out, out],
    })
    closeSync(out)
    const hasEnded = () => child.exitCode !== null || child.signalCode !== null
    const isThere = async () => (goal === 'live' ? isReady() : goal !== 'exit' && goal.test(said()))
    await waitFor(async () => hasEnded() || (await isThere()), `the gateway: ${goal}`, BOOT_LIMIT_MS)
    if (goal === 'exit') return child.exitCode ?? -1
    if (hasEnded() && tries > 1 && /state lease heartbeat did not become ready/.test(said()))
      return start(goal, tries - 1)
    if (hasEnded()) throw new Error(`the gateway ended with ${child.exitCode}:\n${said()}`)
    return child.pid!
  }

  const openclaw = async (...args: string[]) => {
    const options = { env: box.env, extendEnv: false, reject: false, timeout: 120_000 }
    const { exitCode, stderr } = await execa(join(box.binDir, 'openclaw'), args, options)
    return { code: exitCode, stderr }
  }

  async function inDatabase(code: string): Promise<string> {
    const open = `const db = new (require('node:sqlite').DatabaseSync)(process.argv[1], { timeout: 60_000 })`
    const path = join(box.stateDir, 'state', 'openclaw.sqlite')
    const { stdout } = await execa(join(node24Bin, 'node'), ['-e', `${open}; ${code}; db.close()`, path])
    return stdout
  }

  async function inGateway(code: string): Promise<void> {
    process.kill(lockedPid(box.stateDir, process.getuid?.()), 'SIGUSR1')
    const run = () =>
      execa(join(node24Bin, 'node'), [join(import.meta.dirname, 'in-gateway.mjs'), String(debugPort), code], {
        reject: false,
      })
    await waitFor(async () => (await run()).exitCode === 0, 'its debugger', 60_000)
  }

  /** Everything as it was, with a gateway that is live: the one of the fault before, if it is. */
  async function reset(settings: Record<string, string>): Promise<void> {
    const options = `NODE_OPTIONS='${nodeOptions(debugPort)}'`
    box.addTool('openclaw', `[ "$BY_HAND" ] || echo "$*" >>'${calls}'; ${options} exec '${openclawBin}' "$@"`)
    writeFileSync(calls, '')
    if (existsSync(claude)) renameSync(claude, `${claude}.away`)
    rmSync(join(box.binDir, 'npm'), { force: true })
    // OpenClaw reads this file, too.
    box.writeEnvFile({ ...SETTINGS, [SECRET]: 'of-no-use-elsewhere', DISCORD_WEBHOOK_URL: receiver.url, ...settings })
    if (!existsSync(box.configPath) || readFileSync(box.configPath, 'utf8') !== config)
      writeFileSync(box.configPath, config)
    removeCopies(box.stateDir)
    if (!(await isLive(box.port))) {
      for (const pid of box.processes().filter(isRunning)) process.kill(pid, 'SIGKILL')
      await start('live')
    }
    // The gateway's own breaker counts the boots of five minutes that did not end well; ten minutes go by.
    await inDatabase(
      'db.exec("UPDATE gateway_boot_lifecycle SET started_at_ms = started_at_ms - 600000, completed_at_ms = completed_at_ms - 600000")',
    )
    for (const folder of [join(box.stateDir, 'watchdog'), join(box.stateDir, 'self-healing.paused'), box.memoryDir])
      rmSync(folder, { recursive: true, force: true })
    receiver.requests.length = 0
    truncateSync(box.gatewayLog)
    saidBefore = 0
  }

  async function open(settings: Record<string, string> = {}): Promise<Performance<RealScene>> {
    await reset(settings)
    const { onClose, undo } = undoings()
    const starts = () => readFileSync(calls, 'utf8').match(/^gateway run/gm)?.length ?? 0
    const own = { box, starts, modules: MODULES, linkOpenClaw, start, until, openclaw, inDatabase, inGateway }
    const bringDoctor = () => renameSync(`${claude}.away`, claude)
    const base = sandboxScene(box, lockedPid(box.stateDir, process.getuid?.()), onClose)
    return { scene: { ...base, ...own, bringDoctor }, ...tiersIn(box, receiver, 420_000), close: undo }
  }

  async function close(): Promise<void> {
    for (const pid of box.processes().filter(isRunning)) process.kill(pid, 'SIGKILL')
    unmount()
    await box.close()
    await receiver.close()
  }

  return { open, close }
}

playAll('real', buildRealStage)
playStorms(buildRealStage)
