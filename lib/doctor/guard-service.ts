/** launchctl and systemctl: the gateway's own job, and nobody else's. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { Refused, type RuleId } from './guard.ts'
import { literals, type Options, readArguments } from './guard-arguments.ts'
import type { World } from './guard-context.ts'
import { assertReadable, NO_FOLDER, realPaths } from './guard-paths.ts'
import type { Command } from './guard-shell.ts'

export function service(command: Command, world: World): RuleId {
  return command.program === 'launchctl' ? launchctl(command, world) : systemctl(command, world)
}

/** plutil as launchd's judge of the job's file; its other options write it anew. */
export function plutil(command: Command, world: World): RuleId {
  const [option, ...paths] = literals(command)
  if (option !== '-lint' || paths.length !== 1) throw new Refused('write', '`plutil` is for -lint and one file.')
  assertOwnPlist(paths[0], command, world)
  return 'diagnose'
}

function plistOf(world: World): string {
  return join(world.home, 'Library/LaunchAgents', `${world.launchdLabel}.plist`)
}

function assertOwnPlist(path: string | undefined, command: Command, world: World): void {
  const plist = plistOf(world)
  const found = path === undefined ? [] : realPaths(path, command.cwds, world.home)
  if (found.length === 0 || found.some((one) => one !== realPaths(plist, NO_FOLDER, world.home)[0]))
    refuseForeign(path, plist)
}

function launchctl(command: Command, world: World): RuleId {
  const [verb = '', ...args] = literals(command)
  const plist = plistOf(world)
  const domains = [`gui/${world.uid}`, `user/${world.uid}`]
  const ownTarget = (target: string | undefined) => {
    if (domains.some((domain) => target === `${domain}/${world.launchdLabel}`)) return
    refuseForeign(target, `${domains[0]}/${world.launchdLabel}`)
  }
  const ownPlist = (path: string | undefined) => assertOwnPlist(path, command, world)
  switch (verb) {
    case 'list':
      if (args.length > 0 && args[0] !== world.launchdLabel) refuseForeign(args[0], world.launchdLabel)
      return 'diagnose'
    case 'print':
      if (args.length !== 1) throw new Refused('unclear', 'launchctl print takes one target.')
      ownTarget(args[0])
      if (!showsNoEnvironment(command, plist)) assertNoSecretIn(plist, world)
      return 'diagnose'
    case 'print-disabled':
      if (args.length !== 1 || !domains.includes(args[0]!)) refuseForeign(args[0], domains[0]!)
      return 'diagnose'
    case 'blame':
      ownTarget(args.join(' '))
      return 'diagnose'
    case 'error':
      if (!/^\d+$/.test(args.join(' '))) throw new Refused('unclear', 'Give launchctl error a number.')
      return 'diagnose'
    case 'kickstart':
      ownTarget(args.filter((arg) => !/^-[kp]+$/.test(arg)).join(' '))
      return 'service'
    case 'enable':
      ownTarget(args.join(' '))
      return 'service'
    case 'bootstrap':
      if (!domains.includes(args[0] ?? '') || args.length !== 2) refuseForeign(args[0], `${domains[0]} ${plist}`)
      ownPlist(args[1])
      return 'service'
    case 'bootout':
      if (args.length === 1) ownTarget(args[0])
      else if (args.length === 2 && domains.includes(args[0]!)) ownPlist(args[1])
      else refuseForeign(args[0], `${domains[0]}/${world.launchdLabel}`)
      return 'service'
    case 'start':
    case 'stop':
      if (args.join(' ') !== world.launchdLabel) refuseForeign(args[0], world.launchdLabel)
      return 'service'
    case 'load':
      ownPlist(args.filter((arg) => !/^-[wF]+$/.test(arg)).join(' '))
      return 'service'
    case 'unload':
      // With -w it would stay away after the next boot, too.
      if (args.some((arg) => /^-\w*w/.test(arg)))
        throw new Refused('security', '`launchctl unload -w` disables the job:')
      ownPlist(args.join(' '))
      return 'service'
    case 'kill':
      if (!/^(SIG)?(TERM|KILL|INT|HUP)$|^(9|15|2|1)$/.test(args[0] ?? ''))
        throw new Refused('security', `Signal ${args[0]}:`)
      ownTarget(args.slice(1).join(' '))
      return 'service'
    case 'getenv':
    case 'export':
    case 'setenv':
    case 'unsetenv':
      throw new Refused('secrets', `\`launchctl ${verb}\`:`)
    case 'submit':
      throw new Refused('schedule', '`launchctl submit`:')
    default:
      throw new Refused('not-allowed', `\`launchctl ${verb}\`:`)
  }
}

/**
 * Is it piped into a grep for words that stand nowhere in the job's file? Then what the grep shows is launchd's own:
 * state, pid, last exit code.
 */
