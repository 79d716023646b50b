/** The frame of the scripts: how they end, and what all of them answer. */
import { readFileSync } from 'node:fs'
import { closest, distance } from 'fastest-levenshtein'
import { EXIT, type ExitCode } from './contract.ts'

type Main = () => ExitCode | Promise<ExitCode>

/** An error whose message is all that a human needs. */
export const stop = (exitCode: ExitCode, message: string) => Object.assign(new Error(message), { exitCode })

/** Sets the exit code to that of `main`, or of the error that it was stopped by, which is returned. @param others for errors without one */
export async function exitAsIn(name: string, main: Main, others?: ExitCode): Promise<Error | undefined> {
  const words = process.argv.slice(2)
  try {
    if (words.includes('--version')) {
      const { name, version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
      return void (process.exitCode = print(`${name} ${version}`))
    }
    process.argv.splice(2, Infinity, ...words.map((word) => (word === '-h' ? '--help' : word)))
    process.exitCode = await main()
    return undefined
  } catch (error) {
    const { code, message, exitCode = others } = error as NodeJS.ErrnoException & { exitCode?: ExitCode }
    const isFlag = code?.startsWith('ERR_PARSE_ARGS')
    if (!isFlag && exitCode === undefined) throw error
    const unknown = /^Unknown option '(--[^']+)'/.exec(message)?.[1]
    const better = unknown ? `unknown option ${unknown}${await meant(unknown, main)}` : message
    process.stderr.write(`${name}: ${better}\n${isFlag ? 'Try --help.\n' : ''}`)
    process.exitCode = isFlag ? EXIT.unusable : exitCode
    return error as Error
  }
}

let unprinted: string | undefined

/** Which flag of its help a misspelt or shortened one stands for. */
async function meant(flag: string, main: Main): Promise<string> {
  unprinted = ''
  process.argv.splice(2, Infinity, '--help')
  await main()
  const flags = unprinted.match(/(?<=^ +)--[\w-]+/gm) ?? []
  unprinted = undefined
  const found = flags.find((one) => one.startsWith(flag)) ?? closest(flag, flags)
  return found.startsWith(flag) || distance(found, flag) <= 2 ? `, did you mean ${found}?` : ''
}

export async function runByHand(name: string, main: Main): Promise<void> {
  // `… | head` closes the pipe early.
  process.stdout.on('error', () => process.exit())
  await exitAsIn(name, main)
}

export function print(text: string): ExitCode {
  if (unprinted === undefined) process.stdout.write(`${text}\n`)
  else unprinted += text
  return EXIT.healthy
}

/** Lines of at most 80 columns, indented by the label's width. What stands in backticks is not broken: it is for copying. */
export function wrapped(label: string, text: string): string {
  const lines: string[] = []
  let line = ''
  for (const word of text.match(/(?:`[^`]*`|[^\s`])+/g) ?? []) {
    const isFull = line !== '' && label.length + line.length + 1 + word.length > 80
    if (isFull) lines.push(line)
    line = isFull || line === '' ? word : `${line} ${word}`
  }
  return label + [...lines, line].join(`\n${' '.repeat(label.length)}`)
}
