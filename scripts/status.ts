#!/usr/bin/env -S npx tsx
/**
 * How everything stands, on one screen: `npm run status` (`-- --watch`, `-- --json`). For people; no tier uses it.
 * It looks and changes nothing: neither state nor logs are written.
 *
 * Exit 0  all is well: gateway up, everything installed, registered and running, no alert waiting
 *      1  something is not well; the last line says what
 *      2  unusable flags or settings
 */
import { parseArgs } from 'node:util'
import { look, readRecentHistory, type Status } from '../lib/status/look.ts'
import { screen } from '../lib/status/screen.ts'
import { watch } from '../lib/status/watch.ts'
import { EXIT } from '../lib/tier/contract.ts'
import { loadSettings, type Settings, SettingsError } from '../lib/tier/settings.ts'

const HELP = `How openclaw-self-healing and its gateway stand, on one screen: npm run status [-- flags]

Flags:
  --watch        look again every 5 seconds, until Ctrl-C
  --json         as JSON; with --watch one line for each look
  --profile NAME of that OpenClaw profile, as OPENCLAW_PROFILE in the environment
  --dry-run      taken, as by every script; nothing is ever changed
  --help         print this

Exit codes: 0 all is well, 1 something is not (the last line says what), 2 unusable flags or settings.`

// `… | head` closes the pipe early.
process.stdout.on('error', () => process.exit())

process.exitCode = await main()

async function main(): Promise<number> {
  const flags = readFlags()
  if (typeof flags === 'number') return flags
  let settings: Settings
  try {
    settings = loadSettings(undefined, { profile: flags.profile })
  } catch (error) {
    if (!(error instanceof SettingsError)) throw error
    return unusable(error.message)
  }
  const show = (status: Status) => (flags.json ? [json(status, !flags.watch)] : screen(status, settings))
  // A look that is still waiting for a hung gateway is not waited for.
  if (flags.watch) process.exit(await watch(settings, show, process.stdout.isTTY && !flags.json))
  const status = await look(settings, readRecentHistory(settings))
  process.stdout.write(`${show(status).join('\n')}\n`)
  return status.isWell ? EXIT.healthy : EXIT.down
}

function readFlags() {
  const boolean = { type: 'boolean', default: false } as const
  try {
    const { values } = parseArgs({
      options: { watch: boolean, json: boolean, profile: { type: 'string' }, 'dry-run': boolean, help: boolean },
    })
    if (!values.help) return values
    process.stdout.write(`${HELP}\n`)
    return EXIT.healthy
  } catch (error) {
    return unusable(`${(error as Error).message}\nTry --help.`)
  }
}

function unusable(message: string): number {
  process.stderr.write(`status: ${message}\n`)
  return EXIT.unusable
}

/** What is not known is null. */
function json(status: Status, isIndented: boolean): string {
  return JSON.stringify(status, (_, value: unknown) => value ?? null, isIndented ? 2 : undefined)
}
