/** The programs that show the contents of files or of their standard input, and which of them keep a secret recognisable. */
import { Refused, type RuleId } from './guard.ts'
import { type Arguments, literals, type OptionList, readArguments } from './guard-arguments.ts'
import type { World } from './guard-context.ts'
import { type Filter, readAwk, readJq, readSed } from './guard-filters.ts'
import { assertReadable, assertTreeReadable, isConfigFile, realPaths } from './guard-paths.ts'
import type { Command } from './guard-shell.ts'

/** Judges a call of one program: the rule that allows it, or throws. */
export type ProgramRule = (command: Command, world: World) => RuleId | Promise<RuleId>

/** Does a program leave the words of its input as they are, so that a secret among them is still found in its output? */
type Keeps = (found: Arguments) => boolean

const always: Keeps = () => true
const never: Keeps = () => false

/** A program that shows the contents of the files it is given, or of its standard input. */
function reader(
  list: OptionList,
  keeps: Keeps,
  { textOperands = 0, mostFiles = Infinity }: { textOperands?: number; mostFiles?: number } = {},
): ProgramRule {
  return (command, world) => {
    const found = readArguments(command, list)
    const files = found.operands.slice(textOperands)
    if (files.length > mostFiles) throw new Refused('delete', `${command.program} would write to ${files.at(-1)}.`)
    return readFiles(command, files, world, keeps(found))
  }
}

/** @param fromEnd as in `assertReadable` */
function readFiles(
  command: Command,
  files: readonly string[],
  world: World,
  keepsWords: boolean,
  fromEnd: boolean | number = false,
): RuleId {
  const named = files.filter((file) => file !== '-')
  const isSeen = named.map((file) => assertReadable(file, command.cwds, world, fromEnd)).every(Boolean)
  const readsStdin = files.length === 0 || files.includes('-')
  if (readsStdin && command.stdin === 'nothing')
    throw new Refused('unclear', `${command.program} is given nothing to read.`)
  if (!keepsWords && (!isSeen || (readsStdin && command.isUnseen))) throw disguised(command)
  if (!isSeen || (command.stdin === 'file' && command.isUnseen)) return 'live'
  return files.length > 0 || command.stdin === 'file' ? 'read' : 'text'
}

/** Secrets are taken out of the answers, but only as long as they look like themselves. */
export function disguised({ program }: Command): Refused {
  return new Refused(
    'secrets',
    `${program}, used like that, may make a secret unrecognisable in text that could not be looked through first; filter that with grep, head -n and tail -n as it is.`,
  )
}

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
    long: 'no-heading heading ignore-case line-number count only-matching',
    longValued: 'glob max-count context type color',
    order: 'anywhere',
  } as const
  return searchFiles(command, readArguments(command, list), world, true)
}

function searchFiles(command: Command, found: Arguments, world: World, isRecursive: boolean): RuleId {
  const { options } = found
  const files = [...found.operands]
  if (!options.has('e', '--regexp')) {
    if (files.shift() === undefined) throw new Refused('unclear', `${command.program} lacks its pattern.`)
  }
  // Colours stand around every match, which may be a single letter.
  const isColoured = options.values('--color', '--colour').some((one) => !/^(|auto|never)$/.test(one))
  // What a plain word matches is known already; of `[a-z]` or `a|b|…` every match stands on a line of its own.
  const patterns = options.has('e', '--regexp') ? options.values('e', '--regexp') : found.operands.slice(0, 1)
  const isPlainWord = patterns.length === 1 && /^[\w =:,-]{3,}$/.test(patterns[0]!)
  const keepsWords = !isColoured && (isPlainWord || !options.has('o', '--only-matching'))
  const readsStdin = files.length === 0 && command.program === 'rg' && command.stdin !== 'nothing'
  if (!isRecursive || readsStdin) return readFiles(command, files, world, keepsWords)
  const trees = files.length > 0 ? files : ['.']
  const isSeen = trees.map((file) => assertTreeReadable(file, command.cwds, world)).every(Boolean)
  if (!isSeen && !keepsWords) throw disguised(command)
  return isSeen ? 'read' : 'live'
}

/** Nobody tunes a round width so that it leaves out the last letter of a secret. */
const isRoundWidth = (width: string | undefined) => Number(width) >= 80 && Number(width) % 10 === 0

const head = reader({ flags: 'qvz', valued: 'nc', isNumeric: true, longValued: 'lines bytes' }, ({ options }) =>
  options.values('c', '--bytes').every((one) => /^\d+$/.test(one) && isRoundWidth(one)),
)

