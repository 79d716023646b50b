/** The README's table of the numbers, made from the table of metrics. */
import { TIERS } from './contract.ts'
import { METRICS, type Metric } from './metrics.ts'

/** Every metric: its name, its type, who writes it, and its help. */
export function metricsTable(): string {
  const rows = Object.values<Metric>(METRICS).map(({ name, type, by, help }) => {
    const writers = by.length === Object.keys(TIERS).length ? 'all' : by.join(', ')
    return `| \`${name}\` | ${type} | ${writers} | ${help} |`
  })
  return ['| metric | type | written by | meaning |', '|---|---|---|---|', ...rows].join('\n')
}
