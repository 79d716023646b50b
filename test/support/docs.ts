/**
 * What of the documentation is made from the code: `.env.example` and the tables of the README between their marker
 * comments. `npm run docs` writes them; `test/docs.test.ts` holds them to it.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { benchFigures } from '../../bench/readme.ts'
import { treatmentTable } from '../../lib/gateway/treat-docs.ts'
import { metricsTable } from '../../lib/tier/metrics-docs.ts'
import { envExample, settingsTable } from '../../lib/tier/settings-docs.ts'

const root = join(import.meta.dirname, '..', '..')
const readmePath = join(root, 'README.md')
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
  return [
    { path: readmePath, is: readme, shouldBe: filled },
    { path: examplePath, is: read(examplePath), shouldBe: envExample() },
  ]
}

/** Replaces what stands between `<!-- name -->` and `<!-- /name -->`. Throws when the markers are missing. */
function fill(text: string, name: string, content: string): string {
  const [open, close] = [`<!-- ${name} -->`, `<!-- /${name} -->`]
  const [from, to] = [text.indexOf(open), text.indexOf(close)]
  if (from < 0 || to < from) throw new Error(`README.md has no ${open} … ${close}`)
  return `${text.slice(0, from + open.length)}\n${content}\n${text.slice(to)}`
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
