/**
 * `systemctl --user` as far as setup uses it, for fast tests (the real one is used by the tests in test/real). It reads
 * the unit files in the sandbox's HOME, keeps which timers are enabled and active in one JSON file, and starts a service
 * when its timer is started. Usage: <state file> <calls file> --user <arguments…>
 */
import { spawn } from 'node:child_process'
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'

const [stateFile, callsFile, , verb, ...rest] = process.argv.slice(2)
appendFileSync(callsFile, `systemctl --user ${[verb, ...rest].join(' ')}\n`)
const folder = join(process.env.HOME, '.config', 'systemd', 'user')
const wants = join(folder, 'timers.target.wants')
const units = rest.filter((argument) => !argument.startsWith('-'))
const state = existsSync(stateFile)
  ? JSON.parse(readFileSync(stateFile, 'utf8'))
  : { loaded: {}, active: [], broken: '' }
const isLoaded = (unit) => unit in state.loaded

if (state.broken && [verb, ...rest].join(' ').includes(state.broken)) fail(1, `Failed to ${verb}: planned by the test`)
else run()
writeFileSync(stateFile, JSON.stringify(state))

function run() {
  switch (verb) {
    case 'show':
      return show()
    case 'daemon-reload': {
      // Like the real one: a change on disk counts from here on, a deleted unit is forgotten unless it is active.
      const read = (unit) => (existsSync(join(folder, unit)) ? readFileSync(join(folder, unit), 'utf8') : undefined)
      const known = new Set([...Object.keys(state.loaded), ...listed()])
      state.loaded = Object.fromEntries([...known].map((unit) => [unit, read(unit)]).filter(([, text]) => text))
      return
    }
    case 'enable':
      for (const unit of units) {
        if (!existsSync(join(folder, unit))) return fail(1, `Failed to enable unit: Unit file ${unit} does not exist.`)
        mkdirSync(wants, { recursive: true })
        rmSync(join(wants, unit), { force: true })
        symlinkSync(join(folder, unit), join(wants, unit))
      }
      return rest.includes('--now') ? units.forEach(start) : undefined
    case 'disable':
      for (const unit of units) rmSync(join(wants, unit), { force: true })
      try {
        rmdirSync(wants)
      } catch {
        // Others are wanted there, or nobody ever was.
      }
      if (rest.includes('--now')) state.active = state.active.filter((unit) => !units.includes(unit))
      return
    case 'start':
    case 'restart':
      return units.forEach(start)
    case 'stop':
      state.active = state.active.filter((unit) => !units.includes(unit))
      return
    case 'reset-failed':
      return
    default:
      fail(64, `unplanned: systemctl --user ${verb}`)
  }
}

function listed() {
  return ['watchdog', 'healthcheck'].flatMap((name) =>
    ['com.openclaw.', 'openclaw-'].flatMap((prefix) => [`${prefix}${name}.timer`, `${prefix}${name}.service`]),
  )
}

function show() {
  if (units.length === 0) return process.stdout.write('Version=252 (252.39-1~deb12u1)\n')
  const names =
    rest
      .find((argument) => argument.startsWith('--property='))
      ?.slice('--property='.length)
      .split(',') ?? []
  const blocks = units.map((unit) => {
    const active = state.active.includes(unit)
    const values = {
      Id: unit,
      LoadState: isLoaded(unit) ? 'loaded' : 'not-found',
      ActiveState: active ? 'active' : 'inactive',
      SubState: active ? 'waiting' : 'dead',
      Result: 'success',
      MainPID: '0',
      ExecMainStatus: '0',
      ExecMainStartTimestampMonotonic: '0',
      NRestarts: '0',
      UnitFileState: existsSync(join(wants, unit)) ? 'enabled' : isLoaded(unit) ? 'disabled' : '',
    }
    return names.map((name) => `${name}=${values[name] ?? ''}\n`).join('')
  })
  process.stdout.write(blocks.join('\n'))
}

function start(unit) {
  if (!isLoaded(unit)) return fail(5, `Failed to start ${unit}: Unit ${unit} not found.`)
  if (!state.active.includes(unit)) state.active.push(unit)
  const service = state.loaded[unit.replace(/\.timer$/, '.service')]
  const command = /^ExecStart=(.+)$/m.exec(service ?? '')?.[1]
  if (!unit.endsWith('.timer') || !command) return
  const [program, ...args] = words(command.replaceAll('$$', '$'))
  const env = Object.fromEntries(
    [...service.matchAll(/^Environment=(.+)$/gm)].map((m) => {
      const [assignment] = words(m[1])
      return [assignment.slice(0, assignment.indexOf('=')), assignment.slice(assignment.indexOf('=') + 1)]
    }),
  )
  spawn(program, args, { env, cwd: process.env.HOME, detached: true, stdio: 'ignore' }).unref()
}

/** Words as systemd.syntax(7) splits and unquotes them, specifiers included as far as `%%` goes. */
function words(text) {
  return (text.match(/"(?:[^"\\]|\\.)*"|\S+/g) ?? []).map((word) =>
    (word.startsWith('"') ? word.slice(1, -1).replace(/\\(.)/g, '$1') : word).replaceAll('%%', '%'),
  )
}

function fail(code, message) {
  process.stderr.write(`${message}\n`)
  process.exitCode = code
}
