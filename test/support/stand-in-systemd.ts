/**
 * A stand-in for systemd's user manager as far as setup uses it (the real one is used by the tests in test/real). It
 * reads the unit files in HOME, knows which timers are enabled and active, runs a service when its timer is started, ends
 * it when it is stopped (its main process alone: KillMode=process), and starts what `OnFailure=` names when it failed.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import { type Answer, startStandInServer } from './stand-in-server.ts'

/** @param instead what is run in place of a service's ExecStart */
export async function startStandInSystemd(home: string, instead?: (argv: string[]) => string[]) {
  const folder = join(home, '.config', 'systemd', 'user')
  const wants = join(folder, 'timers.target.wants')
  /** What the manager has read: unit → its text. */
  let loaded = new Map<string, string>()
  const active = new Set<string>()
  const running = new Map<string, ChildProcess>()

  async function answer(args: string[]): Promise<Answer> {
    const [, verb, ...rest] = args
    const units = rest.filter((argument) => !argument.startsWith('-'))
    switch (verb) {
      case 'show':
        return { code: 0, stdout: units.length === 0 ? 'Version=252\n' : units.map(show).join('\n') }
      case 'daemon-reload':
        // A change on disk counts from here on.
        loaded = new Map(unitFiles().map((unit) => [unit, readFileSync(join(folder, unit), 'utf8')]))
        break
      case 'enable':
        for (const unit of units) {
          if (!existsSync(join(folder, unit)))
            return { code: 1, stderr: `Failed to enable unit: Unit file ${unit} does not exist.\n` }
          mkdirSync(wants, { recursive: true })
          rmSync(join(wants, unit), { force: true })
          symlinkSync(join(folder, unit), join(wants, unit))
        }
        return rest.includes('--now') ? start(units) : { code: 0 }
      case 'disable':
        for (const unit of units) rmSync(join(wants, unit), { force: true })
        if (existsSync(wants) && readdirSync(wants).length === 0) rmdirSync(wants)
        for (const unit of rest.includes('--now') ? units : []) active.delete(unit)
        break
      case 'start':
      case 'restart':
        return start(units)
      case 'stop':
        for (const unit of units) await stop(unit)
        break
      case 'reset-failed':
        break
      default:
        return { code: 64, stderr: `unplanned: systemctl ${args.join(' ')}\n` }
    }
    return { code: 0 }
  }

  function unitFiles(): string[] {
    return existsSync(folder) ? readdirSync(folder).filter((name) => lstatSync(join(folder, name)).isFile()) : []
  }

  function show(unit: string): string {
    const [load, file] = loaded.has(unit) ? ['loaded', 'disabled'] : ['not-found', '']
    const [state, sub] = active.has(unit) ? ['active', 'waiting'] : ['inactive', 'dead']
    const enabled = existsSync(join(wants, unit)) ? 'enabled' : file
    return `LoadState=${load}\nActiveState=${state}\nSubState=${sub}\nResult=success\nUnitFileState=${enabled}\n`
  }

  function start(units: string[]): Answer {
    for (const unit of units) {
      if (!loaded.has(unit)) return { code: 5, stderr: `Failed to start ${unit}: Unit ${unit} not found.\n` }
      if (unit.endsWith('.timer')) active.add(unit)
      run(unit.replace(/\.timer$/, '.service'))
    }
    return { code: 0 }
  }

  async function stop(unit: string): Promise<void> {
    active.delete(unit)
    const child = running.get(unit)
    if (!child) return
    child.kill('SIGTERM')
    await once(child, 'exit')
  }

  function run(unit: string): void {
    const service = loaded.get(unit) ?? ''
    if (running.has(unit)) return
    const command = /^ExecStart=(.+)$/m.exec(service)?.[1]
    if (!command) return
    const asked = words(command.replaceAll('$$', '$'))
    const [program = '', ...args] = instead?.(asked) ?? asked
    const env = [...service.matchAll(/^Environment=(.+)$/gm)].map((m) => {
      const assignment = words(m[1]!)[0]!
      const at = assignment.indexOf('=')
      return [assignment.slice(0, at), assignment.slice(at + 1)]
    })
    const child = spawn(program, args, { env: Object.fromEntries(env), cwd: home, detached: true, stdio: 'ignore' })
    running.set(unit, child)
    child.unref()
    child.once('exit', (code) => {
      running.delete(unit)
      const now = loaded.get(unit) ?? ''
      const isFailure = code !== 0 && String(code) !== /^SuccessExitStatus=(\d+)$/m.exec(now)?.[1]
      const next = /^OnFailure=(\S+)$/m.exec(now)?.[1]
      if (isFailure && next) run(next)
    })
  }

  return {
    ...(await startStandInServer(answer)),
    /** The timers that are active. */
    active: () => [...active].sort(),
    /** The services that are running. */
    running: () => [...running.keys()].sort(),
  }
}

/** Words as systemd.syntax(7) splits and unquotes them; of the specifiers only `%%`. */
function words(text: string): string[] {
  return (text.match(/"(?:[^"\\]|\\.)*"|\S+/g) ?? []).map((word) =>
    (word.startsWith('"') ? word.slice(1, -1).replace(/\\(.)/g, '$1') : word).replaceAll('%%', '%'),
  )
}
