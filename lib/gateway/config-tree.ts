/** The gateway's config: as a tree of settings, and as a text that is edited in place. */
import { isDeepStrictEqual } from 'node:util'
import JSON5 from 'json5'
import { secretValues } from '../tier/redact.ts'
import { isRecord, tried } from '../tier/state.ts'

/** One value and the names on the way to it, in an array its place. `true` and `"true"` differ in kind. */
export interface Leaf {
  path: string[]
  value: string
  kind: string
}

/** The config with one setting set; a number names the place in a list. Throws where a value stands in the way. */
export function configWith(before: unknown, names: readonly string[], value: unknown): Record<string, unknown> {
  const root = structuredClone(isRecord(before) ? before : {})
  let parent: Record<string, unknown> = root
  for (const [depth, name] of names.entries()) {
    const here = names.slice(0, depth + 1).join('.')
    if (name === '__proto__') throw new Error(`${here} is no name of a setting`)
    if (Array.isArray(parent) && !(/^\d+$/.test(name) && Number(name) <= parent.length))
      throw new Error(`${here} is no place in that list`)
    if (depth === names.length - 1) parent[name] = value
    else {
      const next = (Object.hasOwn(parent, name) ? parent[name] : undefined) ?? (parent[name] = {})
      if (typeof next !== 'object' || next === null) throw new Error(`${here} is no object`)
      parent = next as Record<string, unknown>
    }
  }
  return root
}

export function configWithout(before: unknown, names: readonly string[]): Record<string, unknown> {
  const root = structuredClone(isRecord(before) ? before : {})
  const parent = valueAt(root, names.slice(0, -1))
  const name = names.at(-1)!
  if (Array.isArray(parent)) parent.splice(Number(name), /^\d+$/.test(name) ? 1 : 0)
  else if (isRecord(parent)) delete parent[name]
  return root
}

export function valueAt(tree: unknown, names: readonly string[]): unknown {
  return names.reduce<unknown>(
    (at, name) =>
      typeof at === 'object' && at !== null && Object.hasOwn(at, name) ? Reflect.get(at, name) : undefined,
    tree,
  )
}

export function parseOrNothing(text: string): Record<string, unknown> | undefined {
  const value: unknown = tried(() => JSON5.parse(text))
  return isRecord(value) ? value : undefined
}

export function leavesOf(value: unknown, path: string[] = []): Leaf[] {
  if (Array.isArray(value)) {
    if (value.length === 0) return [{ path, value: '', kind: 'array' }]
    return value.flatMap((item, place) => leavesOf(item, [...path, String(place)]))
  }
  if (isRecord(value)) {
    const entries = Object.entries(value)
    if (entries.length === 0 && path.length > 0) return [{ path, value: '{}', kind: 'object' }]
    return entries.flatMap(([name, item]) => leavesOf(item, [...path, name]))
  }
  return [{ path, value: String(value), kind: typeof value }]
}

