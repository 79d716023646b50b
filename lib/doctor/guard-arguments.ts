/** Arguments of one program, read against the list of options that it may be given. An option that is not listed is refused. */
import { Refused } from './guard.ts'
import type { Command } from './guard-shell.ts'

export interface OptionList {
  /** Single letters without a value, which may be bundled: `-la`. */
  flags?: string
  /** Single letters with a value, attached or as the next argument: `-n20`, `-n 20`. */
  valued?: string
  /** Long options without a value; a value behind `=` is accepted. */
  long?: string
  /** Long options with a value, behind `=` or as the next argument. */
  longValued?: string
  /** `-20` as a number of lines. */
  isNumeric?: boolean
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

export function readArguments(command: Command, list: OptionList, args = literals(command)): Arguments {
  const operands: string[] = []
  const options = new Options()
  const long = new Set(list.long?.split(/\s+/))
  const longValued = new Set(list.longValued?.split(/\s+/))
  const unknown = (option: string) =>
    new Refused('unclear', `${command.program} ${option} is not among its usual options.`)
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!
    const value = (attached: string | undefined): string => {
      if (attached !== undefined && attached !== '') return attached
      const next = args[++i]
      if (next === undefined) throw new Refused('unclear', `${command.program} ${arg} lacks its value.`)
      return next
    }
    if (arg === '--') {
      operands.push(...args.slice(i + 1))
      break
    }
    if (arg === '-' || !arg.startsWith('-')) {
      operands.push(arg)
    } else if (arg.startsWith('--')) {
      const [name = '', attached] = splitOnce(arg.slice(2))
      if (longValued.has(name)) options.add(`--${name}`, value(attached))
      else if (long.has(name)) options.add(`--${name}`, attached ?? '')
      else throw unknown(arg)
    } else if (list.isNumeric && /^-\d+$/.test(arg)) {
      options.add('n', arg.slice(1))
    } else {
      for (let at = 1; at < arg.length; at++) {
        const letter = arg[at]!
        if (list.valued?.includes(letter)) {
          options.add(letter, value(arg.slice(at + 1)))
          break
        }
        if (!list.flags?.includes(letter)) throw unknown(`-${letter}`)
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
