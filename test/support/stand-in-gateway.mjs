/**
 * A stand-in for the OpenClaw gateway, a process of its own: the same title, endpoints, signals, lock files, refusals
 * and exit codes as OpenClaw 2026.9.6 (all measured on the real one), and faults on demand. It boots in a moment
 * where the real one takes ten seconds; everything that differs on purpose is a fault or says so here.
 */
import { execFileSync } from 'node:child_process'
import { createHash, randomUUID } from 'node:crypto'
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { hostname } from 'node:os'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { readFaults, recordEvent, registerProcess } from './control.mjs'
import { bootRefusal, configPath, configuredPort, readConfig, stateDir } from './stand-in-config.mjs'

const lockDir = join(stateDir, 'tmp', `openclaw-${process.getuid()}`)
const lockFiles = ['state', createHash('sha256').update(configPath).digest('hex').slice(0, 8)].map((name) =>
  join(lockDir, `gateway.${name}.lock`),
)

/** @type {'starting' | 'started' | 'draining'} */
let phase = 'starting'
let listeningSince = 0
let servers = []
let configWatch
let logFile
/** Keeps the memory ballast alive. */
const held = []
/** Whether the running gateway lets a signal restart it (`commands.restart`, read at boot). */
let restartAllowed = true

/** Runs the gateway; the process ends with it. */
export async function runGateway() {
  registerProcess()
  process.title = 'openclaw'
  const { version = '2026.9.6' } = readFaults()
  listenToSignals(version)
  await boot(version)
}

async function boot(version) {
  recordEvent('boot')
  const faults = readFaults()
  if (faults.exitAtBoot) leave(faults.exitAtBoot.code, faults.exitAtBoot.stderr)
  if (faults.missingModule && !existsSync(faults.missingModule)) leave(1, moduleMissing(faults.missingModule))
  const config = readConfig()
  useLogFile(config.value.logging?.file)
  log('gateway', 'loading configuration…')
  const refusal = bootRefusal(config)
  if (refusal) {
    logError(refusal)
    leave(78)
  }
  restartAllowed = config.value.commands?.restart !== false
  process.title = 'openclaw-gateway'
  log('gateway', 'starting...')
  const port = configuredPort(config)
  takeLocks(port)
  if (faults.ballastMb) held.push(Buffer.alloc(faults.ballastMb * 1024 * 1024, 1))
  await sleep(faults.bootDelayMs ?? 0)
  await whileHeldIn('boot')
  if (faults.neverListen) return void setInterval(() => {}, 60_000)
  log('gateway', 'starting HTTP server...')
  await listen(port, version)
  recordEvent('listening')
  log('gateway', 'http server listening (0 plugins; 0.1s)')
  log('gateway', 'starting channels and sidecars...')
  await sleep(faults.startingMs ?? 0)
  if (phase !== 'starting') return
  phase = 'started'
  recordEvent('ready')
  log('gateway', 'ready')
  watchConfig(config.text)
}

function moduleMissing(path) {
  return `[openclaw] The CLI command failed.\n[openclaw] Reason: Cannot find module '${path}' imported from ${join(path, '..', 'entry.js')}\n[openclaw] Debug: set OPENCLAW_DEBUG=1 to include the stack trace.\n[openclaw] Try: openclaw doctor\n[openclaw] Help: openclaw --help`
}

function leave(code, words) {
  if (words) process.stderr.write(`${words}\n`)
  recordEvent(`exit ${code}`)
  process.exit(code)
}

// --- the lock files, by which it is known which process is the gateway of this state folder

