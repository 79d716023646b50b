#!/usr/bin/env -S npx tsx
/** The report of the last days, from the tiers' logs alone: `npm run report`. Checks no gateway; exit codes as HELP says. */
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { lastDays } from '../lib/incidents/history.ts'
import { asMarkdown, figuresOf, readReport } from '../lib/report/report.ts'
import { print, runByHand } from '../lib/tier/by-hand.ts'
import { EXIT, oneLine } from '../lib/tier/contract.ts'
import { loadSettings, SettingsError } from '../lib/tier/settings.ts'
import { writeFileAtomic } from '../lib/tier/state.ts'

const HELP = `How the self-healing of the OpenClaw Gateway has been, from its logs alone:
failures, who resolved them, uptime, mean time to recovery, every incident step
by step, and what the logs do not tell.

Flags:
  --days N      the last N days (default 7; up to 366)
  --html FILE   write one HTML page to FILE, with an uptime strip and a timeline
                for each incident; without it the report is printed as Markdown
  --json        print everything as JSON
  --dry-run     write no file; say what would be written
  --help        print this

Exit codes: 0 the report was written, 1 the file cannot be written,
2 unusable flags or settings.`

await runByHand('incident-report', async () => {
  const boolean = { type: 'boolean', default: false } as const
  const options = { days: { type: 'string', default: '7' }, html: { type: 'string' }, json: boolean } as const
  const { values: flags } = parseArgs({ options: { ...options, 'dry-run': boolean, help: boolean } })
  if (flags.help) return print(HELP)
  const days = Number(flags.days)
  if (!/^\d+(\.\d+)?$/.test(flags.days) || days <= 0 || days > 366)
    throw new SettingsError(`--days "${oneLine(flags.days, 40)}": expected a number of days, more than 0 and up to 366`)
  if (flags.html === '') throw new SettingsError('--html: expected a file')
  const now = new Date()
  const report = await readReport(loadSettings(), lastDays(days, now), now)
  if (flags.json && flags.html === undefined)
    return print(JSON.stringify({ ...report, figures: figuresOf(report) }, (_, value) => value ?? null, 2))
  if (flags.html === undefined) return print(asMarkdown(report))
  const path = resolve(flags.html)
  const page = (await import('../lib/report/html.ts')).asPage(report)
  const size = `${Math.ceil(Buffer.byteLength(page) / 1000)} kB, ${report.incidents.length} incidents`
  if (flags['dry-run']) return print(`dry run: would write ${path} (${size})`)
  try {
    writeFileAtomic(path, page)
  } catch (error) {
    process.stderr.write(`incident-report: ${path} cannot be written: ${oneLine((error as Error).message)}\n`)
    return EXIT.down
  }
  return print(`wrote ${path} (${size})`)
})
