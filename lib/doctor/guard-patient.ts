/** The programs with which the doctor treats the gateway: openclaw, the service managers, npm, kill, curl. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { isSecretName, secretValues } from '../alerts/redact.ts'
import { isForeignLog } from '../tier/profile.ts'
import { isRecord } from '../tier/state.ts'
import { Refused, type RuleId } from './guard.ts'
import { literals, readArguments } from './guard-arguments.ts'
import { judgeConfigValue } from './guard-config.ts'
import { configWith, configWithout, leavesOf, parseOrNothing, splitPath } from './guard-config-tree.ts'
import type { World } from './guard-context.ts'
import { packages } from './guard-packages.ts'
import { assertReadable, isFolder, NO_FOLDER } from './guard-paths.ts'
import { repairMark } from './guard-record.ts'
import { assertReadableJournal, plutil, service } from './guard-service.ts'
import type { Command } from './guard-shell.ts'

type Rule = (command: Command, world: World) => RuleId | Promise<RuleId>

/** One line per openclaw command that may be used: its words, its rule, its options without and with a value. */
const OPENCLAW: readonly (readonly [words: string, rule: RuleId, long?: string, longValued?: string])[] = [
  ['status', 'diagnose', 'all json deep usage verbose debug', 'timeout'],
  ['health', 'diagnose', 'json verbose debug', 'timeout'],
  ['gateway status', 'diagnose', 'json deep no-probe require-rpc', 'timeout'],
  ['gateway health', 'diagnose', 'json', 'timeout'],
  ['gateway probe', 'diagnose', 'json', 'timeout'],
  ['daemon status', 'diagnose', 'json deep no-probe', 'timeout'],
  ['gateway restart', 'restart', 'json force safe preserve-definition skip-deferral', 'wait'],
  ['gateway start', 'restart', 'json'],
  ['daemon restart', 'restart', 'json'],
  ['daemon start', 'restart', 'json'],
  ['config validate', 'diagnose', 'json'],
  ['config file', 'diagnose'],
  ['config schema', 'diagnose'],
  ['logs', 'diagnose', 'json plain local-time utc', 'limit max-bytes timeout'],
  ['channels status', 'diagnose', 'json probe', 'timeout'],
  ['channels list', 'diagnose', 'json'],
  ['models status', 'diagnose', 'json'],
  ['models list', 'diagnose', 'json all'],
  ['plugins list', 'diagnose', 'json verbose enabled'],
  ['plugins doctor', 'diagnose', 'json'],
  ['cron status', 'diagnose', 'json'],
  ['update status', 'diagnose', 'json'],
  ['security audit', 'diagnose', 'json deep'],
  ['memory status', 'diagnose', 'json'],
]

/** Words with which openclaw would do something that has a rule of its own. */
const OPENCLAW_REFUSED: ReadonlyMap<string, RuleId> = new Map(
  Object.entries<RuleId>({
    secrets: 'secrets',
    devices: 'security',
    pairing: 'security',
    approvals: 'security',
    'exec-approvals': 'security',
    'exec-policy': 'security',
    dashboard: 'secrets',
    qr: 'secrets',
    backup: 'delete',
    reset: 'delete',
    uninstall: 'delete',
    sessions: 'delete',
    message: 'network',
    agent: 'network',
    dns: 'network',
    docs: 'network',
    cron: 'schedule',
    automations: 'schedule',
    configure: 'security',
    onboard: 'security',
  }),
)