const tail: ProgramRule = (command, world) => {
  const { operands, options } = readArguments(command, {
    // Without an end only where something else ends it.
    flags: command.timeLimitSec === undefined ? 'qvrz' : 'qvrzfF',
    valued: 'nc',
    isNumeric: true,
    longValued: 'lines bytes',
  })
  const isByBytes = options.has('c', '--bytes')
  const counts = options.values('n', '--lines')
  const isCounted = !isByBytes && !options.has('r', 'z') && counts.every((one) => /^-?\d+$/.test(one))
  const lines = Math.max(10, ...counts.map((one) => Math.abs(Number(one))))
  const rule = readFiles(command, operands, world, !isByBytes, isCounted ? lines : true)
  return rule === 'read' && options.has('f', 'F') ? 'live' : rule
}

/** Whole fields between blanks, or the beginning of a line. */
const keepsFields: Keeps = ({ options }) =>
  !options.has('b') &&
  options.values('d', '--delimiter').every((one) => one === ' ') &&
  options.values('c').every((one) => isRoundWidth(/^1?-(\d+)$/.exec(one)?.[1]))

/** tr for blanks, quotes and line ends; what joins words is none of it. */
const keepsBlanks: Keeps = ({ operands, options }) => {
  const isBlank = (set: string) => /^(?:\\[0nrt]|\\000|\[:(?:space|blank|cntrl):\]|[ '",])*$/.test(set)
  if (options.has('c', 'C')) return false
  return options.has('d') ? operands.every((set) => /^(?:\\[0r]|["'])*$/.test(set)) : operands.every(isBlank)
}

const filtering =
  (read: (command: Command) => Filter): ProgramRule =>
  (command, world) => {
    const { files, keepsWords } = read(command)
    return readFiles(command, files, world, keepsWords)
  }

/** The config's size and its names may be known, its values are not shown. */
const withoutConfig = (files: readonly string[], { cwds }: Command, world: World) =>
  files.filter((file) => !realPaths(file, cwds, world.home).every((path) => isConfigFile(path, world)))

const wc: ProgramRule = (command, world) => {
  const { operands } = readArguments(command, { flags: 'lwcmL', long: 'lines words bytes' })
  const others = withoutConfig(operands, command, world)
  return operands.length > 0 && others.length === 0 ? 'list' : readFiles(command, others, world, true)
}

const jq: ProgramRule = (command, world) => {
  const { files, keepsWords, readsNothing, showsNames } = readJq(command)
  if (showsNames && files.length > 0 && withoutConfig(files, command, world).length === 0) return 'list'
  return readsNothing && files.length === 0 ? 'text' : readFiles(command, files, world, keepsWords)
}

const strings: ProgramRule = (command, world) => {
  // binutils take the arguments out of a file that is named @file, and its words stand in the errors.
  if (literals(command).some((arg) => arg.startsWith('@')))
    throw new Refused('unclear', 'strings would read its arguments from a file; put ./ in front of it.')
  return reader({ flags: 'a', valued: 'nt' }, always)(command, world)
}

export const READERS: Readonly<Record<string, ProgramRule>> = {
  cat: reader({ flags: 'nbsAeEtTuv' }, always),
  tac: reader({}, always),
  nl: reader({ flags: 'p', valued: 'bnw' }, always),
  head,
  tail,
  grep,
  egrep: grep,
  fgrep: grep,
  rg: ripgrep,
  sort: reader(
    {
      flags: 'nrufbdhgMVRcsz',
      valued: 'kt',
      long: 'reverse numeric-sort unique',
      longValued: 'key field-separator',
    },
    always,
  ),
  uniq: reader({ flags: 'cdiuz', valued: 'fsw', long: 'count repeated', order: 'first' }, always, { mostFiles: 1 }),
  cut: reader({ flags: 'sn', valued: 'dfcb', longValued: 'delimiter fields' }, keepsFields),
  tr: reader({ flags: 'dscCt' }, keepsBlanks, { textOperands: 2 }),
  wc,
  column: reader({ flags: 'tx', valued: 'sco' }, ({ options }) => !options.has('s')),
  fold: reader({ flags: 's', valued: 'w' }, never),
  paste: reader({ flags: 's', valued: 'd' }, always),
  comm: reader({ flags: '123i' }, always),
  diff: reader(
    {
      flags: 'uqbBwiNsyaEt',
      valued: 'UCW',
      long: 'brief side-by-side color unified',
      longValued: 'width',
    },
    never,
  ),
  cmp: reader({ flags: 'ls' }, never, { mostFiles: 2 }),
  strings,
  sed: filtering(readSed),
  awk: filtering(readAwk),
  gawk: filtering(readAwk),
  mawk: filtering(readAwk),
  jq,
}
