/**
 * A command line taken apart: every simple command that it would run, with its arguments as they will be, and every
 * file that it opens by a redirection. Whatever cannot be told before it runs is refused here, with two exceptions:
 * text that is only printed or compared may come from another (judged) command.
 *
 * Claude Code runs the user's own shell, so a construct that bash and zsh read differently is refused as well.
 */
import { parse, type SyntaxNode } from 'unbash'
import { Refused, type RuleId } from './guard.ts'
import type { World } from './guard-context.ts'
import { isRange, NUMBER } from './guard-numbers.ts'
import { assertReadable, assertWritableReport, isFolder, NO_FOLDER, realPaths } from './guard-paths.ts'
import { coversSource } from './guard-source.ts'
import {
  assertExpandable,
  assertNoZshFlag,
  type Value,
  type Variables,
  variablesOf,
  type Word,
  wordValues,
} from './guard-words.ts'

/** One simple command as it will run. */
export interface Command {
  program: string
  args: Value[]
  /** What comes in on standard input. */
  stdin: 'nothing' | 'pipe' | 'file' | 'text'
  /** What comes in there may hold secrets: nobody could look through it, they are taken out of the answer only. */
  isUnseen: boolean
  /** Arguments that are only known when it runs may hold secrets, too. */
  hasUnseenArgs: boolean
  /** The rules of the commands in front of it in the pipeline. */
  upstream: readonly RuleId[]
  /** Every folder that may be the current one at this point. */
  cwds: readonly string[]
  /** The one command that gets its output, if it is followed by a simple one with known arguments. */
  readBy?: { program: string; args: readonly string[] }
  /** Seconds after which `timeout` ends it. */
  timeLimitSec?: number
}

type Node<T extends SyntaxNode['type']> = Extract<SyntaxNode, { type: T }>

/** Rules of which the output is known: files that were looked through, names, literal text. */
const SEEN: ReadonlySet<RuleId> = new Set<RuleId>(['read', 'list', 'text', 'probe', 'report'])

/** Deeper nesting than any repair needs. */
const DEEPEST = 12
/** A loop over names multiplies the commands to be judged. */
const MOST_VARIANTS = 64

/** Variables that may be set in front of a command, for that command. */
const HARMLESS_PREFIX = new Set(['LC_ALL', 'LANG', 'LC_TIME', 'TZ', 'NO_COLOR', 'COLUMNS', 'LINES'])

/**
 * Calls `onCommand` for every simple command in the source, and refuses what cannot be understood. It answers with the
 * rules that allow the command, by which the next one in a pipeline is told what it reads.
 * @param folders every folder that may be the current one when it begins. A call of its own begins in one that is not
 *   known: calls may run side by side, and one may change the folder of the next after that was judged.
 */
