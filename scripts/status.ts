#!/usr/bin/env -S npx tsx
/** How everything stands, on one screen, for people: `npm run status`. Changes nothing; exit codes as HELP says. */
import { once } from 'node:events'
import { setTimeout } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { fleetScreen, isHost, readFleet } from '../lib/report/fleet.ts'
import { readStatus, screen } from '../lib/report/status.ts'
import { print, runByHand, stop } from '../lib/tier/by-hand.ts'
import { cleanText, EXIT, type ExitCode } from '../lib/tier/contract.ts'
import { loadSettings } from '../lib/tier/settings.ts'
import { endRunningCommands } from '../lib/tier/shell.ts'

const HELP = `How openclaw-self-healing and its gateway stand, on one screen:
npm run status [-- flags]
npm run status -- --fleet mac-mini me@10.0.0.5 …

Flags:
  --fleet HOST …  of these machines, each asked over ssh; a destination is what
                  ssh knows by that name, and no password is asked for
  --watch         check again every 5 seconds, until Ctrl-C
  --json          as JSON (with --fleet an array); with --watch one line for
                  each check
  --profile NAME  of that OpenClaw profile, as does OPENCLAW_PROFILE in the
                  environment
  --dry-run       taken, as by every script; nothing is ever changed
  --help          print this

Exit codes: 0 all is well, 1 something is not ("Not well" says what), or a
machine gave no answer, 2 unusable flags or settings.`

const CHECK_EVERY_MS = 5000
const ENTER = '\u001b[?1049h\u001b[?25l\u001b[?7l'
const LEAVE = '\u001b[?7h\u001b[?25h\u001b[?1049l'
const [TO_THE_TOP, END_OF_LINE, REST_OF_SCREEN] = ['\u001b[H', '\u001b[K', '\u001b[J']

/** One check, for a screen of so many rows. */
type Check = () => Promise<{ isWell: boolean; show: (rows?: number) => string[] }>

await runByHand('status', async () => {
  const boolean = { type: 'boolean', default: false } as const
  const profile = { type: 'string' } as const
  const { values: flags, positionals: hosts } = parseArgs({
    options: { fleet: boolean, watch: boolean, json: boolean, profile, 'dry-run': boolean, help: boolean },
    allowPositionals: true,
  })
  if (flags.help) return print(HELP)
  const odd = hosts.find((host) => !isHost(host))
  if (flags.fleet && hosts.length === 0) throw stop(EXIT.unusable, '--fleet needs hosts, as ssh knows them')
  if (!flags.fleet && hosts.length > 0) throw stop(EXIT.unusable, `which machines (${hosts[0]} …)? --fleet asks others`)
  if (odd !== undefined) throw stop(EXIT.unusable, `${JSON.stringify(odd)} is no host that ssh could know`)
  const settings = loadSettings(undefined, { profile: flags.profile })
  const json = (what: unknown) => [
    cleanText(JSON.stringify(what, (_, value) => value ?? null, flags.watch ? undefined : 2)),
  ]
  const checkHere: Check = async () => {
    const status = await readStatus(settings)
    return { isWell: status.isWell, show: (rows) => (flags.json ? json(status) : screen(status, settings, rows)) }
  }
  const checkFleet: Check = async () => {
    const machines = await readFleet(settings, hosts)
    const isWell = machines.every((machine) => machine.isWell)
    return { isWell, show: (rows) => (flags.json ? json(machines) : fleetScreen(machines, settings).slice(0, rows)) }
  }
  process.on('exit', endRunningCommands)
  return show(flags.fleet ? checkFleet : checkHere, flags.watch, process.stdout.isTTY && !flags.json)
})

/** Once, or again until SIGINT, SIGTERM or SIGHUP, redrawing a terminal; the exit code is that of the last check. */
async function show(check: Check, isRepeated: boolean, isTerminal: boolean): Promise<ExitCode> {
  const inPlace = isRepeated && isTerminal
  if (inPlace) {
    process.stdout.write(ENTER)
    process.on('exit', () => process.stdout.write(LEAVE))
  }
  const ended = Promise.race(['SIGINT', 'SIGTERM', 'SIGHUP'].map((signal) => once(process, signal)))
  for (let code: ExitCode = EXIT.down; ; ) {
    const seen = await Promise.race([check(), ended])
    if (Array.isArray(seen)) process.exit(code)
    code = seen.isWell ? EXIT.healthy : EXIT.down
    const lines = seen.show(inPlace ? process.stdout.rows : undefined)
    const fitting = lines.map((line) => line + END_OF_LINE)
    if (inPlace) process.stdout.write(TO_THE_TOP + fitting.join('\r\n') + REST_OF_SCREEN)
    else print(isRepeated && lines.length > 1 ? `${lines.join('\n')}\n` : lines.join('\n'))
    if (!isRepeated) return code
    if (await Promise.race([setTimeout(CHECK_EVERY_MS), ended])) process.exit(code)
  }
}
