/**
 * What of the documentation is made from the code: `.env.example`, and the tables of the README and of docs/doctor.md
 * between their marker comments. `npm run docs` writes them; `test/docs.test.ts` holds them to it.
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
const readmePath = join(root, 'README.md')
const doctorPath = join(root, 'docs', 'doctor.md')
const examplePath = join(root, '.env.example')

/** Each generated file: as it stands, and as it should be. */
export function generatedDocs(): { path: string; is: string; shouldBe: string }[] {
  const readme = readFileSync(readmePath, 'utf8')
  const tables = {
    settings: settingsTable(),
    treatments: treatmentTable(),
    metrics: metricsTable(),
    bench: benchFigures(),
  }
  const filled = Object.entries(tables).reduce((text, [name, table]) => fill(text, name, table), readme)
  const doctor = read(doctorPath) || '# The doctor\n\n<!-- instruments -->\n<!-- /instruments -->\n'
  return [
    { path: readmePath, is: readme, shouldBe: filled },
    { path: doctorPath, is: read(doctorPath), shouldBe: fill(doctor, 'instruments', instrumentsTable()) },
    { path: examplePath, is: read(examplePath), shouldBe: envExample() },
  ]
}

/** Replaces what stands between `<!-- name -->` and `<!-- /name -->`. Throws when the markers are missing. */
function fill(text: string, name: string, content: string): string {
  const [open, close] = [`<!-- ${name} -->`, `<!-- /${name} -->`]
  const [from, to] = [text.indexOf(open), text.indexOf(close)]
  if (from < 0 || to < from) throw new Error(`${text.split('\n', 1)}: there is no ${open} … ${close}`)
  return `${text.slice(0, from + open.length)}\n${content}\n${text.slice(to)}`
}

function treatmentTable(): string {
  const rows = Object.entries(TREATMENTS).map(
    ([verdict, { means, level1, level2, level3, because }]) =>
      `| **${verdict}** | ${means} | ${level1} | ${level2} | ${level3} | ${because} |`,
  )
  return ['| verdict | means | Level 1 | Level 2 | Level 3 | why |', '|---|---|---|---|---|---|', ...rows].join('\n')
}

function settingsTable(): string {
  const rows = Object.values(SETTINGS).map(
    ({ name, fallback, unit, meaning }) =>
      `| \`${name}\` | ${fallback ? `\`${fallback}\`` : ''} | ${unit} | ${meaning} |`,
  )
  return ['| setting | default | unit | meaning |', '|---|---|---|---|', ...rows].join('\n')
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

function instrumentsTable(): string {
  const script = join(root, 'scripts', 'doctor-tools.ts')
  return execFileSync(process.execPath, [...typescriptLoader(), script, '--list'], { encoding: 'utf8' }).trimEnd()
}

/** Every metric: its name, its type, who writes it, and its help. */
function metricsTable(): string {
  const rows = Object.values(METRICS).map(({ name, type, by, help }) => {
    const writers = by.length === Object.keys(TIERS).length ? 'all' : by.join(', ')
    return `| \`${name}\` | ${type} | ${writers} | ${help} |`
  })
  return ['| metric | type | written by | meaning |', '|---|---|---|---|', ...rows].join('\n')
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

if (process.argv[1] === import.meta.filename) {
  for (const { path, is, shouldBe } of generatedDocs()) {
    if (is !== shouldBe) writeFileSync(path, shouldBe)
    console.log(`${is === shouldBe ? 'unchanged' : 'written'}: ${path}`)
  }
}
