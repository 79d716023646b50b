/** The README's chapter of figures: the results as they were last measured, in the order in which they are of interest. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

const RESULTS = [
  'tick-node24',
  'tick-node20',
  'recovery-stand-in-node24',
  'recovery-real-node24',
  'recovery-real-node20',
  'scale-node24',
  'year',
]

export function benchFigures(): string {
  return RESULTS.map((name) => join(import.meta.dirname, 'results', `${name}.md`))
    .filter(existsSync)
    .map((path) => readFileSync(path, 'utf8').trim())
    .join('\n\n')
}
