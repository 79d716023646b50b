/** What the folders promise is true of the imports. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { expect, test } from 'vitest'

const ROOT = join(import.meta.dirname, '..', '..')
const files = ['scripts', 'lib'].flatMap((folder) =>
  readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name)),
)
const sourceOf = (file: string) => readFileSync(join(ROOT, file), 'utf8')
const imports = new Map(
  files.map((file) => {
    const found = [...sourceOf(file).matchAll(/(?:from|import|import\()\s*['"](\.[^'"]+)['"]/g)]
    return [file, found.map((m) => relative(ROOT, resolve(ROOT, dirname(file), m[1]!)))]
  }),
)

/** Higher may import lower, its own folder, and one beside it: lib/tier's frame counts new incidents. */
const FLOOR: Record<string, number> = {
  'lib/tier': 0,
  'lib/incidents': 0,
  'lib/services': 1,
  'lib/gateway': 2,
  'lib/agents': 2,
  'lib/alerts': 3,
  'lib/doctor': 3,
  'lib/install': 4,
  'lib/report': 4,
  scripts: 5,
}
const folderOf = (file: string) => /^(?:lib\/[^/]+|[^/]+)/.exec(file)![0]

test('imports run downwards only, to .ts files that exist; no script is imported, no file imports itself', () => {
  expect(files.length).toBeGreaterThan(20)
  expect(imports.get('scripts/gateway-watchdog.ts')!.length).toBeGreaterThan(5)
  const done = new Set<string>()
  const visit = (file: string, path: string[]) => {
    expect(path, `circle: ${[...path, file].join(' → ')}`).not.toContain(file)
    if (done.has(file)) return
    for (const target of imports.get(file)!) {
      const wrong = `${file} imports ${target}`
      expect(files, wrong).toContain(target)
      const [from, to] = [folderOf(file), folderOf(target)]
      expect(FLOOR, `the folder of ${file}`).toHaveProperty([from])
      if (from !== to) expect(FLOOR[to], wrong).toBeLessThanOrEqual(FLOOR[from]!)
      expect(to, wrong).not.toBe('scripts')
      visit(target, [...path, file])
    }
    done.add(file)
  }
  for (const file of files) visit(file, [])
})

test('nothing but the settings module reads process.env', () => {
  expect(files.filter((file) => /process\.env\b/.test(sourceOf(file)))).toEqual(['lib/tier/settings.ts'])
})