function takeLocks(port) {
  mkdirSync(lockDir, { recursive: true, mode: 0o700 })
  const holder = lockHolder()
  if (holder !== undefined && holder !== process.pid) {
    logError(
      'Doctor could not enter maintenance. StateDatabaseCoordinatorContentionError: another OpenClaw process owns gateway-lifecycle Stop the Gateway service and other OpenClaw processes using this state, then run openclaw doctor --fix from an independent shell.',
    )
    logError('Gateway failed to start: Doctor could not enter maintenance. | gateway.maintenance_required.')
    leave(78)
  }
  const lock = {
    pid: process.pid,
    ownerId: randomUUID(),
    cronOwnerProjection: 'dynamic-default-v1',
    createdAt: new Date().toISOString(),
    configPath,
    stateDir,
    port,
    startTime: startTimeOf(process.pid),
  }
  // The real one's lock ends in a tail of blanks (it encodes the owner in them), so a reader must bear that.
  for (const path of lockFiles) writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n\t \t\t \n`, { mode: 0o600 })
}

/** The living process that the lock files name, if any. */
export function lockHolder() {
  try {
    const { pid, startTime } = JSON.parse(readFileSync(lockFiles[0], 'utf8'))
    process.kill(pid, 0)
    return startTime === startTimeOf(pid) && !isZombie(pid) ? pid : undefined
  } catch {
    return undefined
  }
}

/** Field 22 of /proc/<pid>/stat, as in the real lock; undefined where there is no /proc. */
function startTimeOf(pid) {
  const fields = statFields(pid)
  return fields && Number(fields[19])
}

function isZombie(pid) {
  return statFields(pid)?.[0] === 'Z'
}

function statFields(pid) {
  try {
    // What stands behind the command in parentheses begins with field 3.
    return readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1).split(' ')
  } catch {
    return undefined
  }
}

function dropLocks() {
  for (const path of lockFiles) rmSync(path, { force: true })
}

// --- HTTP

async function listen(port, version) {
  phase = 'starting'
  listeningSince = Date.now()
  const deadline = Date.now() + 500 // the real one tries for ten seconds
  for (;;) {
    servers = ['127.0.0.1', '::1'].map((host) => ({
      host,
      server: createServer((req, res) => answer(req, res, version)),
    }))
    const problems = await Promise.all(servers.map(({ host, server }) => open(server, port, host)))
    const taken = problems.find((code) => code === 'EADDRINUSE')
    if (!taken) return
    await closeServers()
    if (Date.now() > deadline) break
    await sleep(100)
  }
  logError(
    `Gateway failed to start: another gateway instance is already listening on ws://127.0.0.1:${port} | listen EADDRINUSE: address already in use 127.0.0.1:${port} | EADDRINUSE\nIf the gateway is supervised, stop it with: openclaw gateway stop`,
  )
  logError(`Port ${port} is already in use.`)
  for (const owner of ownersOf(port)) logError(`- pid ${owner}`)
  dropLocks()
  leave(1)
}

/** Resolves with the error code, if any. A machine without IPv6 has no ::1: that is no problem. */
function open(server, port, host) {
  return new Promise((resolve) => {
    server.once('error', (error) => resolve(error.code))
    server.listen(port, host, () => resolve(undefined))
  })
}

function ownersOf(port) {
  try {
    const out = execFileSync('lsof', ['-nP', `-iTCP:${port}`, '-sTCP:LISTEN', '-Fpc'], {
      encoding: 'utf8',
      timeout: 5000,
    })
    return [...out.matchAll(/^p(\d+)\nc(.*)$/gm)].map(([, pid, command]) => `${pid}: ${command} (127.0.0.1:${port})`)
  } catch {
    return []
  }
}

async function closeServers() {
  for (const { server } of servers) server.closeAllConnections()
  await Promise.all(servers.map(({ server }) => new Promise((resolve) => server.close(resolve))))
  servers = []
}

function answer(req, res, version) {
  const faults = readFaults()
  if (faults.health === 'blocked') {
    recordEvent('blocked')
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  }
  if (faults.health === 'silent') return
  if (faults.health === 'reset') return void req.socket.destroy()
  const path = new URL(req.url, 'http://gateway').pathname
  const uptimeMs = Date.now() - listeningSince
  if ((path === '/health' || path === '/healthz') && !isOlder(version, '2026.3.1')) {
    const said =
      typeof faults.health === 'object' ? faults.health : { status: 200, body: '{"ok":true,"status":"live"}' }
    return send(res, said.status, said.body)
  }
  if (path === '/startupz' && !isOlder(version, '2026.8.1')) {
    const body = { ok: phase === 'started', status: phase, version, uptimeMs }
    if (phase === 'starting') body.pendingReason = 'startup-sidecars'
    return send(res, phase === 'started' ? 200 : 503, JSON.stringify(body))
  }
  if ((path === '/readyz' || path === '/ready') && !isOlder(version, '2026.3.1')) {
    const { failing = [], suppressed } = faults
    const ready = phase === 'started' && failing.length === 0
    return send(res, ready ? 200 : 503, JSON.stringify({ ready, failing, ...(suppressed && { suppressed }), uptimeMs }))
  }
  // The real one answers every other path with its control UI, also one that does not exist.
  if (faults.controlUiOff) return send(res, 404, 'Not Found', 'text/plain; charset=utf-8')
  const page =
    '<!doctype html>\n<html data-openclaw-control-ui-base-path="" lang="en"><head><title>OpenClaw</title></head></html>\n'
  send(res, 200, page, 'text/html; charset=utf-8')
}

