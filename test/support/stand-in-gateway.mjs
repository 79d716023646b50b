/**
 * A stand-in for the OpenClaw gateway, a process of its own: the same title, endpoints, signals, lock files, refusals
 * and exit codes as OpenClaw 2026.9.6 (all measured on the real one), and faults on demand. It boots in a moment
 * where the real one takes ten seconds.
 */
import { createHash, randomUUID } from 'node:crypto'
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import JSON5 from 'json5'
import { readFaults, recordEvent } from './control.mjs'
import { talk } from './noise.mjs'

export const stateDir = process.env.OPENCLAW_STATE_DIR || join(process.env.HOME || homedir(), '.openclaw')
export const configPath = process.env.OPENCLAW_CONFIG_PATH || join(stateDir, 'openclaw.json')
const lockDir = join(stateDir, 'tmp', `openclaw-${process.getuid()}`)
const lockFiles = ['state', createHash('sha256').update(configPath).digest('hex').slice(0, 8)].map((name) =>
  join(lockDir, `gateway.${name}.lock`),
)

/** @type {'starting' | 'started' | 'draining'} */
let phase = 'starting'
let listeningSince = 0
let servers = []
let logFile
/** Whether the running gateway lets a signal restart it (`commands.restart`, read at boot). */
let restartAllowed = true

/** Runs the gateway; the process ends with it. */
export async function runGateway() {
  process.title = 'openclaw'
  const { version = '2026.9.6' } = readFaults()
  listenToSignals(version)
  await boot(version)
}

async function boot(version) {
  recordEvent('boot')
  const { exitAtBoot, missingModule, startingMs = 0 } = readFaults()
  if (missingModule && !existsSync(missingModule)) {
    // The real one loads its modules for seconds: these words stand apart from the last ones of the process before.
    await sleep(1200)
    leave(1, `[openclaw] Reason: Cannot find module '${missingModule}' imported from /app/entry.js`)
  }
  const config = readConfig()
  logFile = config.value.logging?.file
  log('gateway', 'loading configuration…')
  if (exitAtBoot) leave(exitAtBoot.code, exitAtBoot.stderr?.replace('RANDOM', randomUUID()))
  const refusal = bootRefusal(config)
  if (refusal) leave(78, now(refusal))
  restartAllowed = config.value.commands?.restart !== false
  process.title = 'openclaw-gateway'
  log('gateway', 'starting...')
  takeLocks()
  await whileHeldIn('boot')
  log('gateway', 'starting HTTP server...')
  await listen(configuredPort(config), version)
  recordEvent('listening')
  log('gateway', 'starting channels and sidecars...')
  await sleep(startingMs)
  if (phase !== 'starting') return
  phase = 'started'
  recordEvent('ready')
  log('gateway', 'ready')
  void chatter()
}

/** As long as it runs, at the rate that is set now. */
async function chatter() {
  for (let said = 0, sum = 0; phase === 'started'; await sleep(100)) {
    sum += (readFaults().noise ?? 0) / 10
    process.stdout.write(talk(said, Math.floor(sum)))
    said = Math.floor(sum)
  }
}

function leave(code, words) {
  if (words) process.stderr.write(`${words}\n`)
  recordEvent(`exit ${code}`)
  process.exit(code)
}

// --- its config: the refusals and words of the real one

const KNOWN_SECTIONS =
  'gateway commands logging agents channels plugins meta tools session env mcp models messages'.split(' ')

/** Parses and checks the config: its value, and what is wrong with it in the form of `config validate --json`. */
export function readConfig() {
  let text
  const unusable = (message) => ({ value: {}, issues: [{ path: '<root>', message }] })
  try {
    text = readFileSync(configPath, 'utf8')
  } catch (error) {
    return unusable(error.code === 'ENOENT' ? 'file not found' : error.message)
  }
  let value
  try {
    value = JSON5.parse(text)
  } catch (error) {
    return unusable(`JSON5 parse failed: ${error}`)
  }
  const unknown = Object.keys(value).filter((key) => !KNOWN_SECTIONS.includes(key))
  const issues = unknown.map((key) => ({ path: '<root>', message: `Unrecognized key: "${key}"` }))
  const type = typeof value.gateway?.port
  if (type !== 'undefined' && type !== 'number')
    issues.push({ path: 'gateway.port', message: `Invalid input: expected number, received ${type}` })
  return { value, issues }
}

/** Why a gateway with this config refuses to start. A file that cannot be parsed counts as one without a mode. */
function bootRefusal({ value, issues }) {
  if (value.gateway?.mode === undefined)
    return 'Gateway start blocked: existing config is missing gateway.mode. Treat this as suspicious or clobbered config.'
  const listed = issues.map((issue) => `${issue.path}: ${issue.message}`).join('\n')
  return listed && `Gateway failed to start: Invalid config at ${configPath}:\n${listed}`
}

export function configuredPort({ value }) {
  return typeof value.gateway?.port === 'number' ? value.gateway.port : 18789
}

// --- the lock files, by which it is known which process is the gateway of this state folder

