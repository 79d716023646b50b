/** What the measurements share: spreads, tables, and the files under bench/results that README and docs/bench.md show. */
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

/** The rows of a table as it was last published, by their first cell. */
export function publishedRows(name: string): Map<string, string[]> {
  const text = existsSync(pathOf(name)) ? readFileSync(pathOf(name), 'utf8') : ''
  const rows = text.split('\n').filter((line) => line.startsWith('| '))
  return new Map(rows.map((line) => line.slice(2, -2).split(' | ')).map((row) => [row[0]!, row]))
}

/** The tables of docs/bench.md, as they were last measured. */
export function benchFigures(): string {
  const paths = ['tick-node24', 'tick-node20', 'felt'].map(pathOf).filter(existsSync)
  return paths.map((path) => readFileSync(path, 'utf8').trim()).join('\n\n')
}

/** The README's four rows: three faults that are healed and one that only a human can settle. */
export function feltFigures(): [titles: string[], rows: string[][]] {
  const felt = publishedRows('felt')
  const row = (name: string, how: string, column: number) => {
    const cells = felt.get(name)
    return cells ? [[name, how, `${cells[column]} s`, `${cells[2]} s`]] : []
  }
  const rows = [
    ...row('kill -9, a plain process', 'Level 1 heals it', 3),
    ...row('SIGSTOP', 'Level 1 heals it', 3),
    ...row('broken config and kill -9', 'Level 2 heals it', 3),
    ...row('kill -9, a stranger takes its port', 'you are told', 4),
  ]
  return [['what happens', 'what follows', 'median (worst)', 'its own boot before'], rows]
}
