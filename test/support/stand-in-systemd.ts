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
export async function startStandInSystemd(home: string, instead = (argv: string[]) => argv) {
  const folder = join(home, '.config', 'systemd', 'user')
  const wants = join(folder, 'timers.target.wants')
  /** What the manager has read: unit → its text. */
  let loaded = new Map<string, string>()
  const active = new Set<string>()
  const running = new Map<string, ChildProcess>()

  async function answer([, verb = '', ...rest]: string[]): Promise<Answer> {
    const units = rest.filter((argument) => !argument.startsWith('-'))
    if (verb === 'show') return { code: 0, stdout: units.length === 0 ? 'Version=252\n' : units.map(show).join('\n') }
    // A change on disk counts from here on.
    if (verb === 'daemon-reload')
      loaded = new Map(unitFiles().map((unit) => [unit, readFileSync(join(folder, unit), 'utf8')]))
    else if (!['enable', 'disable', 'start', 'restart', 'stop', 'reset-failed'].includes(verb))
      return { code: 64, stderr: `unplanned: systemctl ${verb}\n` }
    for (const unit of units) {
      if (verb === 'enable' || verb === 'disable') rmSync(join(wants, unit), { force: true })
      if (verb === 'enable') {
        if (!existsSync(join(folder, unit))) return { code: 1, stderr: `Unit file ${unit} does not exist.\n` }
        mkdirSync(wants, { recursive: true })
        symlinkSync(join(folder, unit), join(wants, unit))
      }
      if (verb.endsWith('start') || (verb === 'enable' && rest.includes('--now'))) {
        if (!loaded.has(unit)) return { code: 5, stderr: `Failed to start ${unit}: Unit ${unit} not found.\n` }
        if (unit.endsWith('.timer')) active.add(unit)
        run(unit.replace(/\.timer$/, '.service'))
      }
      if (verb === 'stop' || (verb === 'disable' && rest.includes('--now'))) {
        active.delete(unit)
        const child = running.get(unit)
        if (child?.kill()) await once(child, 'exit')
      }
    }
    if (existsSync(wants) && readdirSync(wants).length === 0) rmdirSync(wants)
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

  function run(unit: string): void {
    const service = loaded.get(unit) ?? ''
    const command = /^ExecStart=(.+)$/m.exec(service)?.[1]
    if (running.has(unit) || !command) return
    const [program = '', ...args] = instead(words(command.replaceAll('$$', '$')))
    const assignments = [...service.matchAll(/^Environment=(.+)$/gm)].map((m) => words(m[1]!)[0]!)
    const env = Object.fromEntries(assignments.map((one) => /^(\w+)=(.*)$/s.exec(one)!.slice(1)))
    const child = spawn(program, args, { env, cwd: home, detached: true, stdio: 'ignore' })
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
    active: () => [...active].sort(),
    running: () => [...running.keys()].sort(),
  }
}

/** Words as systemd.syntax(7) splits and unquotes them; of the specifiers only `%%`. */
function words(text: string): string[] {
  return (text.match(/"(?:[^"\\]|\\.)*"|\S+/g) ?? []).map((word) =>
    (word.startsWith('"') ? word.slice(1, -1).replace(/\\(.)/g, '$1') : word).replaceAll('%%', '%'),
  )
}