const openclaw: Rule = (command, world) => {
  const args = literals(command)
  assertOwnProfile(args, world)
  while (args[0] === '--no-color') args.shift()
  // Only behind plain words: behind an option, --help may be its value (`backup create --output --help` makes that file).
  if (/^(help|([a-z][a-z-]* )*(--help|-h)$)(?: [a-z][a-z-]*)*$/.test(args.join(' '))) return 'diagnose'
  if (args.length === 1 && /^(--version|-V|-v)$/.test(args[0]!)) return 'diagnose'
  const words = args.slice(0, 2)
  if (words[0] === 'doctor') return openclawDoctor(command, args.slice(1), world)
  if (words[0] === 'config' && words[1] === 'get') return configGet(command, args.slice(2), world)
  if (words[0] === 'config' && words[1] === 'set') return configSet(command, args.slice(2), world)
  if (words[0] === 'config' && words[1] === 'unset') return configUnset(command, args.slice(2), world)
  if (/^plugins (inspect|info)$/.test(words.join(' '))) return pluginInspect(command, args.slice(2))
  if (words.join(' ') === 'plugins disable') return pluginDisable(command, args.slice(2), world)
  const known = OPENCLAW.find(([name]) => name === words.join(' ')) ?? OPENCLAW.find(([name]) => name === words[0])
  if (!known) {
    const rule =
      words.join(' ') === 'gateway auth-token' ? 'secrets' : (OPENCLAW_REFUSED.get(words[0] ?? '') ?? 'not-allowed')
    throw new Refused(rule, `\`openclaw ${words.join(' ')}\`:`)
  }
  const [name, rule, long = '', longValued = ''] = known
  const rest = args.slice(name.split(' ').length)
  const { operands } = readArguments(command, { long: `${long} no-color`, longValued }, rest)
  if (operands.length > 0) throw new Refused('unclear', `openclaw ${name} takes no ${operands[0]}.`)
  if (name === 'logs') for (const log of logFiles(world)) assertReadable(log, NO_FOLDER, world, true)
  return rule
}

/** Takes the options that name a profile off the front; only the gateway's own may be named, whose commands these are anyway. */
function assertOwnProfile(args: string[], { profile }: World): void {
  for (;;) {
    const m = /^--(profile|dev)(?:=(.*))?$/.exec(args[0] ?? '')
    if (!m) return
    args.shift()
    const named = m[1] === 'dev' ? 'dev' : (m[2] ?? args.shift() ?? '')
    if (named !== profile)
      throw new Refused('not-allowed', `Profile ${named || '(none)'} is another gateway; this one’s is ${profile}.`)
  }
}

/** The files that `openclaw logs` shows: OpenClaw masks what looks secret, but not every secret does. */
function logFiles(world: World): string[] {
  const places = [join(world.stateDir, 'logs'), '/tmp/openclaw', ...(world.logPaths ?? [])]
  return places.flatMap((place) => {
    if (!isFolder(place)) return existsSync(place) ? [place] : []
    const newest = readdirSync(place)
      .filter((name) => /^openclaw.*\.log$/.test(name) && !isForeignLog(name, world.profile))
      .sort()
      .at(-1)
    return newest === undefined ? [] : [join(place, newest)]
  })
}

/** OpenClaw's own doctor: looking always, repairing once in a run (it has stripped configs), forcing never. */
function openclawDoctor(command: Command, args: string[], world: World): RuleId {
  const { options, operands } = readArguments(
    command,
    {
      long: 'non-interactive deep lint json all no-workspace-suggestions post-upgrade no-color fix repair yes',
      longValued: 'only skip severity-min',
    },
    args,
  )
  if (operands.length > 0) throw new Refused('unclear', `openclaw doctor takes no ${operands[0]}.`)
  if (!options.has('--fix', '--repair', '--yes')) return 'diagnose'
  if (!options.has('--non-interactive'))
    throw new Refused('unclear', 'Add --non-interactive, or it would wait for answers.')
  if (existsSync(repairMark(world))) {
    throw new Refused('not-allowed', '`openclaw doctor --fix` was already run in this recovery.')
  }
  return 'repair'
}

