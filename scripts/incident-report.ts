#!/usr/bin/env -S npx tsx
/**
 * The report: how the system has been in the last days, from the tiers' logs alone. Markdown on standard output, or one
 * HTML page in a file. Run by hand: `npm run report`. No tier: it has no log, no lock, and looks at no gateway.
 *
 * Exit 0  the report was written
 *      1  it could not be written to the file
 *      2  unusable flags or settings, nothing was touched
 */
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { lastDays } from '../lib/incidents/history.ts'
import { asMarkdown } from '../lib/report/markdown.ts'
import { type Report, readReport } from '../lib/report/report.ts'
import { EXIT, type ExitCode, oneLine } from '../lib/tier/contract.ts'
import { loadSettings, type Settings, SettingsError } from '../lib/tier/settings.ts'
import { writeFileAtomic } from '../lib/tier/state.ts'

const HELP = `How the self-healing of the OpenClaw Gateway has been, from its logs alone: failures, who resolved them, uptime,
mean time to recovery, every incident step by step, and what the logs do not tell.

Flags:
  --days N      the last N days (default 7; up to 366)
  --html FILE   write one HTML page to FILE, with an uptime strip and a timeline for each incident; without it the report
                is printed as Markdown
  --dry-run     write no file; say what would be written
  --help        print this

Exit codes: 0 the report was written, 1 the file cannot be written, 2 unusable flags or settings.`

process.stdout.on('error', () => {}) // `… | head` closes the pipe early
process.exitCode = await main()

async function main(): Promise<ExitCode> {
  // 1. Flags and settings.
  const flags = readFlags()
  if (typeof flags === 'string') {
    process.stderr.write(`incident-report: ${flags}\nTry --help.\n`)
    return EXIT.unusable
  }
  if (flags.help) {
    process.stdout.write(`${HELP}\n`)
    return EXIT.healthy
  }
  const settings = settingsOrProblem()
  if (typeof settings === 'string') {
    process.stderr.write(`incident-report: ${settings}\n`)
    return EXIT.unusable
  }

  // 2. What the logs say.
  const now = new Date()
  const report = await readReport(settings, lastDays(flags.days, now), now)

  // 3. Told.
  if (flags.html === undefined) {
    process.stdout.write(`${asMarkdown(report)}\n`)
    return EXIT.healthy
  }
  return writePage(report, flags.html, flags.dryRun)
}

async function writePage(report: Report, path: string, dryRun: boolean): Promise<ExitCode> {
  const { asPage } = await import('../lib/report/html.ts')
  const page = asPage(report)
  const size = `${Math.ceil(Buffer.byteLength(page) / 1000)} kB, ${report.history.incidents.length} incidents`
  if (dryRun) {
    process.stdout.write(`dry run: would write ${path} (${size})\n`)
    return EXIT.healthy
  }
  try {
    // Only its owner may read it: it tells much of a machine.
    writeFileAtomic(path, page)
  } catch (error) {
    process.stderr.write(`incident-report: ${path} cannot be written: ${oneLine((error as Error).message)}\n`)
    return EXIT.down
  }
  process.stdout.write(`wrote ${path} (${size})\n`)
  return EXIT.healthy
}

interface Flags {
  days: number
  html: string | undefined
  dryRun: boolean
  help: boolean
}

/** The flags, or what is wrong with them. */
function readFlags(): Flags | string {
  try {
    const { values } = parseArgs({
      options: {
        days: { type: 'string', default: '7' },
        html: { type: 'string' },
        'dry-run': { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    })
    const days = Number(values.days)
    if (!/^\d+(\.\d+)?$/.test(values.days) || days <= 0 || days > 366)
      return `--days "${oneLine(values.days, 40)}": expected a number of days, more than 0 and up to 366`
    if (values.html === '') return '--html: expected a file'
    return { days, html: values.html && resolve(values.html), dryRun: values['dry-run'], help: values.help }
  } catch (error) {
    return (error as Error).message
  }
}

function settingsOrProblem(): Settings | string {
  try {
    return loadSettings()
  } catch (error) {
    if (error instanceof SettingsError) return error.message
    throw error
  }
}
