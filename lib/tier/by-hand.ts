/** The frame of the scripts: exit code 2 for unusable flags or settings. */
import { EXIT, type ExitCode } from './contract.ts'
import { SettingsError } from './settings.ts'

/** Sets the exit code to that of `main`. Returns what was unusable. */
export async function exitAsIn(name: string, main: () => ExitCode | Promise<ExitCode>): Promise<Error | undefined> {
  try {
    process.exitCode = await main()
    return undefined
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const isFlag = code?.startsWith('ERR_PARSE_ARGS')
    if (!isFlag && !(error instanceof SettingsError)) throw error
    process.stderr.write(`${name}: ${message}\n${isFlag ? 'Try --help.\n' : ''}`)
    process.exitCode = EXIT.unusable
    return error as Error
  }
}

export async function runByHand(name: string, main: () => ExitCode | Promise<ExitCode>): Promise<void> {
  // `… | head` closes the pipe early.
  process.stdout.on('error', () => process.exit())
  await exitAsIn(name, main)
}

export function print(text: string): ExitCode {
  process.stdout.write(`${text}\n`)
  return EXIT.healthy
}
