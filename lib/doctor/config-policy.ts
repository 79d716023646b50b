/** The gateway's config in the doctor's hands: what it is shown of it, and which edits are allowed. */
import JSON5 from 'json5'
import { type Changes, changesOf, type Leaf, leavesOf, lenientLeaves, parseOrNothing } from '../gateway/config-tree.ts'
import { isRecord } from '../tier/state.ts'
import { assertMayBecome, assertMayGo, assertNoHarm, isProtected, sectionsIn, type Yardstick } from './config-rules.ts'
import { Refused } from './refused.ts'

/** An edit may not throw away more settings than a repair plausibly does; whoever rewrites the file loses data. */
const MOST_REMOVED = 12

export interface ConfigEdit {
  /** The file's text before. */
  before: string
  /** The text of the last config that booted, when it is known. */
  knownGood: string | undefined
  /** The port that is watched: the only one that `gateway.port` may be set to. */
  gatewayPort: number
}

/** Judges the wish to set something before it is looked at what stands there: an answer must not tell a guess from it. */
export function judgeSetting(
  path: string[],
  value: unknown,
  { knownGood, gatewayPort }: Omit<ConfigEdit, 'before'>,
): void {
  const known = leavesOf((knownGood === undefined ? undefined : parseOrNothing(knownGood)) ?? {})
  for (const leaf of leavesOf(value, path)) assertMayBecome(leaf, { port: gatewayPort, known })
}

/** Judges a new text of the config by what changes, not by how it is written. Throws `Refused` with the setting. */
export function judgeConfigText(after: string, { before, knownGood, gatewayPort }: ConfigEdit): void {
  const value = parsedAfter(after)
  const known = knownGood === undefined ? undefined : parseOrNothing(knownGood)
  const yardstick = { port: gatewayPort, known: leavesOf(known ?? {}) }
  const readable = parseOrNothing(before)
  // With a file that cannot be read only the last one can be compared that could.
  const base = readable ?? known
  if (!readable && isSlip(before, after, leavesOf(value), yardstick))
    assertFewLost(lenientLeaves(before), leavesOf(value))
  else if (base) judgeChanges(base, value, known, yardstick)
  else throw new Refused(NOTHING_TO_COMPARE)
}

const NOTHING_TO_COMPARE =
  'In a config that cannot be parsed only marks (braces, brackets, quotes, commas, colons) may be added or taken away, and there is no known-good config to compare more with. Write in the report what would have to change.'

function parsedAfter(text: string): Config {
  let value: unknown
  try {
    value = JSON5.parse(text)
  } catch (error) {
    // Neither the character it met there nor its place in the line: they would tell how a hidden value goes on.
    const line = / at (\d+):\d+$/.exec((error as Error).message)?.[1]
    const where = line ? ` in line ${line}` : ''
    throw new Refused(`After this edit the config could still not be parsed${where}. Repair everything in one call.`)
  }
  if (!isRecord(value)) throw new Refused('After this edit the config would hold no settings.')
  return value
}

type Config = Record<string, unknown>

/** Every setting that changed must be one that may. */
function judgeChanges(before: Config, after: Config, known: Config | undefined, yardstick: Yardstick): void {
  const { removed, added }: Changes = changesOf(before, after)
  for (const leaf of added) assertMayBecome(leaf, yardstick)
  const replaced = new Set(added.map((one) => one.path.join('\0')))
  // What was replaced was judged as the value that it became.
  for (const leaf of removed) if (!replaced.has(leaf.path.join('\0'))) assertMayGo(leaf, yardstick)
  const lost = sectionsIn(before).find((name) => !(name in after) && !(known && !(name in known)))
  if (lost !== undefined) throw new Refused(`This edit would throw away the whole section ${lost}.`)
  assertFewLost(removed, added)
}

function assertFewLost(before: readonly Leaf[], after: readonly Leaf[]): void {
  const lost = before.length - after.length
  if (lost > MOST_REMOVED) throw new Refused(`This edit would throw away ${lost} settings. Change only what is broken.`)
}

/** The same words with a mark added or taken away, what protects the gateway is all there, and nothing harmful appears. */
function isSlip(text: string, afterText: string, after: Leaf[], { known, port }: Yardstick): boolean {
  const protectedOnes = after.filter((leaf) => isProtected(leaf.path))
  const names = new Set(protectedOnes.map((leaf) => leaf.path.join('\0')))
  if (
    !differsInMarksOnly(text, afterText) ||
    !protectedOnes.every((leaf) => standsWhole(leaf.value, text)) ||
    !known.every((leaf) => !isProtected(leaf.path) || names.has(leaf.path.join('\0')))
  )
    return false
  const guessed = lenientLeaves(text)
  const there = new Set(guessed.map(placeOf))
  // Nothing else tells then where a setting stood: a brace in the wrong place would take it away from what it protects.
  if (
    known.length === 0 &&
    protectedOnes.some((leaf) => leaf.value && leaf.value !== '{}' && !there.has(placeOf(leaf)))
  )
    return false
  const stood = new Set(guessed.map(nearName))
  for (const leaf of after) if (!isProtected(leaf.path) && !stood.has(nearName(leaf))) assertNoHarm(leaf, port)
  return true
}

/** A leaf by its last name and its value: a missing brace shifts the rest of a guessed path. */
function nearName(leaf: Leaf): string {
  return `${leaf.path.filter((part) => part !== '*' && !/^\d{1,4}$/.test(part)).at(-1)}\0${leaf.value}`
}

