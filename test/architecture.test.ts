/** Tests that hold the architecture: what the folders promise is true of the imports. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const files = ['scripts', 'lib'].flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name)),
)

function importsOf(file: string): string[] {
  const source = readFileSync(join(ROOT, file), 'utf8')
  return [...source.matchAll(/(?:from|import|import\()\s*['"](\.[^'"]+)['"]/g)].map((m) =>
    relative(ROOT, resolve(ROOT, dirname(file), m[1]!)),
  )
}

/** Higher may import lower, its own folder, and one that stands beside it: lib/tier's frame counts new incidents. */
const FLOOR: Record<string, number> = {
  'lib/tier': 0,
  'lib/incidents': 0,
  'lib/services': 1,
  'lib/gateway': 2,
  'lib/alerts': 3,
  'lib/agents': 2,
  'lib/doctor': 3,
  'lib/install': 4,
  'lib/report': 4,
  scripts: 5,
}
const folderOf = (file: string) =>
  file
    .split('/')
    .slice(0, file.startsWith('lib/') ? 2 : 1)
    .join('/')

test('there is something to check', () => {
  expect(files.length).toBeGreaterThan(20)
  expect(importsOf('scripts/gateway-watchdog.ts').length).toBeGreaterThan(5)
})

test.each(files)('%s: imports run downwards only and name .ts files that exist', (file) => {
  for (const target of importsOf(file)) {
    expect(files, `${file} imports ${target}`).toContain(target)
    const [from, to] = [folderOf(file), folderOf(target)]
    expect(FLOOR, `folder of ${file}`).toHaveProperty([from])
    if (from !== to) expect(FLOOR[to]!, `${file} imports ${target}`).toBeLessThanOrEqual(FLOOR[from]!)
    if (to === 'scripts') expect.fail(`${file} imports the script ${target}`)
  }
})

test('no file imports itself in a circle', () => {
  const visiting: string[] = []
  const done = new Set<string>()
  const visit = (file: string) => {
    if (done.has(file)) return
    expect(visiting, `circle: ${[...visiting, file].join(' → ')}`).not.toContain(file)
    visiting.push(file)
    for (const target of importsOf(file)) visit(target)
    visiting.pop()
    done.add(file)
  }
  for (const file of files) visit(file)
})

test('nothing but the settings module reads process.env', () => {
  const readers = files.filter((file) => /process\.env\b/.test(readFileSync(join(ROOT, file), 'utf8')))
  expect(readers).toEqual(['lib/tier/settings.ts'])
})

test('no file is named after nothing', () => {
  for (const file of files) expect(file).not.toMatch(/\b(?:utils?|helpers?|common|misc|types)\b/)
})
