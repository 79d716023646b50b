/** What all measurements share: the machine's description, medians, tables, and the files under bench/results. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, release } from 'node:os'
import { join } from 'node:path'

export interface Spread {
  least: number
  median: number
  worst: number
}

export function spread(numbers: readonly number[], decimals = 0): Spread {
  const round = (n: number) => Math.round(n * 10 ** decimals) / 10 ** decimals
  return { least: round(Math.min(...numbers)), median: round(median(numbers)), worst: round(Math.max(...numbers)) }
}

export function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** Where and when it was measured. */
export function circumstances() {
  return {
    measuredAt: new Date().toISOString(),
    node: process.version,
    platform: `${process.platform} ${release()}`,
    cpu: `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown'}`,
    /** Others at work on the machine stretch every time: figures beside a floor of the same run say more. */
    load: Number(loadavg()[0]!.toFixed(1)),
  }
}

/** Writes bench/results/<name>.json and prints the table. */
export function publish(name: string, title: string, result: object, rows: readonly (readonly unknown[])[]): void {
  const folder = join(import.meta.dirname, 'results')
  mkdirSync(folder, { recursive: true })
  const where = circumstances()
  writeFileSync(join(folder, `${name}.json`), `${JSON.stringify({ title, ...where, ...result }, null, 2)}\n`)
  const [head = [], ...body] = rows
  const lines = [head, head.map(() => '---'), ...body].map((row) => `| ${row.join(' | ')} |`)
  const text = `**${title}** (${where.measuredAt.slice(0, 10)}, Node ${where.node}, ${where.cpu}, load ${where.load})\n\n${lines.join('\n')}\n`
  writeFileSync(join(folder, `${name}.md`), text)
  process.stdout.write(`\n${text}`)
}

export function nodeMajor(): string {
  return `node${process.versions.node.split('.')[0]}`
}