export async function walkShell(
  source: string,
  world: World,
  onCommand: (command: Command, depth: number) => Promise<readonly RuleId[]>,
  depth = 0,
  folders: readonly string[] = NO_FOLDER,
): Promise<void> {
  if (depth > DEEPEST) throw new Refused('unclear', 'It is nested too deeply.')
  // Carriage returns, escapes and other control characters are read differently by parser, shell and eye.
  if (/[\u0000-\u0008\u000b-\u001f\u007f\u0085\u2028\u2029]/.test(source)) {
    throw new Refused('unclear', 'It holds control characters.')
  }
  const script = parse(source)
  assertParsed(script)
  if (!coversSource(script, source)) throw new Refused('unclear', 'Parts of it could not be read as a command.')
  // Every folder that may be the current one at this point of the walk.
  let cwds = [...folders]
  // What the commands of the present pipeline's part were, and whether they may show what nobody looked through.
  let ran: RuleId[] = []
  let showsUnseen = false
  const variables = variablesOf(script, world)
  await statements(script.commands, true)

  /** `isSure`: once its beginning is reached, every statement of the list runs, once. */
  async function statements(list: readonly Node<'Statement'>[], isSure: boolean): Promise<void> {
    for (const one of list) {
      if (one.background) throw new Refused('background', 'It ends in `&`.')
      await node(one.command, isSure)
    }
  }

  /** Walks a part that runs or does not, or in a shell of its own: what `cd` did in it is a possibility afterwards. */
  async function branch(list: readonly Node<'Statement'>[]): Promise<void> {
    const before = cwds
    await statements(list, true)
    cwds = [...new Set([...before, ...cwds])]
  }

  async function chain(one: Node<'AndOr'>, isSure: boolean): Promise<void> {
    let reached = isSure
    let otherwise = cwds
    for (const [i, part] of one.commands.entries()) {
      // Behind && everything before it has succeeded; behind || something has not.
      if (i > 0 && one.operators[i - 1] === '||') {
        reached = false
        cwds = [...new Set([...otherwise, ...cwds])]
      }
      await node(part, reached)
      if (i === 0) otherwise = cwds
    }
    cwds = [...new Set([...otherwise, ...cwds])]
  }

  async function node(one: SyntaxNode, isSure = false): Promise<void> {
    switch (one.type) {
      case 'Command':
        return simple(one, false, isSure)
      case 'AndOr':
        return chain(one, isSure)
      case 'Pipeline':
        return pipeline(one.commands)
      case 'CompoundList':
      case 'BraceGroup':
      case 'Subshell':
        return branch(one.type === 'CompoundList' ? one.commands : one.body.commands)
      case 'If':
        await branch(one.clause.commands)
        await branch(one.then.commands)
        for (const other of one.elif) {
          await branch(other.clause.commands)
          await branch(other.then.commands)
        }
        return one.else && branch(one.else.commands)
      case 'While':
        await statements(one.clause.commands, false)
        return statements(one.body.commands, false)
      case 'For':
        for (const word of one.wordlist ?? []) if (!isRange(word)) await substitutions(word)
        return statements(one.body.commands, false)
      case 'Case':
        await substitutions(one.word)
        for (const item of one.items) {
          for (const pattern of item.pattern) await substitutions(pattern)
          await branch(item.body.commands)
        }
        return
      case 'TestCommand':
        return test(one.expression)
      case 'Redirected':
        await redirections(one.redirects)
        return node(one.command, isSure)
      case 'Function':
        throw new Refused('unclear', 'It defines a function.')
      case 'Coproc':
        throw new Refused('background', 'It starts a coprocess.')
      default:
        throw new Refused('unclear', `It uses ${one.type}, which is not needed here.`)
    }
  }

  async function pipeline(parts: readonly SyntaxNode[]): Promise<void> {
    const before = { ran, showsUnseen }
    ran = []
    showsUnseen = false
    for (const [i, part] of parts.entries()) {
      if (part.type === 'Command') await simple(part, i > 0, false, readerOf(part, parts[i + 1]))
      else await node(part)
    }
    ran = [...before.ran, ...ran]
    showsUnseen ||= before.showsUnseen
  }

  function readerOf(from: Node<'Command'>, one: SyntaxNode | undefined): Command['readBy'] {
    // Only errors may go elsewhere.
    const isWhole = from.redirects.every(
      ({ descriptor }) => descriptor?.type === 'FileDescriptor' && descriptor.value === 2,
    )
    if (!isWhole) return undefined
    if (one?.type !== 'Command' || !one.name || one.prefix.length > 0 || one.redirects.length > 0) return undefined
    const args = one.args.flatMap((word) => (word.type === 'Word' ? wordValues(word, variables, cwds, world) : [null]))
    if (!args.every((arg) => typeof arg === 'string')) return undefined
    return { program: programName(plainName(one.name)), args }
  }

  async function simple(
    one: Node<'Command'>,
    isPiped: boolean,
    isSure: boolean,
    readBy?: Command['readBy'],
  ): Promise<void> {
    const input = isPiped ? { isUnseen: showsUnseen, upstream: [...ran] } : { isUnseen: false, upstream: [] }
    if (!(await redirections(one.redirects))) input.isUnseen = true
    for (const part of one.prefix) if (part.type === 'Assignment') await assignment(part, one.name !== undefined)
    if (!one.name) {
      // zsh would run a pager or cat for `< file`, and truncate for `> file`.
      if (one.redirects.length > 0) throw new Refused('unclear', 'It redirects without a command.')
      return
    }
    const name = plainName(one.name)
    const words: Word[] = []
    const before = showsUnseen
    showsUnseen = false
    for (const argument of one.args) {
      if (argument.type === 'Assignment') throw new Refused('unclear', `It sets ${argument.name} as an argument.`)
      await substitutions(argument)
      words.push(argument)
    }
    const hasUnseenArgs = showsUnseen || words.some((word) => word.parts?.some(isUnknown))
    showsUnseen ||= before
    const stdin = isPiped ? 'pipe' : stdinOf(one.redirects)
    const program = programName(name)
    if (program === 'cd') return changeFolder(words, isSure)
    for (const args of variants(words, variables, cwds, world)) {
      const rules = await onCommand({ program, args, hasUnseenArgs, stdin, ...input, readBy, cwds }, depth)
      ran.push(...rules)
      if (hasUnseenArgs || rules.some((rule) => !SEEN.has(rule))) showsUnseen = true
    }
  }

  /** Does it read a variable with a value that only running the script would tell? */
  function isUnknown(part: Part): boolean {
    if (part.type === 'DoubleQuoted') return part.parts.some((one) => isUnknown(one as Part))
    const name =
      part.type === 'SimpleExpansion' ? part.text.slice(1) : part.type === 'ParameterExpansion' && part.parameter
    return name !== false && (variables.get(name)?.includes(undefined) ?? false)
  }

  async function assignment(one: Node<'Assignment'>, isPrefix: boolean): Promise<void> {
    if (one.value.type !== 'Word' || one.index || one.append) throw new Refused('unclear', `It changes ${one.name}.`)
    await substitutions(one.value)
    if (isPrefix && !HARMLESS_PREFIX.has(one.name)) {
      throw new Refused('unclear', `It sets ${one.name} for a command.`)
    }
    // Any other name was checked by variablesOf.
  }

  /** Unless `cd` surely runs and its folder is there, the old folder stays a possibility. */
  function changeFolder(words: readonly Word[], isSure: boolean): void {
    const targets = words.length === 0 ? [world.home] : wordValues(words[0]!, variables, cwds, world)
    const found = targets.flatMap((target) => {
      if (words.length > 1 || typeof target !== 'string' || !/^[/~]/.test(target)) {
        throw new Refused('unclear', 'Give `cd` an absolute folder.')
      }
      return realPaths(target, NO_FOLDER, world.home)
    })
    const succeeds = isSure && targets.length === 1 && found.every(isFolder)
    cwds = [...new Set(succeeds ? found : [...cwds, ...found])]
  }

  /** Judges every redirection. Returns whether what comes in by them is known or was looked through. */
  async function redirections(list: Node<'Command'>['redirects']): Promise<boolean> {
    let isSeen = true
    for (const one of list) {
      if (one.descriptor?.type === 'FileDescriptorVariable') throw new Refused('unclear', 'It names a descriptor.')
      if (one.type === 'HereDoc') {
        if (!one.closing) throw new Refused('unclear', 'A here-document has no end.')
        if (!one.delimiter?.quoted) assertNoZshFlag(one.body.text)
        for (const part of one.body.parts ?? []) await substitutions(part)
        isSeen &&= one.body.parts?.every((part) => part.type === 'Literal') ?? true
        continue
      }
      if (!one.target) throw new Refused('unclear', 'It redirects to nothing.')
      await substitutions(one.target)
      for (const target of wordValues(one.target, variables, cwds, world)) {
        isSeen = (one.type === 'HereString' ? typeof target === 'string' : redirect(one.operator, target)) && isSeen
      }
    }
    return isSeen
  }

  function redirect(operator: string, target: Value): boolean {
    if (typeof target !== 'string') throw new Refused('unclear', 'Where it redirects to is only known when it runs.')
    const isDuplicate = (operator === '>&' || operator === '<&') && /^(\d|-)$/.test(target)
    if (isDuplicate || target === '/dev/null') return true
    if (operator === '<>' || operator === '<&') throw new Refused('write', `It opens ${target} for writing.`)
    if (operator === '<') return assertReadable(target, cwds, world)
    assertWritableReport(target, cwds, world)
    return true
  }

  async function test(one: SyntaxNode): Promise<void> {
    switch (one.type) {
      case 'TestUnary':
        // -v, -R and (in zsh) -t evaluate their operand, which may run a command.
        if (!/^-[abcdefghknoprsuwxzGLNOS]$/.test(one.operator))
          throw new Refused('unclear', `It tests ${one.operator}.`)
        return substitutions(one.operand)
      case 'TestBinary':
        // Both shells evaluate the sides of -eq as arithmetic, in which a[$(…)] runs a command.
        if (/^-/.test(one.operator)) assertNumbers([one.left, one.right])
        await substitutions(one.left)
        return substitutions(one.right)
      case 'TestLogical':
        for (const operand of one.operands) await test(operand)
        return
      case 'TestNot':
        return test(one.operand)
      case 'TestGroup':
        return test(one.expression)
    }
  }

  function assertNumbers(words: readonly Word[]): void {
    for (const word of words) {
      for (const value of wordValues(word, variables, cwds, world)) {
        if (value !== NUMBER && (typeof value !== 'string' || !/^-?\d+$/.test(value))) {
          throw new Refused('unclear', 'It compares something that may not be a number; use = or != instead.')
        }
      }
    }
  }

  /** Judges the commands inside a word (`$(…)`, backticks, nested to any depth), and which variables it reads. */
  async function substitutions(one: SyntaxNode): Promise<void> {
    if (one.type === 'CommandExpansion') {
      const isPlain = one.text.startsWith('$(') || one.text.startsWith('`')
      if (!isPlain || !one.script || one.script.commands.length === 0) {
        throw new Refused('unclear', `It uses ${one.text}.`)
      }
      assertParsed(one.script)
      return branch(one.script.commands)
    }
    if (one.type === 'Word') {
      for (const part of one.parts ?? []) await substitutions(part)
    } else if (one.type === 'DoubleQuoted') {
      for (const part of one.parts) await substitutions(part)
    } else if (one.type === 'Glob') {
      for (const part of one.parts ?? []) await substitutions(part)
    } else {
      assertExpandable(one as Part, variables, world)
    }
  }
}

