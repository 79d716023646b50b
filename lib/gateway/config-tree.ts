/** The gateway's config as a tree of settings: read, changed, flattened, and guessed where it cannot be parsed. */
import { isDeepStrictEqual } from 'node:util'
import JSON5 from 'json5'
import { secretValues } from '../tier/redact.ts'
import { isRecord } from '../tier/state.ts'

/** One value and where it stands: the names on the way to it, in an array its place; in a guessed tree `*` for any place. */
export interface Leaf {
  path: string[]
  value: string
  /** Of what kind the value is: `true` and `"true"` are different settings. */
  kind: string
}

/**
 * The config with one setting set. A number names the place in a list.
 * @throws where a value stands in the way that is neither an object nor a list
 */
export function configWith(before: unknown, names: readonly string[], value: unknown): Record<string, unknown> {
  const root = structuredClone(isRecord(before) ? before : {})
  let parent: Record<string, unknown> = root
  for (const [depth, name] of names.entries()) {
    const here = names.slice(0, depth + 1).join('.')
    if (Array.isArray(parent) && !(/^\d+$/.test(name) && Number(name) <= parent.length))
      throw new Error(`${here} is no place in that list`)
    if (depth === names.length - 1) parent[name] = value
    else {
      const next = (parent[name] ??= {})
      if (typeof next !== 'object' || next === null) throw new Error(`${here} is no object`)
      parent = next as Record<string, unknown>
    }
  }
  return root
}

/** The config without one setting. A number names the place in a list. */
export function configWithout(before: unknown, names: readonly string[]): Record<string, unknown> {
  const root = structuredClone(isRecord(before) ? before : {})
  const parent = valueAt(root, names.slice(0, -1))
  const name = names.at(-1)!
  if (Array.isArray(parent)) parent.splice(Number(name), /^\d+$/.test(name) ? 1 : 0)
  else if (isRecord(parent)) delete parent[name]
  return root
}

/** What stands at a path; undefined for nothing. */
export function valueAt(tree: unknown, names: readonly string[]): unknown {
  return names.reduce<unknown>(
    (at, name) =>
      typeof at === 'object' && at !== null && Object.hasOwn(at, name) ? Reflect.get(at, name) : undefined,
    tree,
  )
}

export function parseOrNothing(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON5.parse(text)
    return isRecord(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** Every value in the tree; an empty array or object counts as one. */
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

export interface Changes {
  removed: Leaf[]
  added: Leaf[]
}

/** What differs between two trees. Items of an array are compared with those in the same place. */
export function changesOf(before: unknown, after: unknown, path: string[] = []): Changes {
  if (isDeepStrictEqual(before, after)) return { removed: [], added: [] }
  if (isRecord(before) && isRecord(after)) {
    const names = [...new Set([...Object.keys(before), ...Object.keys(after)])]
    return joined(names.map((name) => changesOf(before[name], after[name], [...path, name])))
  }
  if (Array.isArray(before) && Array.isArray(after) && before.length > 0 && after.length > 0)
    return changesOfItems(before, after, path)
  const leaves = (value: unknown) => (value === undefined ? [] : leavesOf(value, path))
  return { removed: leaves(before), added: leaves(after) }
}

/** Where items were only taken out or put in at one place, the others have not changed, though their places have. */
function changesOfItems(before: unknown[], after: unknown[], path: string[]): Changes {
  const shorter = Math.min(before.length, after.length)
  let start = 0
  while (start < shorter && isDeepStrictEqual(before[start], after[start])) start++
  let end = 0
  while (end < shorter - start && isDeepStrictEqual(before.at(-1 - end), after.at(-1 - end))) end++
  const places = Math.max(before.length, after.length) - end
  const at = (items: unknown[], place: number) => (place < items.length - end ? items[place] : undefined)
  return joined(
    Array.from({ length: places - start }, (_, i) => start + i).map((place) =>
      changesOf(at(before, place), at(after, place), [...path, String(place)]),
    ),
  )
}

function joined(all: readonly Changes[]): Changes {
  return { removed: all.flatMap(({ removed }) => removed), added: all.flatMap(({ added }) => added) }
}

/**
 * Reads settings out of a text that JSON5 refuses. Names and values take turns, so a missing colon or comma does no harm;
 * a quote without its partner on the same line is passed over.
 */
export function lenientLeaves(text: string): Leaf[] {
  const leaves: Leaf[] = []
  interface Level {
    path: string[]
    isArray: boolean
    key: string | undefined
  }
  const stack: Level[] = [{ path: [], isArray: false, key: undefined }]
  const token =
    /\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|"(?!\s*[:,}\]])(?:\\.|[^"\\\n])*"|'(?!\s*[:,}\]])(?:\\.|[^'\\\n])*'|[{}[\],:]|[^\s{}[\],:"']+/g
  for (const [word] of text.matchAll(token)) {
    const top = stack.at(-1)!
    const isComment = word.startsWith('//') || word.startsWith('/*')
    if (isComment || word === ':') continue
    if (word === '{' || word === '[') {
      const path = top.isArray ? [...top.path, '*'] : top.key === undefined ? top.path : [...top.path, top.key]
      top.key = undefined
      stack.push({ path, isArray: word === '[', key: undefined })
    } else if (word === '}' || word === ']' || word === ',') {
      if (top.key !== undefined) leaves.push({ path: [...top.path, top.key], value: '', kind: 'guess' })
      top.key = undefined
      if (word !== ',' && stack.length > 1) stack.pop()
    } else if (top.isArray) {
      leaves.push({ path: [...top.path, '*'], value: plain(word), kind: 'guess' })
    } else if (top.key === undefined) {
      top.key = plain(word)
    } else {
      leaves.push({ path: [...top.path, top.key], value: plain(word), kind: 'guess' })
      top.key = undefined
    }
  }
  return leaves
}

/** The secret values in a config's text, also when it cannot be parsed. */
export function configSecrets(text: string): string[] {
  const parsed = parseOrNothing(text)
  const leaves = parsed ? leavesOf(parsed) : lenientLeaves(text)
  const isAny = (path: readonly string[], ...names: string[]) => path.slice(0, -1).some((name) => names.includes(name))
  // Environment variables and headers hold secrets under any name, and so do the arguments of a program.
  const handed = leaves.flatMap(({ path, value }) => {
    if (isAny(path, 'env', 'headers')) return /^(?:[/~$].*|\d+|true|false)$/.test(value) ? [] : [value]
    const argument = isAny(path, 'args') ? value.replace(/^--?[\w-]+=/, '') : ''
    return /^[^-@/.~$](?=\S*\d)(?=\S*[A-Za-z])\S+$/.test(argument) ? [argument] : []
  })
  const named = parsed ? secretValues(parsed) : leaves.flatMap((leaf) => secretValues(leaf.value, lastName(leaf.path)))
  return [...named, ...handed.filter((value) => value.length >= 8)]
}

/** A token's text without its quotes and without what a missing quote let slip in. */
function plain(word: string): string {
  try {
    return String(JSON5.parse(word))
  } catch {
    return word.replace(/^["']/, '').replace(/[\s,;}\]"']+$/, '')
  }
}

/** The name of a setting; for an item of an array, the array's. */
function lastName(path: readonly string[]): string {
  return path.filter(isName).at(-1) ?? ''
}

/** Identifies a leaf by its whole path and its value. */
export function fullId(leaf: Leaf): string {
  return [...leaf.path, leaf.kind, leaf.value].join('\0')
}

function isName(part: string): boolean {
  return part !== '*' && !/^\d{1,4}$/.test(part)
}
