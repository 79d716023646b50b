/** Judges a simple command by its program, and follows the programs that run another one. */
import { basename } from 'node:path'
import { REFUSED_PROGRAMS, Refused, type RuleId } from './guard.ts'
import { literals } from './guard-arguments.ts'
import type { World } from './guard-context.ts'
import { ORDINARY_PROGRAMS } from './guard-ordinary.ts'
import { PATIENT_PROGRAMS } from './guard-patient.ts'
import { type Command, walkShell } from './guard-shell.ts'

/** Judges one simple command: the rules that allow it, or throws. Commands in front of others are followed. */
export async function judgeProgram(command: Command, world: World, depth: number): Promise<RuleId[]> {
  const { program } = command
  if (!READS_TO_THE_END.has(program) && command.upstream.some((one) => one === 'repair' || one === 'reinstall')) {
    throw new Refused('unclear', `${program} may end before the command in front of it, and cut that off; use tail.`)
  }
  const rule = ORDINARY_PROGRAMS.get(program) ?? PATIENT_PROGRAMS.get(program)
  if (rule) return [await rule(command, world)]
  const first = typeof command.args[0] === 'string' ? command.args[0] : ''
  if (command.args.length === 1 && VERSION_OPTIONS.get(program)?.includes(first)) return ['diagnose']
  if (SHELLS.has(program)) return judgeShell(command, world, depth)
  // `command -v name` looks a program up; anything else behind `command` is run.
  if (program === 'command' && /^-[vV]$/.test(first)) return ['list']
  if (PREFIX_OPTIONS.has(program)) return judgeBehindPrefix(behindPrefix(command), world, depth)
  throw new Refused(REFUSED_PROGRAMS.get(program) ?? versioned(program) ?? 'not-allowed', `\`${program}\`:`)
}

/** Filters that never close the pipe while something still writes into it. */
const READS_TO_THE_END = new Set(['cat', 'tail', 'tee', 'sort', 'wc', 'cut', 'tr', 'nl'])

/** `python3.12`, `mkfs.ext4`, `pip3`: the program behind a version or a variant. */
function versioned(program: string): RuleId | undefined {
  return REFUSED_PROGRAMS.get(program.replace(/[\d.]+$/, '')) ?? REFUSED_PROGRAMS.get(program.replace(/\..*$/, ''))
}

/** What asks a program for its version and nothing else: `python3 -v` and `bash -v` would run what they read, `tmux -v` starts one. */
const VERSION_OPTIONS: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries({
    node: ['--version', '-v'],
    python3: ['--version', '-V'],
    python: ['--version', '-V'],
    git: ['--version', '-v'],
    brew: ['--version', '-v'],
    claude: ['--version', '-v'],
    tmux: ['-V'],
    bash: ['--version'],
    zsh: ['--version'],
    deno: ['--version', '-V'],
    tsx: ['--version'],
  }),
)

/** Shells run what stands behind -c, which is judged like a call of its own. Anything else they would read is refused. */
const SHELLS = new Set(['sh', 'bash', 'zsh', 'dash', 'ash'])

async function judgeShell(command: Command, world: World, depth: number): Promise<RuleId[]> {
  const args = literals(command)
  const source = args.at(-1)
  const flags = args.slice(0, -1)
  const isLiteral =
    flags.some((flag) => /^-[leux]*c$/.test(flag)) && flags.every((flag) => /^-[leuxc]+$|^--login$/.test(flag))
  if (!isLiteral || source === undefined || flags.filter((flag) => flag.includes('c')).length !== 1) {
    throw new Refused('interpreter', `\`${command.program}\` would run what it reads.`)
  }
  const rules: RuleId[] = []
  const judgeInner = async (inner: Command, at: number) => {
    const found = await judgeProgram(inner, world, at)
    rules.push(...found)
    return found
  }
  await walkShell(source, world, judgeInner, depth + 1, command.cwds)
  return rules
}

function behindPrefix(command: Command): Command {
  const args = literals(command)
  const isOption = PREFIX_OPTIONS.get(command.program)!
  while (args.length > 0 && isOption(args[0]!)) args.shift()
  let { timeLimitSec } = command
  if (command.program.endsWith('timeout')) {
    const [, digits, unit = 's'] = /^(\d+(?:\.\d+)?)([smh])?$/.exec(args.shift() ?? '') ?? []
    if (digits === undefined) throw new Refused('unclear', 'Write timeout as `timeout <seconds> <command>`.')
    const seconds = Number(digits) * { s: 1, m: 60, h: 3600 }[unit as 's' | 'm' | 'h']
    // For timeout, 0 is no limit.
    if (seconds > 0) timeLimitSec = Math.min(seconds, timeLimitSec ?? seconds)
  }
  const program = args.shift()
  if (program === undefined) throw new Refused('secrets', `\`${command.program}\` alone shows the environment.`)
  if (program.startsWith('-') || program.includes('=')) {
    throw new Refused('unclear', `${command.program} ${program} is not among its usual options.`)
  }
  const isSystem = /^(\/usr(\/local)?)?\/s?bin\/[^/]+$|^\/opt\/homebrew\/bin\/[^/]+$/.test(program)
  if (program.includes('/') && !isSystem) throw new Refused('not-allowed', `${program} is not a program of the system.`)
  return { ...command, program: basename(program), args, timeLimitSec }
}

/** What must not be cut off half-way: a repair rewrites the config, a reinstall the package, a restart stops first. */
const NEEDS_TIME: readonly RuleId[] = ['repair', 'reinstall', 'restart']
const LEAST_TIME_SEC = 60

async function judgeBehindPrefix(command: Command, world: World, depth: number): Promise<RuleId[]> {
  const rules = await judgeProgram(command, world, depth)
  if ((command.timeLimitSec ?? LEAST_TIME_SEC) < LEAST_TIME_SEC && rules.some((rule) => NEEDS_TIME.includes(rule))) {
    throw new Refused('unclear', `It would be cut off half-way; give it at least ${LEAST_TIME_SEC} seconds.`)
  }
  return rules
}

/** Programs that run the command behind them, and what may stand between. */
const PREFIX_OPTIONS: ReadonlyMap<string, (arg: string) => boolean> = new Map(
  Object.entries({
    env: (arg) => /^(LC_ALL|LANG|TZ|NO_COLOR|COLUMNS)=/.test(arg),
    command: () => false,
    nice: (arg) => /^(-n|-?\d+|-n\d+)$/.test(arg),
    timeout: (arg) => /^(--foreground|--preserve-status|-k\d+|-s(TERM|KILL|INT))$/.test(arg),
    gtimeout: (arg) => /^(--foreground|--preserve-status|-k\d+|-s(TERM|KILL|INT))$/.test(arg),
    time: (arg) => arg === '-p',
  }),
)
