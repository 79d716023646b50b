/** The ordinary programs that the doctor may use, each with the options and files that it may be given. */
import { Refused, type RuleId } from './guard.ts'
import { type Arguments, literals, type OptionList, readArguments } from './guard-arguments.ts'
import type { World } from './guard-context.ts'
import { readAwk, readFind, readJq, readPrintf, readSed, readTest } from './guard-filters.ts'
import { assertReadable, assertTreeReadable, assertWritableReport } from './guard-paths.ts'
import { lsof, netstat, ps, ss, top } from './guard-processes.ts'
import type { Command } from './guard-shell.ts'

type ProgramRule = (command: Command, world: World) => RuleId | Promise<RuleId>

/** A program that shows the contents of the files it is given, or of its standard input. */
function reader(
  list: OptionList,
  options: { isTail?: boolean; textOperands?: number; mostFiles?: number } = {},
): ProgramRule {
  return (command, world) => {
    const { operands } = readArguments(command, list)
    const files = operands.slice(options.textOperands ?? 0)
    if (files.length > (options.mostFiles ?? Infinity))
      throw new Refused('delete', `${command.program} would write to ${files.at(-1)}.`)
    return readFiles(command, files, world, options.isTail)
  }
}

function readFiles(command: Command, files: readonly string[], world: World, isTail = false): RuleId {
  for (const file of files) if (file !== '-') assertReadable(file, command.cwds, world, isTail)
  const readsStdin = files.length === 0 || files.includes('-')
  if (readsStdin && command.stdin === 'nothing')
    throw new Refused('unclear', `${command.program} is given nothing to read.`)
  return files.length > 0 || command.stdin === 'file' ? 'read' : 'text'
}

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

const text: ProgramRule = () => 'text'

const grep: ProgramRule = (command, world) => {
  const found = readArguments(command, {
    // Not R: it follows symlinks out of the folder.
    flags: 'ivnclLqsohHwxEFGPaIzUyr',
    valued: 'mABCe',
    long: 'color colour recursive line-buffered text no-messages ignore-case count extended-regexp fixed-strings perl-regexp only-matching invert-match line-number files-with-matches no-filename with-filename word-regexp quiet',
    longValued: 'include exclude exclude-dir max-count regexp after-context before-context context',
  })
  return searchFiles(command, found, world, found.options.has('r', '--recursive'))
}

const ripgrep: ProgramRule = (command, world) => {
  const list = {
    flags: 'invcloNSwFUaHI',
    valued: 'mABCegtT',
    long: 'no-heading heading color ignore-case line-number count only-matching',
    longValued: 'glob max-count context type',
    order: 'anywhere',
  } as const
  return searchFiles(command, readArguments(command, list), world, true)
}

function searchFiles(command: Command, found: Arguments, world: World, isRecursive: boolean): RuleId {
  const files = [...found.operands]
  if (!found.options.has('e', '--regexp')) {
    if (files.shift() === undefined) throw new Refused('unclear', `${command.program} lacks its pattern.`)
  }
  if (!isRecursive) return readFiles(command, files, world)
  if (files.length === 0 && command.program === 'rg' && command.stdin !== 'nothing') return 'text'
  for (const file of files.length > 0 ? files : ['.']) assertTreeReadable(file, command.cwds, world)
  return 'read'
}

const date: ProgramRule = (command) => {
  const { operands } = readArguments(command, {
    flags: 'uRI',
    long: 'utc iso-8601 universal',
    longValued: 'rfc-3339',
  })
  if (operands.some((one) => !one.startsWith('+'))) throw new Refused('not-allowed', '`date` would set the clock.')
  return 'text'
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

const jq: ProgramRule = (command, world) => {
  const { files, readsNothing } = readJq(command)
  return readsNothing && files.length === 0 ? 'text' : readFiles(command, files, world)
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
    // Contents of files.
    cat: reader({ flags: 'nbsAeEtTuv' }),
    tac: reader({}),
    nl: reader({ flags: 'p', valued: 'bnw' }),
    head: reader({ flags: 'qvz', valued: 'nc', isNumeric: true, longValued: 'lines bytes' }),
    tail: reader({ flags: 'qvrz', valued: 'nc', isNumeric: true, longValued: 'lines bytes' }, { isTail: true }),
    grep,
    egrep: grep,
    fgrep: grep,
    rg: ripgrep,
    sort: reader({
      flags: 'nrufbdhgMVRcsz',
      valued: 'kt',
      long: 'reverse numeric-sort unique',
      longValued: 'key field-separator',
    }),
    uniq: reader({ flags: 'cdiuz', valued: 'fsw', long: 'count repeated', order: 'first' }, { mostFiles: 1 }),
    cut: reader({ flags: 'sn', valued: 'dfcb', longValued: 'delimiter fields' }),
    tr: reader({ flags: 'dscCt' }, { textOperands: 2 }),
    wc: reader({ flags: 'lwcmL', long: 'lines words bytes' }),
    column: reader({ flags: 'tx', valued: 'sco' }),
    fold: reader({ flags: 's', valued: 'w' }),
    paste: reader({ flags: 's', valued: 'd' }),
    comm: reader({ flags: '123i' }),
    diff: reader({
      flags: 'uqbBwiNsyaEt',
      valued: 'UCW',
      long: 'brief side-by-side color unified',
      longValued: 'width',
    }),
    cmp: reader({ flags: 'ls' }, { mostFiles: 2 }),
    strings: reader({ flags: 'a', valued: 'nt' }),
    sed: (command, world) => readFiles(command, readSed(command).files, world),
    awk: (command, world) => readFiles(command, readAwk(command).files, world),
    gawk: (command, world) => readFiles(command, readAwk(command).files, world),
    mawk: (command, world) => readFiles(command, readAwk(command).files, world),
    jq,

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
    basename: namer({ flags: 'a', valued: 's' }),
    dirname: namer({}),
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
