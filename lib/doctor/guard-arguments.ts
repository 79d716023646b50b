/** Arguments of one program, read against the list of options that it may be given. An option that is not listed is refused. */
import { Refused } from './guard.ts'
import type { Command } from './guard-shell.ts'

export interface OptionList {
  /** Single letters without a value, which may be bundled: `-la`. */
  flags?: string
  /** Single letters with a value, attached or as the next argument: `-n20`, `-n 20`. */
  valued?: string
  /** Single letters whose value may be left out; the next argument is theirs only if it is a number (journalctl). */
  numbered?: string
  /** Long options without a value, or with one behind `=` only. */
  long?: string
  /** Long options with a value, behind `=` or as the next argument. */
  longValued?: string
  /** Long options as `numbered`. */
  longNumbered?: string
  /** `-20` as a number of lines. */
  isNumeric?: boolean
  /**
   * Where the program looks for options. Some programs (all of BSD's without long options, and GNU's under
   * POSIXLY_CORRECT) take everything behind the first operand for files, so by default an option there may have no
   * value but a number. `anywhere`: it reads its arguments itself and finds options everywhere. `first`: what stands
   * there would be written to, or would be read as a script or a file.
   */
  order?: 'anywhere' | 'first'
}

export interface Arguments {
  operands: string[]
  options: Options
}

/** The options that were given. Repeated ones keep all their values: a program may use the first, the last or each. */
export class Options {
  readonly #values = new Map<string, string[]>()

  add(name: string, value: string): void {
    this.#values.set(name, [...this.values(name), value])
  }

  /** Was one of these given? Letters stand alone, long names with their dashes. */
  has(...names: string[]): boolean {
    return names.some((name) => this.#values.has(name))
  }

  /** Every value that was given under one of these names; the value of a flag is ''. */
  values(...names: string[]): string[] {
    return names.flatMap((name) => this.#values.get(name) ?? [])
  }
}

/** All arguments as text. Refuses those that only running the command would tell. */
export function literals(command: Command): string[] {
  return command.args.map((arg) => {
    if (typeof arg === 'string') return arg
    throw new Refused('unclear', `An argument of ${command.program} is only known when it runs; write it out.`)
  })
}

/** Reads the arguments against the list; every word of them becomes an option, its value or an operand, or is refused. */
export function readArguments(command: Command, list: OptionList, args = literals(command)): Arguments {
  const operands: string[] = []
  const options = new Options()
  const long = new Set(list.long?.split(/\s+/))
  const longValued = new Set(list.longValued?.split(/\s+/))
  const longNumbered = new Set(list.longNumbered?.split(/\s+/))
  const refuse = (what: string): never => {
    throw new Refused('unclear', `${command.program} ${what}`)
  }
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!
    const next = (): string => {
      const value = args[++i] ?? refuse(`${arg} lacks its value.`)
      // Where a program does not take it for the value after all, it is an option of its own.
      if (/^-./.test(value) && !/^-\d+$/.test(value)) refuse(`${arg} is followed by ${value} in place of a value.`)
      if (operands.length > 0 && list.order !== 'anywhere' && !/^[-+]?\d+$/.test(value)) {
        refuse(`might take ${value} for a file; put ${arg} in front of the files.`)
      }
      return value
    }
    const nextNumber = () => (/^[-+]?\d+$/.test(args[i + 1] ?? '') ? args[++i]! : '')
    if (list.order === 'first' && operands.length > 0 && /^-./.test(arg)) {
      refuse(`might take ${arg} for a file; put the options first.`)
    }
    if (arg === '--') {
      operands.push(...args.slice(i + 1))
      break
    }
    if (arg === '-' || !arg.startsWith('-')) {
      operands.push(arg)
    } else if (arg.startsWith('--')) {
      const [name = '', attached] = splitOnce(arg.slice(2))
      // Some programs take an empty value, others the next argument.
      if (attached === '') refuse(`${arg} has an empty value.`)
      if (longValued.has(name)) options.add(`--${name}`, attached ?? next())
      else if (longNumbered.has(name)) options.add(`--${name}`, attached ?? nextNumber())
      else if (long.has(name)) options.add(`--${name}`, attached ?? '')
      else refuse(`${arg} is not among its usual options.`)
    } else if (list.isNumeric && /^-\d+$/.test(arg)) {
      options.add('n', arg.slice(1))
    } else {
      for (let at = 1; at < arg.length; at++) {
        const letter = arg[at]!
        const attached = arg.slice(at + 1)
        if (list.valued?.includes(letter)) {
          options.add(letter, attached === '' ? next() : attached)
          break
        }
        if (list.numbered?.includes(letter)) {
          options.add(letter, attached === '' ? nextNumber() : attached)
          break
        }
        if (!list.flags?.includes(letter)) refuse(`-${letter} is not among its usual options.`)
        options.add(letter, '')
      }
    }
  }
  return { operands, options }
}

function splitOnce(text: string): [string, string | undefined] {
  const at = text.indexOf('=')
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + 1)]
}