function configGet(command: Command, args: string[], world: World): RuleId {
  const { operands } = readArguments(command, { long: 'json no-color' }, args)
  const [path = '', ...more] = operands
  if (more.length > 0) throw new Refused('unclear', 'Write it as `openclaw config get <path>`.')
  const names = splitPath(path)
  let value: unknown = parseOrNothing(textOrNothing(world.configPath) ?? '')
  // Items of lists are named by their place.
  for (const name of names) value = isRecord(value) || Array.isArray(value) ? Reflect.get(value, name) : undefined
  // Environment variables are refused whole: OpenClaw masks them by their names (2026.9.6, measured), which may be any.
  const isEnvironment = names.includes('env') || leavesOf(value).some((leaf) => leaf.path.includes('env'))
  if (isEnvironment || isSecretName(names.at(-1)!) || secretValues(value, names.at(-1)).length > 0) {
    throw new Refused('secrets', `The config’s ${path} holds one.`)
  }
  return 'diagnose'
}

function configSet(command: Command, args: string[], world: World): RuleId {
  const { operands, options } = readArguments(command, { long: 'json strict-json dry-run no-color' }, args)
  const [path, value, ...more] = operands
  if (path === undefined || value === undefined || more.length > 0) {
    throw new Refused('unclear', 'Write it as `openclaw config set <path> <value>`.')
  }
  judgeConfigCommand(world, (before) => configWith(before, path, value))
  return options.has('--dry-run') ? 'diagnose' : 'edit-config'
}

function configUnset(command: Command, args: string[], world: World): RuleId {
  const { operands } = readArguments(command, { long: 'no-color' }, args)
  const [path, ...more] = operands
  if (path === undefined || more.length > 0) throw new Refused('unclear', 'Write it as `openclaw config unset <path>`.')
  judgeConfigCommand(world, (before) => configWithout(before, path))
  return 'edit-config'
}

/** Without --runtime, which would load the plugin's code. */
function pluginInspect(command: Command, args: string[]): RuleId {
  const { operands } = readArguments(command, { long: 'json no-color' }, args)
  if (operands.length !== 1) throw new Refused('unclear', 'Write it as `openclaw plugins inspect <id>`.')
  return 'diagnose'
}

/** `plugins disable <id>` is `config set plugins.entries.<id>.enabled false`. */
function pluginDisable(command: Command, args: string[], world: World): RuleId {
  const { operands } = readArguments(command, { long: 'no-color' }, args)
  const [id = '', ...more] = operands
  if (!/^[\w-]+$/.test(id) || more.length > 0)
    throw new Refused('unclear', 'Write it as `openclaw plugins disable <id>`.')
  judgeConfigCommand(world, (before) => configWith(before, `plugins.entries.${id}.enabled`, 'false'))
  return 'edit-config'
}

function judgeConfigCommand(world: World, change: (before: unknown) => unknown): void {
  const before = textOrNothing(world.configPath)
  const parsed = before === undefined ? undefined : parseOrNothing(before)
  if (parsed === undefined) throw new Refused('unclear', 'The config cannot be parsed; repair it with Edit first.')
  judgeConfigValue(change(parsed), {
    before,
    knownGood: textOrNothing(world.knownGoodPath),
    gatewayPort: world.gatewayPort,
  })
}