type Part = NonNullable<Word['parts']>[number]

function assertParsed(script: Node<'Script'> & { errors?: readonly { message: string }[] }): void {
  const [error] = script.errors ?? []
  if (error) throw new Refused('unclear', `It cannot be parsed: ${error.message}.`)
}

/** A command's name must be written out: no expansion, no pattern, nothing that a shell reads in a way of its own. */
function plainName(word: Word): string {
  if (word.parts?.some((part) => !['Literal', 'SingleQuoted', 'DoubleQuoted'].includes(part.type))) {
    throw new Refused('unclear', `Which command \`${word.text}\` is, is only known when it runs.`)
  }
  if (word.parts?.some((part) => part.type === 'DoubleQuoted' && part.parts.some((one) => one.type !== 'Literal'))) {
    throw new Refused('unclear', `Which command \`${word.text}\` is, is only known when it runs.`)
  }
  return word.value
}

/** Where programs of the system and of package managers lie; a program from anywhere else is not taken for its name. */
const PROGRAM_FOLDERS = /^(\/usr(\/local)?)?\/s?bin\/|^\/opt\/homebrew\/s?bin\/|^\/home\/linuxbrew\/\.linuxbrew\/bin\//

function programName(name: string): string {
  if (!name.includes('/')) return name
  const base = name.replace(PROGRAM_FOLDERS, '')
  if (base.includes('/')) throw new Refused('not-allowed', `${name} is not a program of the system.`)
  return base
}

function stdinOf(redirects: Node<'Command'>['redirects']): Command['stdin'] {
  for (const one of redirects) {
    if (one.type === 'HereDoc' || one.type === 'HereString') return 'text'
    if (one.operator === '<') return 'file'
  }
  return 'nothing'
}

/** All argument lists that the words can become: variables that loop over values, and patterns that match files. */
function variants(words: readonly Word[], variables: Variables, cwds: string[], world: World): Value[][] {
  let lists: Value[][] = [[]]
  for (const word of words) {
    const values = wordValues(word, variables, cwds, world)
    if (isPattern(word)) {
      // A pattern gives all its files as arguments at once.
      lists = lists.map((list) => [...list, ...values])
    } else {
      lists = values.flatMap((value) => lists.map((list): Value[] => [...list, value]))
    }
    if (lists.length > MOST_VARIANTS) throw new Refused('unclear', 'Its loops have too many variants.')
  }
  return lists
}

function isPattern(word: Word): boolean {
  return word.parts?.some((part) => part.type === 'Glob') ?? false
}
