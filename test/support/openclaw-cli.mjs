/**
 * A stand-in for the `openclaw` command: what a tier or a doctor may ask, answered with the words and exit codes of
 * OpenClaw 2026.9.6 on a machine where no service is installed (measured). Every call is put on record; one that
 * is not planned ends with 64, and the sandbox then fails the test.
 */
import { readFaults, readJson, recordEvent } from './control.mjs'
import { configPath, configuredPort, lockHolder, readConfig, runGateway } from './stand-in-gateway.mjs'

const args = process.argv.slice(2)
const command = args.filter((arg) => !arg.startsWith('--')).join(' ') || args.join(' ')
recordEvent(`openclaw ${args.join(' ')}`)

const ANSWERS = {
  '--version': () => print(`OpenClaw ${readFaults().version ?? '2026.9.6'} (0000000)`),
  'gateway run': runGateway,
  'config validate': validate,
  'gateway restart': restart,
  status: describe,
  doctor: describe,
  'gateway stability latest': describe,
  'channels status': () => print(JSON.stringify({ channelOrder: [], channelAccounts: {}, statusIssues: [] })),
  'models status': () => print(JSON.stringify({ auth: { oauth: { providers: [] }, unusableProfiles: [] } })),
}

/** A test's own answers, for the cases where the real one answers something else: `{"gateway restart": {"code": 2}}`. */
const planned = readJson('cli-answers.json')?.[command]
if (planned) {
  process.stdout.write(planned.stdout ?? '')
  process.stderr.write(planned.stderr ?? '')
  if (planned.hangs) setInterval(() => {}, 60_000)
  process.exitCode = planned.code ?? 0
} else if (command in ANSWERS) await ANSWERS[command]()
else {
  recordEvent(`unplanned: openclaw ${args.join(' ')}`)
  fail(64, `OpenClaw does not know the command "${args.join(' ')}".`)
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
  if (pid === undefined) return fail(1, 'Gateway service disabled.\nTip: openclaw gateway install')
  process.kill(pid, 'SIGUSR2')
  print(`Gateway restart request sent to foreground process: ${pid}.`)
}

async function describe() {
  print(`OpenClaw ${command}\nGateway local · ${(await running()) ? 'reachable' : 'unreachable'}`)
}

/** The pid of the gateway that answers on the configured port, by its lock file. */
async function running() {
  const url = `http://127.0.0.1:${configuredPort(readConfig())}/health`
  const response = await fetch(url, { signal: AbortSignal.timeout(2000) }).catch(() => undefined)
  await response?.body?.cancel()
  return response && lockHolder()
}

function print(text) {
  process.stdout.write(`${text}\n`)
}

function fail(code, text) {
  process.stderr.write(`${text}\n`)
  process.exitCode = code
}