export function textOrNothing(path: string | undefined): string | undefined {
  try {
    // A pipe in its place would hold up the guard for ever.
    return path === undefined || !statSync(path).isFile() ? undefined : readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

/** Signals that end or continue a process. SIGUSR1 opens Node's debugger on today's gateway and is not among them. */
const SIGNALS = /^(SIG)?(TERM|KILL|INT|HUP|QUIT|CONT|USR2|ABRT)$/
const SIGNAL_NUMBERS = new Set(['0', '1', '2', '3', '6', '9', '15'])

const kill: Rule = async (command, world) => {
  const args = literals(command)
  if (args.length === 1 && args[0] === '-l') return 'list'
  let isProbe = false
  const takesSignal = (name: string) => {
    if (!SIGNALS.test(name.toUpperCase()) && !SIGNAL_NUMBERS.has(name)) {
      throw new Refused('security', `Signal ${name} is not one that ends a process.`)
    }
    isProbe = name === '0'
  }
  if (args[0] === '-s' || args[0] === '-n') {
    takesSignal(args[1] ?? '')
    args.splice(0, 2)
  } else if (args[0]?.startsWith('-') && args[0] !== '--') {
    takesSignal(args.shift()!.slice(1))
  }
  if (args[0] === '--') args.shift()
  if (args.length === 0) throw new Refused('unclear', 'kill lacks its pid.')
  for (const arg of args) {
    // 0, -1 and -group mean many processes; a name or %1 is not a pid.
    if (!/^[1-9]\d{0,8}$/.test(arg) || arg === '1') throw new Refused('foreign-process', `\`kill ${arg}\`:`)
    if (!isProbe && !(await world.isGatewayProcess(Number(arg)))) {
      throw new Refused('foreign-process', `Process ${arg} is not shown to be the gateway’s own.`)
    }
  }
  return isProbe ? 'processes' : 'end-process'
}

const curl: Rule = (command, world) => {
  const { operands, options } = readArguments(command, {
    flags: 'sSfiIvk46#',
    valued: 'mowX',
    long: 'silent show-error fail head include verbose insecure retry-connrefused no-progress-meter compressed ipv4',
    longValued: 'max-time connect-timeout output write-out request retry retry-delay retry-max-time noproxy',
    order: 'anywhere',
  })
  for (const output of options.values('o', '--output')) {
    if (output !== '/dev/null' && output !== '-') throw new Refused('write', `curl would write ${output}.`)
  }
  for (const method of options.values('X', '--request')) {
    if (method !== 'GET' && method !== 'HEAD') throw new Refused('network', `curl would send a ${method}.`)
  }
  for (const format of options.values('w', '--write-out')) {
    if (format.startsWith('@') || format.includes('%output'))
      throw new Refused('unclear', `curl -w ${format} uses files.`)
  }
  const address = /^(?:https?:\/\/)?(?:127\.0\.0\.1|localhost|\[::1\]):(\d+)(?:\/(?:healthz?|readyz|startupz)?)?$/
  for (const url of operands) {
    const port = address.exec(url)?.[1]
    if (port !== String(world.gatewayPort)) {
      throw new Refused(
        'network',
        `curl may only ask http://127.0.0.1:${world.gatewayPort}/health, /readyz or /startupz.`,
      )
    }
  }
  if (operands.length === 0) throw new Refused('unclear', 'curl lacks its address.')
  return 'probe'
}

/** The journal of the gateway's own unit. Vacuuming, following and other units are left out. */
const journalctl: Rule = (command, world) => {
  if (/^(--user )?--disk-usage$/.test(literals(command).join(' '))) return 'list'
  const { operands, options } = readArguments(command, {
    flags: 'erxqa',
    valued: 'uopSUg',
    numbered: 'nb',
    long: 'user no-pager reverse catalog utc no-hostname all quiet pager-end',
    longValued: 'unit user-unit output priority since until grep',
    longNumbered: 'lines boot',
  })
  if (operands.length > 0) throw new Refused('unclear', `journalctl takes no ${operands[0]}.`)
  assertReadableJournal(options)
  const own = world.systemdUnit.replace(/\.service$/, '')
  const units = options.values('u', '--unit', '--user-unit')
  if (units.length === 0 || units.some((unit) => unit.replace(/\.service$/, '') !== own)) {
    throw new Refused('not-allowed', `journalctl is for the gateway: --user -u ${world.systemdUnit} -n 100 --no-pager.`)
  }
  return 'live'
}

export const PATIENT_PROGRAMS: ReadonlyMap<string, Rule> = new Map(
  Object.entries<Rule>({
    openclaw,
    kill,
    curl,
    npm: packages,
    pnpm: packages,
    bun: packages,
    yarn: packages,
    journalctl,
    plutil: (command, world) => plutil(command, world),
    launchctl: (command, world) => service(command, world),
    systemctl: (command, world) => service(command, world),
  }),
)
