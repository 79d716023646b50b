/** The table of a run: vitest's global setup, which gives the stages a file for their lines, and prints it in the end. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'

/** A line of the table; a later one for the same fault on the same stage counts. */
export interface Line {
  id: string
  name: string
  stage: string
  verdict: string
  healedBy: string
  restarts: string
  seconds: string
  told: string
}

declare module 'vitest' {
  interface ProvidedContext {
    /** The file to which the lines are added, as JSON. */
    linesOfTable: string
  }
}

const HEAD: Line = {
  id: '#',
  name: 'class',
  stage: 'stage',
  verdict: 'verdict',
  healedBy: 'healed by',
  restarts: 'restarts',
  seconds: 'seconds',
  told: 'a human is told',
}
const STAGES = ['stand-in', 'real', 'systemd']

/** vitest's global setup; what it returns is its teardown. */
export default function (project: TestProject): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'faults-'))
  const path = join(folder, 'lines')
  writeFileSync(path, '')
  project.provide('linesOfTable', path)
  return () => {
    const lines = readFileSync(path, 'utf8').split('\n').filter(Boolean)
    rmSync(folder, { recursive: true })
    if (lines.length > 0) process.stdout.write(`\n${tableOf(lines.map((line) => JSON.parse(line) as Line))}\n`)
  }
}

function tableOf(lines: readonly Line[]): string {
  const last = new Map(lines.map((line) => [`${line.stage} ${line.id}`, line]))
  const rows = [HEAD, ...[...last.values()].sort(byClass)].map((line) =>
    Object.keys(HEAD).map((key) => line[key as keyof Line]),
  )
  const widths = Object.keys(HEAD).map((_, i) => Math.max(...rows.map((row) => row[i]!.length)))
  const printed = rows.map((row) => `| ${row.map((cell, i) => cell.padEnd(widths[i]!)).join(' | ')} |`)
  return [printed[0], `| ${widths.map((width) => '-'.repeat(width)).join(' | ')} |`, ...printed.slice(1)].join('\n')
}

function byClass(a: Line, b: Line): number {
  return a.id.localeCompare(b.id, 'en', { numeric: true }) || STAGES.indexOf(a.stage) - STAGES.indexOf(b.stage)
}