/** The secret values in a config's text. Of one that cannot be parsed: what follows a secret's name, and what looks like a secret. */
export function configSecrets(text: string): string[] {
  const parsed = parseOrNothing(text)
  if (!parsed) {
    const named = [...text.matchAll(/([\w-]+)(?=["'\s:=])["']?\s*[:=]?\s*(?:"([^"\n]*)|'([^'\n]*)|([^\s{}[\],:"']+))/g)]
    const words = text.split(/[\s{}[\]:,"']+/).filter((word) => /^(?=\S*\d)(?=\S*[A-Za-z])[^/]{12,}$/.test(word))
    return [...named.flatMap(([, name, ...values]) => secretValues(values.find(Boolean), name)), ...words]
  }
  // Environment variables and headers hold secrets under any name, and so do the arguments of a program.
  const handed = leavesOf(parsed).flatMap(({ path, value }) => {
    const isBelow = (name: string) => path.slice(0, -1).includes(name)
    if (isBelow('env') || isBelow('headers')) return /^(?:[/~$].*|\d+|true|false)$/.test(value) ? [] : [value]
    const argument = isBelow('args') ? value.replace(/^--?[\w-]+=/, '') : ''
    return /^[^-@/.~$](?=\S*\d)(?=\S*[A-Za-z])\S+$/.test(argument) ? [argument] : []
  })
  return [...secretValues(parsed), ...handed.filter((value) => value.length >= 8)]
}

export function withSetting(text: string, names: readonly string[], value: unknown): string {
  const wanted = configWith(JSON5.parse(text), names, value)
  const written = JSON.stringify(value)
  const spans = spansOf(text)
  const found = spans.get(keyOf(names))
  if (found) return checked(`${text.slice(0, found.valueStart)}${written}${text.slice(found.end)}`, wanted)
  for (let depth = names.length - 1; depth >= 0; depth--) {
    const parent = spans.get(keyOf(names.slice(0, depth)))
    if (parent === undefined || text[parent.valueStart] !== '{') continue
    const [head, tail] = [text.slice(0, parent.valueStart + 1), text.slice(parent.valueStart + 1)]
    const member = names.slice(depth + 1).reduceRight((inner, name) => `{ ${JSON.stringify(name)}: ${inner} }`, written)
    return checked(`${head} ${JSON.stringify(names[depth])}: ${member}${/^\s*}/.test(tail) ? ' ' : ','}${tail}`, wanted)
  }
  return checked('', wanted)
}

export function withoutSetting(text: string, names: readonly string[]): string {
  const wanted = configWithout(JSON5.parse(text), names)
  const found = spansOf(text).get(keyOf(names))
  if (!found) return checked(text, wanted)
  const { start, end, comma } = found
  const without = (part: string, at: number) => (at < 0 ? part : part.slice(0, at) + part.slice(at + 1))
  const [head, rest] = [without(text.slice(0, start), comma), without(text.slice(end), comma - end)]
  const isLineOfItsOwn = /\n[ \t]*$/.test(head) && /^[ \t]*(?:\r?\n|$)/.test(rest)
  return checked(isLineOfItsOwn ? head.replace(/\r?\n[ \t]*$/, '') + rest.replace(/^[ \t]*/, '') : head + rest, wanted)
}

/** The edited text; where the edit in place does not parse to what is wanted, that is written out whole. */
function checked(text: string, wanted: unknown): string {
  const isWanted = tried(() => isDeepStrictEqual(JSON5.parse(text), wanted))
  return isWanted ? text : `${JSON.stringify(wanted, null, 2)}\n`
}

const TOKEN = /\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:\\[\s\S]|[^"\\])*"|'(?:\\[\s\S]|[^'\\])*'|[{}[\],:]|[^\s{}[\],:"'/]+/g

/** Where every member stands, by its path: from its name to behind its value, and the comma that goes with it (behind it, else before
 * it; -1: there is none). Of several with one name the last, as a parser takes it. */
function spansOf(text: string) {
  const tokens = [...text.matchAll(TOKEN)].filter(([word]) => !/^\/[/*]/.test(word))
  const spans = new Map<string, Record<'start' | 'valueStart' | 'end' | 'comma', number>>()
  let next = 0
  const is = (...words: string[]) => words.includes(tokens[next]?.[0] ?? '')
  const comma = () => (is(',') ? tokens[next]!.index : undefined)
  const read = (path: readonly string[], start: number, commaBefore?: number) => {
    const token = tokens[next]
    if (!token) return
    next++
    const [word] = token
    let before: number | undefined
    if (word === '{' || word === '[')
      for (let place = 0; next < tokens.length && !is('}', ']'); place++) {
        const from = tokens[next]!.index
        const name = word === '[' ? String(place) : nameOf(tokens[next++]![0])
        if (is(':')) next++
        read([...path, name], from, before)
        before = comma() ?? before
        if (is(',')) next++
      }
    if (word === '{' || word === '[') next++
    const end = tokens[next - 1] ?? token
    const span = { start, valueStart: token.index, end: end.index + end[0].length }
    spans.set(keyOf(path), { ...span, comma: comma() ?? commaBefore ?? -1 })
  }
  read([], tokens[0]?.index ?? 0)
  return spans
}

const keyOf = (names: readonly string[]) => names.map((name) => `\0${name}`).join('')
const nameOf = (word: string) => (/^["']/.test(word) ? String(JSON5.parse(word)) : word)
