/** More gateways in a sandbox, each of an OpenClaw profile of its own: folders, port, `.env`, config. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePort } from './ports.ts'
import type { RunOptions, Sandbox } from './sandbox.ts'

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

  const variables = { ...env, OPENCLAW_STATE_DIR: stateDir, OPENCLAW_CONFIG_PATH: configPath }
  /** Starts its gateway as `openclaw --profile <name> gateway run` would, and waits until it is live. */
  const startGateway = async () => (await box.startGateway({}, 'ready', variables)).pid

  function gatewayPid(): number | undefined {
    const path = join(stateDir, 'tmp', `openclaw-${process.getuid!()}`, 'gateway.state.lock')
    return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')).pid as number) : undefined
  }

  const run = (script: string, args: string[] = [], options: RunOptions = {}) =>
    box.runScript(script, args, { ...options, env: { ...env, ...options.env } })

  function log(beginning: string): string {
    const names = existsSync(memoryDir) ? readdirSync(memoryDir).filter((one) => one.startsWith(beginning)) : []
    return names.map((one) => readFileSync(join(memoryDir, one), 'utf8')).join('')
  }

  return { name, port, stateDir, memoryDir, configPath, writeConfig, startGateway, gatewayPid, run, log }
}
