#!/usr/bin/env -S npx tsx
/** How everything stands, on one screen, for people: `npm run status`. Changes nothing; exit codes as HELP says. */
import { once } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { readStatus, type Status, screen } from '../lib/report/status.ts'
import { print, runByHand } from '../lib/tier/by-hand.ts'
import { EXIT, type ExitCode } from '../lib/tier/contract.ts'
import { loadSettings, type Settings } from '../lib/tier/settings.ts'

const HELP = `How openclaw-self-healing and its gateway stand, on one screen:
npm run status [-- flags]

Flags:
  --watch         check again every 5 seconds, until Ctrl-C
  --json          as JSON; with --watch one line for each check
  --profile NAME  of that OpenClaw profile, as does OPENCLAW_PROFILE in the
                  environment
  --dry-run       taken, as by every script; nothing is ever changed
  --help          print this

Exit codes: 0 all is well, 1 something is not ("Not well" says what),
2 unusable flags or settings.`

const CHECK_EVERY_MS = 5000
const ENTER = '\u001b[?1049h\u001b[?25l\u001b[?7l'
const LEAVE = '\u001b[?7h\u001b[?25h\u001b[?1049l'
const [TO_THE_TOP, END_OF_LINE, REST_OF_SCREEN] = ['\u001b[H', '\u001b[K', '\u001b[J']

await runByHand('status', async () => {
  const boolean = { type: 'boolean', default: false } as const
  const profile = { type: 'string' } as const
  const { values: flags } = parseArgs({
    options: { watch: boolean, json: boolean, profile, 'dry-run': boolean, help: boolean },
  })
  if (flags.help) return print(HELP)
  const settings = loadSettings(undefined, { profile: flags.profile })
  const json = (status: Status) => JSON.stringify(status, (_, value) => value ?? null, flags.watch ? undefined : 2)
  const show = (status: Status, rows?: number) => (flags.json ? [json(status)] : screen(status, settings, rows))
  if (flags.watch) process.exit(await watch(settings, show, process.stdout.isTTY && !flags.json))
  const status = await readStatus(settings)
  print(show(status).join('\n'))
  return status.isWell ? EXIT.healthy : EXIT.down
})

/** Until SIGINT, SIGTERM or SIGHUP; the exit code is that of the last check. @param inPlace redraw the terminal */
async function watch(
  settings: Settings,
  show: (status: Status, rows?: number) => string[],
  inPlace: boolean,
): Promise<ExitCode> {
  if (inPlace) {
    process.stdout.write(ENTER)
    process.on('exit', () => process.stdout.write(LEAVE))
  }
  const ended = Promise.race(['SIGINT', 'SIGTERM', 'SIGHUP'].map((signal) => once(process, signal)))
  for (let code: ExitCode = EXIT.down; ; ) {
    const status = await Promise.race([readStatus(settings), ended])
    if (Array.isArray(status)) return code
    code = status.isWell ? EXIT.healthy : EXIT.down
    const lines = show(status, inPlace ? process.stdout.rows : undefined)
    const fitting = lines.map((line) => line + END_OF_LINE)
    if (inPlace) process.stdout.write(TO_THE_TOP + fitting.join('\r\n') + REST_OF_SCREEN)
    else print(lines.length > 1 ? `${lines.join('\n')}\n` : lines.join())
    if (await Promise.race([setTimeout(CHECK_EVERY_MS), ended])) return code
  }
}
