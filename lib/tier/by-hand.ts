/** The frame of the scripts: how they end. */
import { EXIT, type ExitCode } from './contract.ts'

type Main = () => ExitCode | Promise<ExitCode>

/** An error whose message is all that a human needs. */
export const stop = (exitCode: ExitCode, message: string) => Object.assign(new Error(message), { exitCode })

/** Sets the exit code to that of `main`, or of the error that it was stopped by, which is returned. @param others for errors without one */
export async function exitAsIn(name: string, main: Main, others?: ExitCode): Promise<Error | undefined> {
  try {
    process.exitCode = await main()
    return undefined
  } catch (error) {
    const { code, message, exitCode = others } = error as NodeJS.ErrnoException & { exitCode?: ExitCode }
    const isFlag = code?.startsWith('ERR_PARSE_ARGS')
    if (!isFlag && exitCode === undefined) throw error
    process.stderr.write(`${name}: ${message}\n${isFlag ? 'Try --help.\n' : ''}`)
    process.exitCode = isFlag ? EXIT.unusable : exitCode
    return error as Error
  }
}

export async function runByHand(name: string, main: Main): Promise<void> {
  // `… | head` closes the pipe early.
  process.stdout.on('error', () => process.exit())
  await exitAsIn(name, main)
}

export function print(text: string): ExitCode {
  process.stdout.write(`${text}\n`)
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
