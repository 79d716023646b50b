import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { expect, test } from 'vitest'
import { generatedDocs } from '../support/docs.ts'

const root = join(import.meta.dirname, '..', '..')
const docs = readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md'))
const pages = ['README.md', ...docs.map((name) => join('docs', name))]
const read = (path: string) => readFileSync(join(root, path), 'utf8')

/** A page without its blocks of code. */
const prose = (path: string) => read(path).replace(/^(`{3,}).*\n[\s\S]*?^\1$/gm, '')
/** The blocks of code of one language. */
const blocks = (path: string, language: string) =>
  [...read(path).matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)].flatMap(([, of, text]) => (of === language ? [text!] : []))

/** As GitHub names the anchors of headings. */
function anchorsOf(path: string): string[] {
  const titles = [...prose(path).matchAll(/^#+ (.*)$/gm)].map(([, title]) => title!)
  return titles.map((title) =>
    title
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

/** Everything that a page links to in this repository, also pictures: the file, and the anchor in it. */
function linksOf(page: string): { link: string; path: string; anchor: string }[] {
  const links = [...prose(page).matchAll(/\]\(([^)\s]+)\)|(?:src|srcset)="([^"]+)"/g)].map(([, a, b]) => (a ?? b)!)
  return links
    .filter((link) => !/^[a-z]+:/.test(link))
    .map((link) => {
      const [file = '', anchor = ''] = link.split('#')
      const path = file ? relative(root, resolve(root, dirname(page), file)) : page
      return { link, path, anchor }
    })
}

test.each(generatedDocs())('$path says what the code says (`npm run docs` writes it)', ({ is, shouldBe }) => {
  expect(is).toBe(shouldBe)
})

test('the README is short: at most 12 KB', () => {
  expect(Buffer.byteLength(read('README.md'))).toBeLessThanOrEqual(12 * 1024)
})

test('every link leads somewhere', () => {
  const isThere = (path: string, anchor: string) =>
    existsSync(join(root, path)) && (anchor === '' || anchorsOf(path).includes(anchor))
  const broken = pages.flatMap((page) => {
    return linksOf(page).flatMap(({ link, path, anchor }) => (isThere(path, anchor) ? [] : [`${page}: ${link}`]))
  })
  expect(broken).toEqual([])
})

test('every page and picture of docs/ can be reached from the README', () => {
  const reached = new Set(['README.md'])
  for (const page of reached) if (page.endsWith('.md')) for (const { path } of linksOf(page)) reached.add(path)
  const all = readdirSync(join(root, 'docs')).map((name) => join('docs', name))
  expect(all.filter((path) => !reached.has(path))).toEqual([])
})

test('every npm command and every script that a page names exists', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> }
  const named = (pattern: RegExp) =>
    pages.flatMap((page) => [...read(page).matchAll(pattern)].map(([, name]) => [page, name!] as const))
  const commands = named(/\bnpm run (?:--silent )?([\w:-]+)/g)
  expect(commands.filter(([, name]) => !(name in scripts))).toEqual([])
  const files = [
    ...named(/(?<![\w/.~])((?:scripts|lib|test|bench)\/[\w./-]+\.(?:ts|mjs|sh))\b/g),
    ...named(/run-tier\.sh ([a-z-]+)/g).map(([page, name]) => [page, `scripts/${name}.ts`] as const),
  ]
  expect(files.filter(([, path]) => !existsSync(join(root, path)))).toEqual([])
})

test('the commands of the README can be pasted as they stand', () => {
  expect(blocks('README.md', 'sh').filter((block) => /<[^\n]*>|…/.test(block))).toEqual([])
})

test('no sentence stands in two places', () => {
  const seen = new Map<string, string>()
  const twice: string[] = []
  for (const page of pages)
    for (const paragraph of prose(page).split(/\n\s*\n|\n(?=\s*(?:[-*|]|\d\.) ?)/)) {
      if (/^\s*[|<]/.test(paragraph)) continue
      for (const sentence of paragraph.replace(/\s+/g, ' ').split(/(?<=[.:;!?]) /)) {
        // What is shorter is a name or a link.
        if (sentence.length < 40) continue
        if (seen.has(sentence)) twice.push(`${seen.get(sentence)}, ${page}: ${sentence}`)
        seen.set(sentence, page)
      }
    }
  expect(twice).toEqual([])
})
