/** The two logs of a gateway: readable lines on its standard output, JSON lines in the log file. */
import { appendFileSync, mkdirSync } from 'node:fs'
import { hostname } from 'node:os'
import { dirname } from 'node:path'

let logFile

/**
 * Begins to write the JSON log. Only where the config's `logging.file` says: the real one's default is a file in /tmp
 * that all gateways of a user share, and a developer's own gateway may be writing it.
 */
export function useLogFile(path) {
  logFile = path
  if (logFile) mkdirSync(dirname(logFile), { recursive: true })
}

/** @param {string} subsystem as in `[gateway] ready` */
export function log(subsystem, message) {
  process.stdout.write(`${stamp()} [${subsystem}] ${message}\n`)
  append(JSON.stringify({ subsystem }), message, 3, 'INFO')
}

/** What the real one says through console.error: no subsystem, may have several lines. */
export function logError(message) {
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
