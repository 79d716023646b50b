/**
 * What of the documentation is made from the code: `.env.example`, and the tables of the README and of docs/doctor.md
 * between their marker comments. `npm run docs` writes them; test/unit/docs.test.ts holds them to it.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { benchFigures } from '../../bench/figures.ts'
import { TREATMENTS } from '../../lib/gateway/treat.ts'
import { TIERS } from '../../lib/tier/contract.ts'
import { METRICS } from '../../lib/tier/metrics.ts'
import { SETTINGS } from '../../lib/tier/setting-table.ts'
import { typescriptLoader } from './script-process.ts'

const root = join(import.meta.dirname, '..', '..')

/** Each generated file: as it stands, and as it should be. */
export function generatedDocs(): { path: string; is: string; shouldBe: string }[] {
  const doctorTools = [...typescriptLoader(), join(root, 'scripts', 'doctor-tools.ts'), '--list']
  const instruments = execFileSync(process.execPath, doctorTools, { encoding: 'utf8' }).trimEnd()
  const tables = { settings: settingsTable(), treatments: treatmentTable(), metrics: metricsTable() }
  return [
    generated('README.md', (text) => fill(text, { ...tables, bench: benchFigures() })),
    generated('docs/doctor.md', (text) => fill(text, { instruments })),
    generated('.env.example', envExample),
  ]
}

function generated(name: string, make: (text: string) => string) {
  const path = join(root, name)
  const is = readFileSync(path, 'utf8')
  return { path, is, shouldBe: make(is) }
}

/** Replaces what stands between `<!-- name -->` and `<!-- /name -->`. Throws when the markers are missing. */
function fill(text: string, tables: Record<string, string>): string {
  for (const [name, content] of Object.entries(tables)) {
    const [before, rest] = text.split(`<!-- ${name} -->`)
    const after = rest?.split(`<!-- /${name} -->`)[1]
    if (after === undefined) throw new Error(`there is no <!-- ${name} --> … <!-- /${name} -->`)
    text = `${before}<!-- ${name} -->\n${content}\n<!-- /${name} -->${after}`
  }
  return text
}

function table(...rows: string[][]): string {
  const [titles = []] = rows
  rows.splice(
    1,
    0,
    titles.map(() => '---'),
  )
  return rows.map((cells, i) => (i === 1 ? `|${cells.join('|')}|` : `| ${cells.join(' | ')} |`)).join('\n')
}

function treatmentTable(): string {
  const rows = Object.entries(TREATMENTS).map(([verdict, { means, level1, level2, level3, because }]) => {
    return [`**${verdict}**`, means, level1, level2, level3, because]
  })
  return table(['verdict', 'means', 'Level 1', 'Level 2', 'Level 3', 'why'], ...rows)
}

function settingsTable(): string {
  const rows = Object.values(SETTINGS).map(({ name, fallback, unit, meaning }) => {
    return [`\`${name}\``, fallback && `\`${fallback}\``, unit, meaning]
  })
  return table(['setting', 'default', 'unit', 'meaning'], ...rows)
}

function metricsTable(): string {
  const rows = Object.values(METRICS).map(({ name, type, by, help }) => {
    return [`\`${name}\``, type, by.length === Object.keys(TIERS).length ? 'all' : by.join(', '), help]
  })
  return table(['metric', 'type', 'written by', 'meaning'], ...rows)
}

/** Every setting, commented out, with its default. */
function envExample(): string {
  const entries = Object.values(SETTINGS).map(
    ({ name, fallback, unit, meaning }) => `# ${meaning} (${unit})\n#${name}=${fallback}\n`,
  )
  return [
    '# Settings of openclaw-self-healing. Copy to ~/.openclaw/.env (OpenClaw reads that file too) and keep it private:',
    '#   cp .env.example ~/.openclaw/.env && chmod 600 ~/.openclaw/.env',
    '# Keep only the lines that you change. The environment wins over this file. $HOME and ~ are understood.',
    '',
    ...entries,
  ].join('\n')
}

if (process.argv[1] === import.meta.filename) {
  for (const { path, is, shouldBe } of generatedDocs()) {
    if (is !== shouldBe) writeFileSync(path, shouldBe)
    console.log(`${is === shouldBe ? 'unchanged' : 'written'}: ${path}`)
  }
}