function takeLocks() {
  mkdirSync(lockDir, { recursive: true, mode: 0o700 })
  if (![undefined, process.pid].includes(lockHolder()))
    leave(78, now('Gateway failed to start: another OpenClaw process owns gateway-lifecycle'))
  const [createdAt, startTime] = [new Date().toISOString(), statFields(process.pid)?.[19]]
  const lock = { pid: process.pid, createdAt, configPath, stateDir, startTime }
  // The real one's lock ends in a tail of blanks (it encodes the owner in them), so a reader must bear that.
  for (const path of lockFiles) writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n\t \t\t \n`, { mode: 0o600 })
}

/** The living process that the lock files name, if any. */
export function lockHolder() {
  try {
    const { pid, startTime } = JSON.parse(readFileSync(lockFiles[0], 'utf8'))
    process.kill(pid, 0)
    const fields = statFields(pid)
    return startTime === fields?.[19] && fields?.[0] !== 'Z' ? pid : undefined
  } catch {
    return undefined
  }
}

/** Fields 3 and on of /proc/<pid>/stat: its state is the first, its start time the 20th. Undefined without /proc. */
function statFields(pid) {
  const path = `/proc/${pid}/stat`
  return existsSync(path) ? readFileSync(path, 'utf8').split(') ').at(-1).split(' ') : undefined
}

function dropLocks() {
  for (const path of lockFiles) rmSync(path, { force: true })
}

// --- HTTP

async function listen(port, version) {
  phase = 'starting'
  listeningSince = Date.now()
  // The real one tries for ten seconds.
  for (let tries = 1; tries <= 5; tries++) {
    servers = ['127.0.0.1', '::1'].map(() => createServer((req, res) => answer(req, res, version)))
    const problems = await Promise.all([open(servers[0], port, '127.0.0.1'), open(servers[1], port, '::1')])
    if (!problems.includes('EADDRINUSE')) return
    await closeServers()
    await sleep(100)
  }
  dropLocks()
  leave(1, now(`Gateway failed to start: another gateway instance is already listening on ws://127.0.0.1:${port}`))
}

/** Resolves with the error code, if any. A machine without IPv6 has no ::1: that is no problem. */
function open(server, port, host) {
  return new Promise((resolve) => {
    server.once('error', (error) => resolve(error.code)).listen(port, host, resolve)
  })
}

async function closeServers() {
  for (const server of servers) server.closeAllConnections()
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))))
  servers = []
}

function answer(req, res, version) {
  const { health, failing = [], suppressed } = readFaults()
  if (health === 'silent') return
  const path = new URL(req.url, 'http://gateway').pathname
  const uptimeMs = Date.now() - listeningSince
  const send = (status, body, type = 'application/json; charset=utf-8') =>
    void res.writeHead(status, { 'Content-Type': type, 'Cache-Control': 'no-store' }).end(body)
  if (path === '/health' && !isOlder(version, '2026.3.1'))
    return send(health?.status ?? 200, health?.body ?? '{"ok":true,"status":"live"}')
  if (path === '/startupz' && !isOlder(version, '2026.8.1')) {
    const pendingReason = phase === 'starting' ? 'startup-sidecars' : undefined
    const body = { ok: phase === 'started', status: phase, version, uptimeMs, pendingReason }
    return send(body.ok ? 200 : 503, JSON.stringify(body))
  }
  if (path === '/readyz' && !isOlder(version, '2026.3.1')) {
    const ready = phase === 'started' && failing.length === 0
    return send(ready ? 200 : 503, JSON.stringify({ ready, failing, suppressed, uptimeMs }))
  }
  // The real one answers every other path with its control UI, also one that does not exist.
  send(200, '<!doctype html><title>OpenClaw</title>', 'text/html; charset=utf-8')
}

// --- signals

function listenToSignals(version) {
  const [restarts, debugs] = isOlder(version, '2026.9.6') ? ['SIGUSR1', undefined] : ['SIGUSR2', 'SIGUSR1']
  process.on(restarts, () => {
    recordEvent(`signal ${restarts}`)
    if (!restartAllowed) return log('gateway', `${restarts} restart ignored (not authorized; commands.restart=false).`)
    if (phase !== 'draining') void restart(version)
  })
  // The real one opens Node's inspector on 127.0.0.1:9229 for everybody on the machine. No test may ever see this.
  if (debugs) process.on(debugs, () => recordEvent('debugger opened'))
  for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => void stop())
}

async function restart(version) {
  await drain()
  log('gateway', 'restart mode: in-process restart')
  dropLocks()
  await sleep(1000)
  await boot(version)
}

async function stop() {
  await drain()
  dropLocks()
  log('shutdown', 'completed cleanly in 5ms')
  leave(0)
}

async function drain() {
  phase = 'draining'
  if (readFaults().heldIn === 'drain') recordEvent('draining')
  await whileHeldIn('drain')
  await closeServers()
}

async function whileHeldIn(state) {
  while (readFaults().heldIn === state) {
    if (readFaults().talks) log('gateway', 'migrating…')
    await sleep(50)
  }
}

// --- its two logs: readable lines on its standard output, JSON lines in the file that its config names

function log(subsystem, message) {
  process.stdout.write(`${now(`[${subsystem}] ${message}`)}\n`)
  if (logFile) appendFileSync(logFile, `${JSON.stringify({ time: now(''), subsystem, message })}\n`)
}

const now = (words) => `${new Date().toISOString()} ${words}`.trim()

/** Compares versions of the form year.month.patch. */
function isOlder(version, than) {
  const [a, b] = [version, than].map((text) => text.split('.').reduce((sum, part) => sum * 100 + Number(part), 0))
  return a < b
}
