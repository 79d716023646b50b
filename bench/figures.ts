/** What the measurements share: spreads, tables, and the files under bench/results that the README shows. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { join } from 'node:path'

const pathOf = (name: string) => join(import.meta.dirname, 'results', `${name}.md`)

export function spread(numbers: readonly number[]): { least: number; median: number; worst: number } {
  const sorted = numbers.map((n) => Math.round(n * 100) / 100).sort((a, b) => a - b)
  return { least: sorted[0]!, median: sorted[sorted.length >> 1]!, worst: sorted.at(-1)! }
}

/** Prints the table and writes bench/results/<name>.md; on a busy machine every time is longer, so the load is in it. */
export function publish(name: string, title: string, head: string[], rows: readonly (readonly unknown[])[]): void {
  const lines = [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`)
  const machine = `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'unknown'}, load ${loadavg()[0]!.toFixed(1)}`
  const text = `**${title}** (${new Date().toISOString().slice(0, 10)}, ${machine})\n\n${lines.join('\n')}\n`
  writeFileSync(pathOf(name), text)
  process.stdout.write(`\n${text}`)
}

/** The README's tables, as they were last measured. */
export function benchFigures(): string {
  const paths = ['tick-node24', 'tick-node20', 'recovery-stand-in', 'recovery-real'].map(pathOf).filter(existsSync)
  return paths.map((path) => readFileSync(path, 'utf8').trim()).join('\n\n')
}
