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
const importsOf = (file: string) =>
  [...sourceOf(file).matchAll(/(?:from|import|import\()\s*['"](\.[^'"]+)['"]/g)].map((m) =>
    relative(ROOT, resolve(ROOT, dirname(file), m[1]!)),
  )

/** Imports run from right to left, or within one room: lib/tier's frame counts new incidents. */
const FLOORS = [
  ['lib/tier', 'lib/incidents'],
  ['lib/services'],
  ['lib/gateway', 'lib/agents'],
  ['lib/alerts', 'lib/doctor'],
  ['lib/install', 'lib/report'],
  ['scripts'],
]
const floorOf = (file: string) => FLOORS.findIndex((folders) => folders.some((one) => file.startsWith(`${one}/`)))

test('imports run downwards only, to .ts files that exist, without circles; no script is imported', () => {
  const done = new Set<string>()
  const visit = (file: string, path: string[]) => {
    expect(path, `circle: ${[...path, file].join(' → ')}`).not.toContain(file)
    if (done.has(file)) return
    for (const target of importsOf(file)) {
      const wrong = `${file} imports ${target}`
      expect(files, wrong).toContain(target)
      expect(floorOf(target), wrong).toBeLessThanOrEqual(floorOf(file))
      expect(target, wrong).not.toMatch(/^scripts/)
      visit(target, [...path, file])
    }
    done.add(file)
  }
  for (const file of files) visit(file, [])
  expect(files.filter((file) => floorOf(file) < 0)).toEqual([])
})

test('nothing but the settings module reads process.env', () => {
  expect(files.filter((file) => /process\.env\b/.test(sourceOf(file)))).toEqual(['lib/tier/settings.ts'])
})
