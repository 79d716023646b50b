/**
 * `npm run bench`: all measurements, or those that are named. Each writes its table and its JSON to bench/results.
 *
 * Usage: npm run bench -- [tick] [scale] [recovery] [year] [--rounds N] [--days N] [--real]
 *   tick      what a healthy tick of each script costs, beside `node -e 0`, and bash with curl
 *   scale     the same with 1, 100 and 10 000 log files, and with a gateway's log of 1 GB
 *   recovery  seconds from a fault to a healthy gateway; with --real on the real OpenClaw (`npm run test:real` installs it)
 *   year      a year of ticks on a simulated clock: restarts, alerts, bytes
 *
 * The Node that runs this is the Node that is measured.
 */
import { parseArgs } from 'node:util'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string' },
    days: { type: 'string', default: '365' },
    real: { type: 'boolean', default: false },
  },
})
const MEASUREMENTS: Record<string, () => Promise<void>> = {
  tick: async () => (await import('./tick.ts')).measureTicks(Number(values.rounds ?? 15)),
  scale: async () => (await import('./scale.ts')).measureScale(Number(values.rounds ?? 9)),
  recovery: async () => (await import('./recovery.ts')).measureRecovery(Number(values.rounds ?? 5), values.real),
  year: async () => (await import('./year.ts')).simulateYear(Number(values.days)),
}
const wanted = positionals.length > 0 ? positionals : Object.keys(MEASUREMENTS)
for (const name of wanted) {
  const measure = MEASUREMENTS[name]
  if (!measure) throw new Error(`no measurement is called ${name}; there are: ${Object.keys(MEASUREMENTS).join(' ')}`)
  await measure()
}
