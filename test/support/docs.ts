/**
 * What of the documentation is made from the code or from measurements: `.env.example`, and the tables of the README and
 * of docs/ between their marker comments. `npm run docs` writes them; test/unit/docs.test.ts holds them to it.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { benchFigures, feltFigures } from '../../bench/figures.ts'
import { TREATMENTS } from '../../lib/gateway/treat.ts'
import { ALL_TIERS } from '../../lib/tier/contract.ts'
import { METRICS } from '../../lib/tier/metrics.ts'
import { SETTINGS } from '../../lib/tier/setting-table.ts'
import { typescriptLoader } from './script-process.ts'

const root = join(import.meta.dirname, '..', '..')

/** Each generated file: as it stands, and as it should be. */
export function generatedDocs(): { path: string; is: string; shouldBe: string }[] {
  const doctorTools = [...typescriptLoader(), join(root, 'scripts', 'doctor-tools.ts'), '--list']
  const instruments = execFileSync(process.execPath, doctorTools, { encoding: 'utf8' }).trimEnd()
  const settings = Object.values(SETTINGS)
  const tables: [path: string, name: string, content: string][] = [
    ['README.md', 'felt', table(...feltFigures())],
    ['docs/bench.md', 'bench', benchFigures()],
    ['docs/failures.md', 'faults', faultsTable()],
    ['docs/doctor.md', 'instruments', instruments],
    [
      'docs/settings.md',
      'settings',
      table(
        ['setting', 'default', 'unit', 'meaning'],
        settings.map(({ name, fallback, unit, meaning }) => [
          quoted(name),
          fallback && quoted(fallback),
          unit,
          meaning,
        ]),
      ),
    ],
    [
      'docs/verdicts.md',
      'treatments',
      table(
        ['verdict', 'means', 'Level 1', 'Level 2', 'Level 3', 'why'],
        Object.entries(TREATMENTS).map(([verdict, { means, level1, level2, level3, because }]) => {
          return [`**${verdict}**`, means, level1, level2, level3, because]
        }),
      ),
    ],
    [
      'docs/verdicts.md',
      'next',
      table(
        ['verdict', 'what you do next', 'what you do not'],
        Object.entries(TREATMENTS).map(([verdict, { todo }]) => [
          `**${verdict}**`,
          inTable(todo[0]!),
          inTable(todo[1]?.replace(/^do not /, '') ?? ''),
        ]),
      ),
    ],
    [
      'docs/prometheus.md',
      'metrics',
      table(
        ['metric', 'type', 'written by', 'meaning'],
        Object.values(METRICS).map(({ name, type, by, help }) => {
          return [quoted(name), type, by.length === ALL_TIERS.length ? 'all' : by.join(', '), help]
        }),
      ),
    ],
  ]
  const examples = settings.map(({ name, fallback, unit, meaning }) => `# ${meaning} (${unit})\n#${name}=${fallback}\n`)
  return [
    ...tables.map(([path, name, content]) => generated(path, (text) => fill(text, name, content))),
    generated('.env.example', () => [ENV_HEAD, ...examples].join('\n')),
  ]
}

/** As it stands on a machine where nothing is set. */
const EXAMPLES: Record<string, string> = {
  ...{ config: '`~/.openclaw/openclaw.json`', knownGood: '', owner: '`ls -l /proc/<its pid>/exe`', pid: '<its pid>' },
  ...{
    version: '<version>',
    folders: '~/.openclaw ~/openclaw/memory',
    state: '`~/.openclaw`',
    start: 'its own supervisor',
  },
}
const inTable = (line: string) => line.replace(/\{(\w+)\}/g, (_, name: string) => EXAMPLES[name]!)

const quoted = (text: string) => `\`${text}\``

const ENV_HEAD = `# Settings of openclaw-self-healing. Copy to ~/.openclaw/.env (OpenClaw reads that file too) and keep it private:
#   cp .env.example ~/.openclaw/.env && chmod 600 ~/.openclaw/.env
# Keep only the lines that you change. The environment wins over this file. $HOME and ~ are understood.
`

function generated(name: string, make: (text: string) => string) {
  const path = join(root, name)
  const is = readFileSync(path, 'utf8')
  return { path, is, shouldBe: make(is) }
}

/** Replaces what stands between `<!-- name -->` and `<!-- /name -->`. Throws when the markers are missing. */
function fill(text: string, name: string, content: string): string {
  const [before, rest] = text.split(`<!-- ${name} -->`)
  const after = rest?.split(`<!-- /${name} -->`)[1]
  if (after === undefined) throw new Error(`there is no <!-- ${name} --> … <!-- /${name} -->`)
  return `${before}<!-- ${name} -->\n${content}\n<!-- /${name} -->${after}`
}

function table(titles: string[], rows: string[][]): string {
  const lines = [titles, ...rows].map((cells) => `| ${cells.join(' | ')} |`)
  lines.splice(1, 0, `|${titles.map(() => '---').join('|')}|`)
  return lines.join('\n')
}

/** What `FAULTS_RESULTS=bench/results/faults.json npm run faults` (and `faults:real`) noted: a line for what all stages have alike. */
function faultsTable(): string {
  const rows: string[][] = JSON.parse(readFileSync(join(root, 'bench', 'results', 'faults.json'), 'utf8'))
  const stages = ['stand-in', 'real', 'systemd']
  const lines = new Map<string, string[]>()
  for (const [id, name, stage, verdict, healedBy, restarts, seconds, told] of rows) {
    const key = [id, verdict, healedBy, restarts].join()
    const line = lines.get(key) ?? [id!, name!, verdict!, healedBy!, restarts!, '', '', '', tidy(told!)]
    line[5 + stages.indexOf(stage!)] = seconds === '–' ? 'yes' : `${seconds} s`
    lines.set(key, line)
  }
  return table(['#', 'class', 'verdict', 'healed by', 'restarts', ...stages, 'a human is told'], [...lines.values()])
}

/** Without what differs from machine to machine. */
const tidy = (told: string) => told.replace(/\/tmp\/\S*?\/(?=\.openclaw)/g, '~/').replace(/pid \d+/g, 'pid 1234')

if (process.argv[1] === import.meta.filename) {
  for (const { path, is, shouldBe } of generatedDocs()) {
    if (is !== shouldBe) writeFileSync(path, shouldBe)
    console.log(`${is === shouldBe ? 'unchanged' : 'written'}: ${path}`)
  }
}