function send(res, status, body, type = 'application/json; charset=utf-8') {
  res.writeHead(status, { 'Content-Type': type, 'Cache-Control': 'no-store' }).end(body)
}

// --- signals

function listenToSignals(version) {
  const [restarts, debugs] = isOlder(version, '2026.9.6') ? ['SIGUSR1', undefined] : ['SIGUSR2', 'SIGUSR1']
  process.on(restarts, () => {
    recordEvent(`signal ${restarts}`)
    if (!restartAllowed) return log('gateway', `${restarts} restart ignored (not authorized; commands.restart=false).`)
    if (phase === 'draining') return log('gateway', `received ${restarts} during shutdown; ignoring`)
    void restart(restarts, version)
  })
  // The real one opens Node's inspector on 127.0.0.1:9229 for everybody on the machine. No test may ever see this.
  if (debugs) process.on(debugs, () => recordEvent('debugger opened'))
  for (const signal of ['SIGTERM', 'SIGINT'])
    process.on(signal, () => {
      recordEvent(`signal ${signal}`)
      void stop(signal)
    })
}

async function restart(signal, version) {
  log('gateway', `received ${signal}; restarting`)
  await drain()
  await closeServers()
  clearInterval(configWatch)
  log('gateway', 'restart mode: in-process restart')
  recordEvent('restart')
  dropLocks()
  await sleep(readFaults().restartMs ?? 300)
  await boot(version)
}

async function stop(signal) {
  log('gateway', `received ${signal}; shutting down`)
  await drain()
  await closeServers()
  dropLocks()
  log('shutdown', 'completed cleanly in 5ms')
  leave(0)
}

async function drain() {
  phase = 'draining'
  const { drainMs, heldIn } = readFaults()
  if (drainMs || heldIn === 'drain') recordEvent('draining')
  await sleep(drainMs ?? 0)
  await whileHeldIn('drain')
}

async function whileHeldIn(state) {
  while (readFaults().heldIn === state) await sleep(50)
}

// --- its two logs: readable lines on its standard output, JSON lines in the log file

/**
 * Begins to write the JSON log. Only where the config's `logging.file` says: the real one's default is a file in /tmp
 * that all gateways of a user share, and a developer's own gateway may be writing it.
 */
function useLogFile(path) {
  logFile = path
  if (logFile) mkdirSync(dirname(logFile), { recursive: true })
}

/** @param {string} subsystem as in `[gateway] ready` */
function log(subsystem, message) {
  process.stdout.write(`${stamp()} [${subsystem}] ${message}\n`)
  append(JSON.stringify({ subsystem }), message, 3, 'INFO')
}

/** What the real one says through console.error: no subsystem, may have several lines. */
function logError(message) {
  process.stderr.write(`${stamp()} ${message}\n`)
  append('openclaw', message, 5, 'ERROR')
}

function append(name, message, logLevelId, logLevelName) {
  if (!logFile) return
  const date = new Date().toISOString()
  const _meta = {
    runtime: 'node',
    runtimeVersion: process.versions.node,
    hostname: hostname(),
    date,
    logLevelId,
    logLevelName,
    name,
  }
  const body = name === 'openclaw' ? { 0: message } : { 0: name, 1: message }
  appendFileSync(logFile, `${JSON.stringify({ ...body, _meta, time: stamp(), hostname: hostname(), message })}\n`)
}

/** Local time with offset, as the real one prints it. */
function stamp(at = new Date()) {
  const offsetMin = -at.getTimezoneOffset()
  const local = new Date(at.getTime() + offsetMin * 60_000).toISOString().slice(0, 23)
  const two = (n) => String(Math.floor(Math.abs(n))).padStart(2, '0')
  return `${local}${offsetMin < 0 ? '-' : '+'}${two(offsetMin / 60)}:${two(offsetMin % 60)}`
}

// --- what else a running gateway does

/** A broken config does not end a running gateway: it says so and runs on with the old one. */
function watchConfig(text) {
  clearInterval(configWatch)
  let known = text
  configWatch = setInterval(() => {
    const { text: now, issues } = readConfig()
    if (now === known) return
    known = now
    const reason = issues.map((issue) => `: ${issue.message}`).join('; ')
    if (issues.length > 0) logError(`[reload] config reload skipped (invalid config): ${reason}`)
    else log('reload', 'config change detected; evaluating reload (gateway)')
  }, 100)
}

/** Compares versions of the form year.month.patch. */
export function isOlder(version, than) {
  const [a, b] = [version, than].map((text) => text.split('.').map((part) => Number.parseInt(part, 10)))
  for (let i = 0; i < 3; i++) if (a[i] !== b[i]) return a[i] < b[i]
  return false
}
