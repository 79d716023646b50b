/** More gateways in a sandbox, each of an OpenClaw profile of its own: folders, port, `.env`, config. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from './ports.ts'
import type { RunOptions, Sandbox } from './sandbox.ts'
import { waitFor } from './wait-for.ts'

export async function addProfile(box: Sandbox, name: string) {
  const stateDir = join(box.home, `.openclaw-${name}`)
  const memoryDir = join(box.home, `openclaw-${name}`, 'memory')
  const configPath = join(stateDir, 'openclaw.json')
  const port = await freePort()
  const env = { OPENCLAW_PROFILE: name }
  mkdirSync(join(stateDir, 'logs'), { recursive: true })
  writeConfig(port)
  const settings = readFileSync(join(box.stateDir, '.env'), 'utf8').replace(/^OPENCLAW_GATEWAY_PORT=.*\n/m, '')
  writeFileSync(join(stateDir, '.env'), settings, { mode: 0o600 })

  /** A config that boots; the tiers take the port from it, because the `.env` names none. */
  function writeConfig(gatewayPort: number): void {
    const auth = { mode: 'token', token: `token-of-${name}` }
    const gateway = { mode: 'local', port: gatewayPort, bind: 'loopback', auth }
    const logging = { file: join(box.root, 'tmp', `openclaw-${name}.log`) }
    writeFileSync(configPath, JSON.stringify({ gateway, logging }, null, 2), { mode: 0o600 })
  }

  /** Starts its gateway as `openclaw --profile <name> gateway run` would, and waits until it is live. */
  async function startGateway(at = port): Promise<number> {
    const out = openSync(join(stateDir, 'logs', 'gateway.log'), 'a')
    spawn(join(box.binDir, 'openclaw'), ['gateway', 'run'], {
      env: { ...box.env, ...env, OPENCLAW_STATE_DIR: stateDir, OPENCLAW_CONFIG_PATH: configPath },
      cwd: '/',
      detached: true,
      stdio: ['ignore', out, out],
    }).unref()
    const status = () => fetch(`http://127.0.0.1:${at}/startupz`).catch(() => ({ status: 0 }))
    await waitFor(async () => (await status()).status === 200, `the gateway of ${name}`)
    return gatewayPid()!
  }

  /** The pid in its lock file. */
  function gatewayPid(): number | undefined {
    const path = join(stateDir, 'tmp', `openclaw-${process.getuid!()}`, 'gateway.state.lock')
    return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')).pid as number) : undefined
  }

  const run = (script: string, args: string[] = [], options: RunOptions = {}) =>
    box.runScript(script, args, { ...options, env: { ...env, ...options.env } })

  /** The text of its logs whose names begin so. */
  function log(beginning: string): string {
    const names = existsSync(memoryDir) ? readdirSync(memoryDir).filter((one) => one.startsWith(beginning)) : []
    return names.map((one) => readFileSync(join(memoryDir, one), 'utf8')).join('')
  }

  return { name, port, stateDir, memoryDir, configPath, writeConfig, startGateway, gatewayPid, run, log }
}
