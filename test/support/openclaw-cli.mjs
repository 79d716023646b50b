/**
 * A stand-in for the `openclaw` command: what a watcher or a doctor may ask, answered with the words and exit codes of
 * OpenClaw 2026.9.6 on a machine where no service is installed (measured). Every call is put on record; one that
 * nobody planned for ends with 64, and the sandbox then fails the test.
 */
import { appendFileSync, mkdirSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { readFaults, readJson, recordEvent, registerProcess } from './control.mjs'
import { configPath, configuredPort, readConfig, stateDir } from './stand-in-config.mjs'
import { lockHolder, runGateway } from './stand-in-gateway.mjs'

const args = process.argv.slice(2)
const json = args.includes('--json')
const command = args.filter((arg) => !arg.startsWith('--')).join(' ') || args.join(' ')
recordEvent(`openclaw ${args.join(' ')}`)

/** A test's own answers, for the cases where the real one answers something else: `{"gateway restart": {"code": 2}}`. */
const planned = readJson('cli-answers.json')?.[command]
if (planned) {
  if (planned.stdout) process.stdout.write(planned.stdout)
  if (planned.stderr) process.stderr.write(planned.stderr)
  if (planned.hangs) setInterval(() => {}, 60_000)
  process.exitCode = planned.code ?? 0
  registerProcess()
} else await answer()

async function answer() {
  const { version = '2026.9.6' } = readFaults()
  switch (command) {
    case '--version':
      return print(`OpenClaw ${version} (0000000)`)
    case 'gateway run':
      return runGateway()
    case 'config validate':
      return validate()
    case 'gateway restart':
      return restart()
    case 'gateway start':
      return refuse('Gateway service disabled.', 'start')
    case 'gateway stop':
      return stop()
    case 'gateway status':
      return status(version)
    case 'status':
    case 'doctor':
      return print(`OpenClaw ${command}\nGateway ${(await running()) ? 'local · reachable' : 'local · unreachable'}`)
    case 'health':
      return health()
    default:
      process.stderr.write(`OpenClaw does not know the command "${args.join(' ')}".\n`)
      recordEvent(`unplanned: openclaw ${args.join(' ')}`)
      process.exitCode = 64
  }
}

function validate() {
  const { issues } = readConfig()
  if (issues.length === 0) return print(JSON.stringify({ valid: true, path: configPath, warnings: [] }))
  const error = { type: 'cli_error', message: 'OpenClaw config is invalid: ~/.openclaw/openclaw.json' }
  print(JSON.stringify({ ok: false, error, valid: false, path: configPath, issues }, null, 2))
  process.exitCode = 1
}

/** The real one asks a running gateway over its own protocol; here the signal does it. Down: it starts nothing. */
async function restart() {
  const pid = await running()
  if (pid === undefined) return refuse('Gateway service disabled.', 'restart')
  lifecycle('restart', 'rpc', pid)
  process.kill(pid, 'SIGUSR2')
  const message = `Gateway restart request sent to foreground process on port ${configuredPort(readConfig())}: ${pid}.`
  print(json ? JSON.stringify({ action: 'restart', ok: true, result: 'restarted', message }) : message)
}

async function stop() {
  if (!args.includes('--force'))
    return refuse(
      "This stops the operator's running gateway service. Use an isolated dev gateway, or re-run with --force if you really mean it.",
      'stop',
    )
  const pid = await running()
  if (pid === undefined) return print('Gateway service disabled.')
  lifecycle('stop', 'sigterm', pid)
  process.kill(pid, 'SIGTERM')
  print(`Gateway stop signal sent to unmanaged process on port ${configuredPort(readConfig())}: ${pid}.`)
}

async function status(version) {
  const port = configuredPort(readConfig())
  const pid = await running()
  const listeners = pid === undefined ? [] : [{ pid, command: 'openclaw-gatewa', address: `127.0.0.1:${port}` }]
  const rpc = pid === undefined ? { ok: false, error: `connect ECONNREFUSED 127.0.0.1:${port}` } : { ok: true, version }
  const logFile = readConfig().value.logging?.file
  const service = { label: 'no supported service manager detected', loaded: false }
  const described = { logFile, service, port: { port, status: listeners.length ? 'busy' : 'free', listeners }, rpc }
  print(JSON.stringify(described, null, 2))
}

async function health() {
  if (await running()) return print(JSON.stringify({ ok: true, channels: {} }))
  print(JSON.stringify({ ok: false, error: { type: 'gateway_transport_error', kind: 'timeout', timeoutMs: 60_000 } }))
  process.exitCode = 1
}

/** The pid of the gateway that answers on the configured port, by its lock file. */
function running() {
  const port = configuredPort(readConfig())
  return new Promise((resolve) => {
    const req = request({ host: '127.0.0.1', port, path: '/health', timeout: 2000, agent: false }, (res) => {
      res.resume()
      res.on('end', () => resolve(lockHolder()))
    })
    req.on('timeout', () => req.destroy(new Error('timeout')))
    req.on('error', () => resolve(undefined))
    req.end()
  })
}

function lifecycle(action, mode, pid) {
  mkdirSync(join(stateDir, 'logs'), { recursive: true })
  appendFileSync(
    join(stateDir, 'logs', 'gateway-restart.log'),
    `[${new Date().toISOString()}] openclaw gateway lifecycle source=cli action=${action} mode=${mode} pid=${pid} interactive=0\n`,
  )
}

function refuse(error, action) {
  if (json) print(JSON.stringify({ action, ok: false, error }))
  else process.stderr.write(`${error}\nTip: openclaw gateway install\n`)
  process.exitCode = 1
}

function print(text) {
  process.stdout.write(`${text}\n`)
}
