/** More gateways in a sandbox, each of an OpenClaw profile of its own: folders, port, `.env`, config. */
import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, openSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from './ports.ts'
import type { RunOptions, Sandbox } from './sandbox.ts'
import { waitFor } from './wait-for.ts'

export type Profile = Awaited<ReturnType<typeof addProfile>>

/** @param settings for its `.env`, beside its port and the sandbox's short waits */
export async function addProfile(box: Sandbox, name: string, settings: Record<string, string> = {}) {
  const stateDir = join(box.home, `.openclaw-${name}`)
  const memoryDir = join(box.home, `openclaw-${name}`, 'memory')
  const configPath = join(stateDir, 'openclaw.json')
  const port = await freePort()
  const env = { OPENCLAW_PROFILE: name }
  mkdirSync(join(stateDir, 'logs'), { recursive: true })
  writeConfig()
  const inherited = readFileSync(join(box.stateDir, '.env'), 'utf8').replace(/^OPENCLAW_GATEWAY_PORT=.*\n/m, '')
  const own = Object.entries(settings).map(([key, value]) => `${key}="${value}"\n`)
  writeFileSync(join(stateDir, '.env'), inherited + own.join(''), { mode: 0o600 })

  /** A config that boots; its port is the one that the tiers go by, too: the `.env` names none. */
  function writeConfig(gatewayPort = port, more: Record<string, unknown> = {}): void {
    const gateway = {
      mode: 'local',
      port: gatewayPort,
      bind: 'loopback',
      auth: { mode: 'token', token: `token-of-${name}` },
    }
    const logging = { file: join(box.root, 'tmp', `openclaw-${name}.log`) }
    writeFileSync(configPath, JSON.stringify({ gateway, logging, ...more }, null, 2), { mode: 0o600 })
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
    await waitFor(() => isLive(at), `the gateway of ${name}`)
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
  function log(beginning = ''): string {
    if (!existsSync(memoryDir)) return ''
    const names = readdirSync(memoryDir).filter((one) => one.startsWith(beginning))
    return names.map((one) => readFileSync(join(memoryDir, one), 'utf8')).join('')
  }

  return { name, port, stateDir, memoryDir, configPath, writeConfig, startGateway, gatewayPid, run, log }
}

async function isLive(port: number): Promise<boolean> {
  try {
    return (await fetch(`http://127.0.0.1:${port}/startupz`)).status === 200
  } catch {
    return false
  }
}
