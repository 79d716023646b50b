/** The gateway's config as a tree of settings: read, changed, flattened, and guessed where it cannot be parsed. */
import { isDeepStrictEqual } from 'node:util'
import JSON5 from 'json5'
import { isRecord } from '../tier/state.ts'
import { Refused } from './guard.ts'

/** One value and where it stands: the names on the way to it, in an array its place; in a guessed tree `*` for any place. */
export interface Leaf {
  path: string[]
  value: string
  /** Of what kind the value is: `true` and `"true"` are different settings. */
  kind: string
}

/** The config after `openclaw config set <path> <value>`; a value that is not JSON5 is taken as text, as OpenClaw does. */
export function configWith(before: unknown, path: string, value: string): unknown {
  const names = splitPath(path)
  let parsed: unknown
  try {
    parsed = JSON5.parse(value)
  } catch {
    parsed = value
  }
  const root = structuredClone(isRecord(before) ? before : {})
  const parent = names.slice(0, -1).reduce<Record<string, unknown>>((at, name) => {
    const next = isRecord(at[name]) ? at[name] : {}
    at[name] = next
    return next
  }, root)
  parent[names.at(-1)!] = parsed
  return root
}

/** The config after `openclaw config unset <path>`. */
export function configWithout(before: unknown, path: string): unknown {
  const names = splitPath(path)
  const root = structuredClone(isRecord(before) ? before : {})
  let parent: unknown = root
  for (const name of names.slice(0, -1)) parent = isRecord(parent) ? parent[name] : undefined
  if (isRecord(parent)) delete parent[names.at(-1)!]
  return root
}

/** `agents.defaults.model` in its parts. Only plain names: brackets and escapes have readings of their own. */
export function splitPath(path: string): string[] {
  const names = path.split('.')
  if (!names.every((name) => /^[A-Za-z0-9_$-]+$/.test(name)) || names.includes('__proto__')) {
    throw new Refused('unclear', `Write the config path "${path}" with plain names and dots, or use Edit.`)
  }
  return names
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

/** A token's text without its quotes and without what a missing quote let slip in. */
function plain(word: string): string {
  try {
    return String(JSON5.parse(word))
  } catch {
    return word.replace(/^["']/, '').replace(/[\s,;}\]"']+$/, '')
  }
}

/** The name of a setting; for an item of an array, the array's. */
export function lastName(path: readonly string[]): string {
  return path.filter(isName).at(-1) ?? ''
}

/** Identifies a leaf by its whole path and its value. */
export function fullId(leaf: Leaf): string {
  return [...leaf.path, leaf.kind, leaf.value].join('\0')
}

/** Identifies a leaf by its last two names and its value: a missing brace shifts the rest of a guessed path. */
export function nearId(leaf: Leaf): string {
  return [...leaf.path.filter(isName).slice(-2), '=', leaf.value].join('\0')
}

function isName(part: string): boolean {
  return part !== '*' && !/^\d{1,4}$/.test(part)
}

/** The leaves of `a` that `b` does not have, counting repetitions. */
export function without(a: Leaf[], b: Leaf[], id: (leaf: Leaf) => string): Leaf[] {
  const counts = new Map<string, number>()
  for (const leaf of b) counts.set(id(leaf), (counts.get(id(leaf)) ?? 0) + 1)
  return a.filter((leaf) => {
    const left = counts.get(id(leaf)) ?? 0
    counts.set(id(leaf), left - 1)
    return left <= 0
  })
}