function placeOf({ path, value }: Leaf): string {
  return [...path.map((part) => part.replace(/^\d{1,4}$/, '*')), value].join('\0')
}

/** What separates words; a mark is one of these that is no blank. */
const WORD = /[^\s{}[\]:,"']+/g
/** Slips of the keyboard are few. */
const MOST_MARKS = 4

/** True when both texts hold the same words in the same order, and no more than a few marks were added or taken away. */
function differsInMarksOnly(before: string, after: string): boolean {
  if (before.match(WORD)?.join('\0') !== after.match(WORD)?.join('\0')) return false
  const [a, b] = [before, after].map((text) => text.split(WORD).map((gap) => gap.replace(/\s/g, ''))) as [
    string[],
    string[],
  ]
  return a.reduce((sum, gap, place) => sum + marksBetween(gap, b[place]!), 0) <= MOST_MARKS
}

/** How many marks differ between two words. */
function marksBetween(a: string, b: string): number {
  let start = 0
  while (start < a.length && start < b.length && a[start] === b[start]) start++
  let end = 0
  while (end < Math.min(a.length, b.length) - start && a.at(-1 - end) === b.at(-1 - end)) end++
  return a.length + b.length - 2 * (start + end)
}

/** Does the value stand in the text as a whole: between marks or blanks, not as a piece of something longer? */
function standsWhole(value: string, text: string): boolean {
  if (value === '' || value === '{}') return true
  const isEdge = (c: string | undefined) => c === undefined || /[\s{}[\]:,"']/.test(c)
  for (const form of new Set([value, JSON.stringify(value).slice(1, -1)])) {
    for (let at = text.indexOf(form); at >= 0; at = text.indexOf(form, at + 1))
      if (isEdge(text[at - 1]) && isEdge(text[at + form.length])) return true
  }
  return false
}

// --- what is shown

const HIDDEN = '[hidden]'
/** Settings whose text says how the gateway works and nothing of whose it is. */
const SHOWN_PATH =
  /^(?:gateway\.(?:mode|bind|auth\.mode)|logging\.(?:level|consoleLevel|consoleStyle)|models\.mode|models\.providers\.[^.]+\.api|meta\.\w+|update\.channel|(?:agents|messages)(?:\.[^.]+)*\.(?:(?:\w+M|m)odel(?:\.(?:primary|fallbacks\.\d+))?|thinkingDefault))$/
const PLAIN_WORD = /^[\w.:/-]{1,80}$/
/** The name of a setting; one that looks otherwise is a number of somebody's, or an address. */
const PLAIN_NAME = /^[A-Za-z_$][\w$-]{0,40}$/

/** What may be shown of a value: switches, small numbers, and the texts of an allow list. */
export function shownConfig(value: unknown, path: readonly string[] = []): unknown {
  if (Array.isArray(value)) return value.map((item, place) => shownConfig(item, [...path, String(place)]))
  if (isRecord(value))
    return Object.fromEntries(
      Object.entries(value).map(([name, item]) => [
        PLAIN_NAME.test(name) || isModelName(name, path) ? name : HIDDEN,
        shownConfig(item, [...path, name]),
      ]),
    )
  if (value === null || typeof value === 'boolean') return value
  if (path.some((name) => name === 'env' || name === 'headers')) return HIDDEN
  if (typeof value === 'number')
    return path.join('.') === 'gateway.port' || (!isProtected(path) && Math.abs(value) < 1e8) ? value : HIDDEN
  if (typeof value !== 'string') return HIDDEN
  return SHOWN_PATH.test(path.join('.')) && PLAIN_WORD.test(value) ? value : HIDDEN
}

function isModelName(name: string, path: readonly string[]): boolean {
  return path.at(-1) === 'models' && PLAIN_WORD.test(name)
}

const SHOWN_WORDS = new Set(
  'true false null local remote loopback lan auto token password none debug info warn error trace'.split(' '),
)
const TOKEN = /\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|[{}[\]:,"'\s]|[^\s{}[\]:,"']+/g

/** Replaces in a text whatever is neither a mark, a blank, nor a word that is known to be a name. */
function hidden(text: string, names: ReadonlySet<string>, hide: (word: string) => string): string {
  const isShown = (word: string) => /^[{}[\]:,"'\s]$/.test(word) || SHOWN_WORDS.has(word) || names.has(word)
  // An address holds `//`, too; nothing of it is shown either way.
  return text.replace(TOKEN, (word) => (isShown(word) ? word : hide(word)))
}

/**
 * A config that cannot be parsed, so that nothing tells names from values: marks, blanks, and the words that are known
 * to be names. Every other word is hidden, comments too.
 * @param names the names of settings that stood in a config that could be read
 */
export function shownBrokenConfig(text: string, names: ReadonlySet<string>): string {
  return hidden(text, names, (word) => (/^\/[/*]/.test(word) ? word.replace(/[^\n]+/g, '// [hidden]') : HIDDEN))
}

/** A character of Unicode's private use area. */
export const VEIL = '\ue000'

/** The same with this in the place of every hidden character: what is found in it is found in what is shown. */
export function veiledConfig(text: string, names: ReadonlySet<string>): string {
  return hidden(text, names, (word) => word.replace(/[^\n]/g, VEIL))
}
