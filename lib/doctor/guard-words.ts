/** Words of a command line: what they will be once the shell has expanded them. */
import { forEachChild, type SyntaxNode } from 'unbash'
import { Refused } from './guard.ts'
import { answersOf, PIDS } from './guard-answers.ts'
import type { World } from './guard-context.ts'
import { assertComputable, countersOf, type Given, NUMBER, numbersOf, type Word } from './guard-numbers.ts'
import { matches, withHome } from './guard-patterns.ts'

type Node<T extends SyntaxNode['type']> = Extract<SyntaxNode, { type: T }>

export type { Word }

type Part = NonNullable<Word['parts']>[number]

/**
 * What a word will be. undefined: one word that only running it would tell. null: any number of words, because the
 * shell splits the result of an expansion that stands without quotes.
 */
export type Value = string | undefined | null | typeof NUMBER | typeof PIDS

type Joined = Exclude<Value, null>

/** A script's own variables with every value that they are given anywhere; undefined: a value only known when it runs. */
export type Variables = ReadonlyMap<string, readonly Joined[]>

/** Values without blanks, patterns or quotes: such a value is the same with and without quotes around the variable. */
const PLAIN_VALUE = /^[A-Za-z0-9_./:@%+,=-]+$/

/**
 * Words of which the names are made that a script may use for itself (`pid`, `LOG_FILE`). Any other name may already mean
 * something to a program or to a shell (`path` is PATH in zsh), and reading it may show a secret.
 */
const OWN_WORDS = new Set(
  `f file files log logs logfile dir d port pid pids i n x p cfg config conf url now start end time today date day out output
  result res response body code rc exit http status health attempt attempts count unit label svc target line version ver state ok
  tries try retry max gateway report name uid domain plist`.split(/\s+/),
)
/** What the shell knows of itself, and nothing secret. */
const SHELL_NAMES = new Set([
  '?',
  '$',
  '#',
  '!',
  'USER',
  'LOGNAME',
  'PWD',
  'PPID',
  'RANDOM',
  'SECONDS',
  'HOSTNAME',
  'OSTYPE',
  'LINENO',
])

const MOST_VALUES = 32

/**
 * Collects the variables that a script sets. All values of a name are taken together, wherever they are set, so the
 * order of loops and branches does not matter; a name that is not set by a statement of its own at the top, before
 * everything else that sets or reads it, may also be empty.
 */
export function variablesOf(script: Node<'Script'>, world: World): Variables {
  const given = new Map<string, Given[]>()
  const add = (name: string, values: readonly Given[]) => {
    if (!isOwnName(name))
      throw new Refused('unclear', `It sets the variable ${name}; use a short name such as file, port or pid.`)
    given.set(name, [...(given.get(name) ?? []), ...values])
  }
  const seen = new Set<string>()
  const neverEmpty = new Set<string>()
  const visit = (node: SyntaxNode, isTop: boolean): void => {
    if (node.type === 'For') {
      add(node.name.value, node.wordlist?.flatMap((word) => numbersOf(word) ?? [word]) ?? ['empty'])
      // The loop itself sets its variable before its body reads it; behind a loop over nothing it is empty.
      seen.add(node.name.value)
    }
    if (node.type === 'Command' && !node.name) {
      for (const part of node.prefix) {
        if (part.type !== 'Assignment' || part.value.type !== 'Word') continue
        if (isTop && !seen.has(part.name)) neverEmpty.add(part.name)
        add(part.name, neverEmpty.has(part.name) ? [part.value] : [part.value, 'empty'])
        seen.add(part.name)
      }
    }
    if (node.type === 'SimpleExpansion') seen.add(node.text.slice(1))
    if (node.type === 'ParameterExpansion') seen.add(node.parameter)
    forEachChild(node, (child) => visit(child, false))
  }
  for (const statement of script.commands) visit(statement.command, true)

  const variables = new Map<string, readonly Joined[]>()
  const counters = countersOf(given)
  for (const name of given.keys()) variables.set(name, [counters.has(name) ? NUMBER : undefined])
  // A value may be made of other variables; what is not resolved after a few rounds is not known.
  for (let round = 0; round < 4; round++) {
    for (const [name, words] of given) {
      if (counters.has(name)) continue
      const values = words.flatMap((word): Joined[] =>
        word === 'empty' ? [''] : word === 'number' ? [NUMBER] : assignedValues(word, variables, world),
      )
      variables.set(name, [...new Set(values)])
    }
  }
  return variables
}

function assignedValues(word: Word, variables: Variables, world: World): Joined[] {
  // Only a loop's list is matched against files; relative patterns depend on the folder, so they stay unknown.
  const values = hasPattern(word) ? wordValues(word, variables, ['/'], world) : joined(word, variables, world)
  const isRelative = hasPattern(word) && !/^[~/$]/.test(word.text)
  return values.map((value) => {
    if (value === '' || value === NUMBER || value === PIDS) return value
    return isRelative || typeof value !== 'string' || !PLAIN_VALUE.test(value) ? undefined : value
  })
}

function isOwnName(name: string): boolean {
  // Setting it changes the user in zsh.
  if (name === 'UID') return false
  if (name !== name.toLowerCase() && name !== name.toUpperCase()) return false
  return name
    .toLowerCase()
    .split('_')
    .every((word) => OWN_WORDS.has(word))
}

