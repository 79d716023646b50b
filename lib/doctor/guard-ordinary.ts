/** The ordinary programs that the doctor may use, each with the options and files that it may be given. */
import { basename } from 'node:path'
import { Refused, type RuleId } from './guard.ts'
import { literals, type OptionList, readArguments } from './guard-arguments.ts'
import { readFind, readPrintf, readTest } from './guard-filters.ts'
import { assertWritableReport } from './guard-paths.ts'
import { lsof, netstat, ps, ss, top } from './guard-processes.ts'
import { disguised, type ProgramRule, READERS } from './guard-readers.ts'

/** A program that tells about files or the host, but shows no file's contents. */
function lister(list: OptionList, rule: RuleId = 'list', allowsOperands = true): ProgramRule {
  return (command) => {
    const { operands } = readArguments(command, list)
    if (!allowsOperands && operands.length > 0)
      throw new Refused('unclear', `${command.program} ${operands[0]} changes something.`)
    return rule
  }
}

/** A program that can do nothing but tell about the names it is given, even if those are only known when it runs. */
const namer =
  (list: OptionList): ProgramRule =>
  (command) => {
    readArguments(
      command,
      list,
      command.args.filter((arg) => typeof arg === 'string'),
    )
    return 'list'
  }

/** A program that gives a part of each name. */
const cutter =
  (list: OptionList): ProgramRule =>
  (command, world) => {
    if (command.hasUnseenArgs) throw disguised(command)
    return namer(list)(command, world)
  }

const text: ProgramRule = () => 'text'

const date: ProgramRule = (command) => {
  const list = { flags: 'uRI', long: 'utc iso-8601 universal', longValued: 'rfc-3339' }
  // -I takes its word only without a blank.
  const args = literals(command).map((arg) => arg.replace(/^-I(date|hours|minutes|seconds|ns)$/, '-I'))
  const { operands } = readArguments(command, list, args)
  if (operands.some((one) => !one.startsWith('+'))) throw new Refused('not-allowed', '`date` would set the clock.')
  return 'text'
}

/** Options that end a script early. Without any, set shows every variable. */
const set: ProgramRule = (command) => {
  const args = literals(command).join(' ')
  if (!/^(-[eu]+|-[eu]*o pipefail)( -[eu]+| -[eu]*o pipefail)*$/.test(args)) {
    throw new Refused('secrets', 'Of `set` only -e, -u and -o pipefail may be used.')
  }
  return 'text'
}

const cp: ProgramRule = (command, world) => {
  const isOfConfig = command.args.some((arg) => typeof arg === 'string' && arg.includes(basename(world.configPath)))
  const copied = 'There is no need: a copy of the config is taken before every edit of it.'
  throw new Refused('write', `\`cp\`:${isOfConfig ? ` ${copied}` : ''}`)
}

const sleep: ProgramRule = (command) => {
  const [time, ...more] = literals(command)
  if (more.length > 0 || !/^\d{1,3}(\.\d+)?s?$/.test(time ?? ''))
    throw new Refused('unclear', 'Give sleep seconds, below 1000.')
  return 'text'
}

const find: ProgramRule = (command) => {
  readFind(literals(command))
  return 'list'
}

const tee: ProgramRule = (command, world) => {
  for (const file of readArguments(command, { flags: 'ai', long: 'append', order: 'first' }).operands) {
    assertWritableReport(file, command.cwds, world)
  }
  return 'report'
}

/** A Map, because an object would also answer to `constructor` and `toString`. */
export const ORDINARY_PROGRAMS: ReadonlyMap<string, ProgramRule> = new Map(
  Object.entries<ProgramRule>({
    ...READERS,

    // Files and the host from outside.
    ls: namer({ flags: 'lahAtrRS1dFiGgopnTUukcsXZ@eO', long: 'color all human-readable full-time time-style sort' }),
    stat: namer({ flags: 'xLlsrq', valued: 'ctf', longValued: 'format printf', long: 'dereference terse' }),
    file: lister({ flags: 'bLih', long: 'brief mime-type' }),
    du: lister({ flags: 'shkmacxHL', valued: 'd', long: 'human-readable summarize', longValued: 'max-depth' }),
    df: lister({ flags: 'hkTiPlamgH', long: 'human-readable' }),
    find,
    pwd: lister({ flags: 'LP' }),
    realpath: namer({ flags: 'emsqz' }),
    readlink: namer({ flags: 'femnvz' }),
    basename: cutter({ flags: 'a', valued: 's' }),
    dirname: cutter({}),
    which: lister({ flags: 'as' }),
    whereis: lister({ flags: 'bms' }),
    type: lister({ flags: 'atpPf' }),
    uname: lister({ flags: 'asrmnpvio' }),
    uptime: lister({ flags: 'ps' }),
    free: lister({ flags: 'hmgbkwt' }),
    vm_stat: namer({}),
    vmstat: namer({ flags: 'swdam' }),
    nproc: lister({ long: 'all' }),
    sw_vers: lister({ long: 'productVersion' }),
    whoami: lister({}, 'list', false),
    id: lister({ flags: 'ungGr' }),
    hostname: lister({ flags: 'fsi' }, 'list', false),
    ulimit: lister({ flags: 'anuHSvdmcft' }, 'list', false),

    // Processes and ports.
    ps,
    pgrep: lister({ flags: 'flaxnouivc', valued: 'uUPgGts', long: 'full list-name list-full' }, 'processes'),
    pidof: lister({ flags: 'sxq' }, 'processes'),
    lsof,
    ss,
    netstat,
    top,

    // Text, tests, waiting.
    echo: text,
    printf: (command) => {
      readPrintf(command)
      return 'text'
    },
    true: text,
    false: text,
    ':': text,
    test: (command) => {
      readTest(command)
      return 'text'
    },
    '[': (command) => {
      readTest(command)
      return 'text'
    },
    seq: (command) => {
      if (!literals(command).every((arg) => /^-?\d+$/.test(arg))) throw new Refused('unclear', 'Give seq numbers.')
      return 'text'
    },
    sleep,
    date,
    set,
    cp,
    hash: (command) => {
      // With a name it may say that another file is that program.
      if (literals(command).join(' ') !== '-r') throw new Refused('interpreter', 'Of `hash` only -r may be used.')
      return 'text'
    },
    exit: (command) => {
      if (!literals(command).every((arg) => /^\d+$/.test(arg))) throw new Refused('unclear', 'Give exit a number.')
      return 'text'
    },
    break: lister({}, 'text', false),
    continue: lister({}, 'text', false),
    wait: lister({}, 'text', false),
    tee,
  }),
)