function showsNoEnvironment({ readBy }: Command, plist: string): boolean {
  const args = [...(readBy?.args ?? [])]
  const isGrep = readBy?.program === 'grep' || readBy?.program === 'egrep'
  let ignoresCase = false
  while (/^-[Ein]+$/.test(args[0] ?? '')) ignoresCase = args.shift()!.includes('i') || ignoresCase
  const [pattern = '', ...more] = args
  if (!isGrep || more.length > 0 || !/^[A-Za-z =]+(\\?\|[A-Za-z =]+)*$/.test(pattern)) return false
  if (!statSync(plist, { throwIfNoEntry: false })?.isFile()) return false
  const text = readFileSync(plist, 'latin1')
  // A line `NAME => value` of the environment has in it only what stands in the file.
  return pattern.split(/\\?\|/).every((part) =>
    part.split(/[ =]+/).some((word) => {
      if (word.length < 3) return false
      return !(ignoresCase ? text.toLowerCase().includes(word.toLowerCase()) : text.includes(word))
    }),
  )
}

/** launchctl print shows the job's environment, and older releases of OpenClaw put the token there. */
function assertNoSecretIn(plist: string, world: World): void {
  try {
    assertReadable(plist, NO_FOLDER, world)
  } catch {
    throw new Refused('secrets', `The job’s environment holds a secret. Use \`launchctl list ${world.launchdLabel}\`.`)
  }
}

function refuseForeign(target: string | undefined, own: string): never {
  const rule = /com\.openclaw\./.test(target ?? '') ? 'project' : 'not-allowed'
  throw new Refused(rule, `${target || 'Nothing'} is not the gateway’s own job, which is ${own}.`)
}

/** The other forms of the journal are for programs: json shows a line with colours in it as a list of numbers. */
export function assertReadableJournal(options: Options): void {
  if (options.values('o', '--output').some((one) => !/^(short[a-z-]*|cat|verbose|with-unit)$/.test(one))) {
    throw new Refused('unclear', 'Use -o short-iso or -o cat.')
  }
}

const SYSTEMCTL_READS = new Set([
  'status',
  'is-active',
  'is-failed',
  'is-enabled',
  'show',
  'cat',
  'list-units',
  'list-unit-files',
  'list-timers',
  'list-dependencies',
])
const SYSTEMCTL_ACTS = new Set(['restart', 'start', 'stop', 'try-restart', 'reset-failed', 'enable'])

function systemctl(command: Command, world: World): RuleId {
  const { operands, options } = readArguments(command, {
    flags: 'laq',
    valued: 'nopt',
    long: 'user no-pager full no-legend plain all failed quiet no-block value now',
    longValued: 'lines output property type state',
    order: 'anywhere',
  })
  assertReadableJournal(options)
  const [verb = 'list-units', ...units] = operands
  if (verb === 'daemon-reload' && units.length === 0 && options.has('--user')) return 'service'
  if (/environment/.test(verb)) throw new Refused('secrets', `\`systemctl ${verb}\`:`)
  if (verb === 'edit' || verb === 'set-property' || verb === 'mask' || verb === 'disable' || verb === 'link') {
    throw new Refused('security', `\`systemctl ${verb}\`:`)
  }
  const acts = SYSTEMCTL_ACTS.has(verb)
  if (!acts && !SYSTEMCTL_READS.has(verb)) throw new Refused('not-allowed', `\`systemctl ${verb}\`:`)
  const own = world.systemdUnit.replace(/\.service$/, '')
  const isList = verb.startsWith('list-')
  for (const unit of units) {
    if (!isList && unit.replace(/\.service$/, '') !== own) {
      const rule = unit.startsWith('com.openclaw.') ? 'project' : 'not-allowed'
      throw new Refused(rule, `${unit} is not the gateway’s own unit, which is ${world.systemdUnit}.`)
    }
  }
  if (!isList && units.length === 0 && verb !== 'status')
    throw new Refused('unclear', `systemctl ${verb} lacks its unit.`)
  if (verb === 'show') {
    const properties = options.values('p', '--property')
    if (properties.length === 0 || properties.some((one) => /env/i.test(one))) {
      throw new Refused(
        'secrets',
        'Name the properties: `systemctl --user show -p ActiveState,SubState,ExecMainStatus <unit>`.',
      )
    }
  }
  if (verb === 'cat') for (const file of unitFiles(world)) assertReadable(file, NO_FOLDER, world)
  if (acts && !options.has('--user')) throw new Refused('privilege', 'The gateway is a unit of this user: add --user.')
  return acts ? 'service' : 'diagnose'
}

function unitFiles(world: World): string[] {
  const unit = join(world.home, '.config/systemd/user', world.systemdUnit)
  const folder = `${unit}.d`
  return [unit, ...(existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [])]
}