/** Every value that a word can have. A word with a pattern gives the files that it matches, or itself. */
export function wordValues(word: Word, variables: Variables, cwds: readonly string[], world: World): Value[] {
  const values = joined(word, variables, world)
  if (hasPattern(word))
    return values.flatMap((value) => (typeof value !== 'string' ? [null] : matches(value, cwds, world)))
  const isSplit = word.parts?.some((part) => /Expansion$/.test(part.type)) ?? false
  return values.map((value) => {
    if (value === NUMBER || (value === PIDS && isSplit)) return value
    const isKnown = typeof value === 'string' && !/\s/.test(value)
    return isSplit && !isKnown ? null : value === PIDS ? undefined : value
  })
}

/** Refuses a piece of a word, or of a here-document, that reads a variable which may hold a secret, or computes. */
export function assertExpandable(part: Part, variables: Variables, world: World): void {
  partValues(part, undefined, variables, world)
}

function joined(word: Word, variables: Variables, world: World): Joined[] {
  assertSameInEveryShell(word)
  const values = word.parts === undefined ? [word.value] : sequence(word.parts, variables, world)
  return values.map((value) => (typeof value === 'string' && isTilde(word.text) ? withHome(value, world) : value))
}

/** The values of pieces that stand side by side. */
function sequence(parts: readonly Part[], variables: Variables, world: World): Joined[] {
  if (parts.length === 1) return [...partValues(parts[0]!, undefined, variables, world)]
  let values: (string | undefined)[] = ['']
  for (const [i, part] of parts.entries()) {
    const tails = partValues(part, parts[i + 1], variables, world)
    values = values.flatMap((head) =>
      tails.map((tail) => (head === undefined || typeof tail !== 'string' ? undefined : head + tail)),
    )
    if (values.length > MOST_VALUES) throw new Refused('unclear', 'A word has too many values.')
  }
  return values
}

function hasPattern(word: Word): boolean {
  return word.parts?.some((part) => part.type === 'Glob') ?? false
}

function partValues(part: Part, next: SyntaxNode | undefined, variables: Variables, world: World): readonly Joined[] {
  switch (part.type) {
    case 'Literal':
      assertNoZshFlag(part.text)
      return [part.value]
    case 'SingleQuoted':
      return [part.value]
    case 'Glob':
      return [part.text]
    case 'AnsiCQuoted':
      // Shells differ in \x, \u, \c and octal escapes, and bash cuts the word off at \0.
      if (/\\[^nt\\'"]/.test(part.text)) throw new Refused('unclear', `Write ${part.text} without escapes.`)
      return [part.value]
    case 'DoubleQuoted':
      // Between quotes many numbers are one word.
      return sequence(part.parts, variables, world).map((value) => (value === PIDS ? undefined : value))
    case 'SimpleExpansion':
      // zsh takes $x[1] for an element and $x:h for a part of a path.
      if (next?.type === 'Glob' || (next?.type === 'Literal' && /^[[:]/.test(next.text))) {
        throw new Refused('unclear', `Write \${${part.text.slice(1)}} with braces.`)
      }
      return variableValues(part.text.slice(1), variables, world)
    case 'ParameterExpansion':
      if (part.operation || part.prefix || part.index) throw new Refused('unclear', `It computes ${part.text}.`)
      return variableValues(part.parameter, variables, world)
    case 'CommandExpansion':
      return answersOf(part.text, world)
    case 'ArithmeticExpansion':
      // Names in arithmetic are evaluated again, and a[$(…)] in a value would run.
      assertComputable(part.text, variables)
      return [NUMBER]
    case 'BraceExpansion':
      throw new Refused('unclear', `Write ${part.text} out.`)
    default:
      throw new Refused('unclear', `It uses ${part.text}.`)
  }
}

function variableValues(name: string, variables: Variables, world: World): readonly Joined[] {
  if (name === 'HOME') return [world.home]
  if (name === 'UID' || name === 'EUID') return [String(world.uid)]
  const own = variables.get(name)
  if (own) return own
  if (SHELL_NAMES.has(name)) return [undefined]
  throw new Refused('secrets', `It reads the variable ${name}, which may hold one.`)
}

/** Constructs that zsh reads differently from bash: `=program`, braces, `~name`, and patterns through all folders. */
function assertSameInEveryShell(word: Word): void {
  if (word.text.startsWith('=') && word.text.length > 1 && word.text !== '==') {
    throw new Refused('unclear', `Quote \`${word.text}\`.`)
  }
  if (isTilde(word.text) && !/^~(\/|$)/.test(word.text))
    throw new Refused('unclear', `Write the folder \`${word.text}\` out.`)
  if (word.parts === undefined) assertNoZshFlag(word.text)
  if (word.text.includes('**') && word.parts?.some((part) => part.type === 'Glob')) {
    throw new Refused('unclear', `Name the folders instead of \`${word.text}\`.`)
  }
}

/** zsh reads `$~name`, `$=name` and the like as variables; so does bash `$[…]` as arithmetic. To the parser it is text. */
export function assertNoZshFlag(text: string): void {
  if (/\$[~^=+:[@]/.test(text)) throw new Refused('unclear', `Quote the $ in \`${text}\` with single quotes.`)
}

function isTilde(text: string): boolean {
  return text.startsWith('~')
}
