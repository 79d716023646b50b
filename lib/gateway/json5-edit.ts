/** Edits one setting in the text of a JSON5 file, so that comments and the form of everything else stay. */
import { isDeepStrictEqual } from 'node:util'
import JSON5 from 'json5'

/** Where a member of an object stands in the text. */
interface Span {
  /** Its name's first character. */
  start: number
  valueStart: number
  /** Behind its value. */
  end: number
  /** The commas that part it from its neighbours. */
  commaBefore?: number
  commaBehind?: number
}

/**
 * The text with one setting set.
 * @param wanted what the whole must parse to; where an edit in place does not come to that, it is written anew
 */
export function withSetting(text: string, names: readonly string[], value: unknown, wanted: unknown): string {
  const written = JSON.stringify(value)
  const found = find(text, names)
  if (found) return checked(`${text.slice(0, found.valueStart)}${written}${text.slice(found.end)}`, wanted)
  // The deepest object on the way that is there gets a new member.
  for (let depth = names.length - 1; depth >= 0; depth--) {
    const parent = depth === 0 ? rootOf(text) : find(text, names.slice(0, depth))
    if (parent === undefined || text[parent.valueStart] !== '{') continue
    const member = names.slice(depth + 1).reduceRight((inner, name) => `{ ${JSON.stringify(name)}: ${inner} }`, written)
    const isEmpty = /^\s*}/.test(text.slice(parent.valueStart + 1))
    const added = ` ${JSON.stringify(names[depth])}: ${member}${isEmpty ? ' ' : ','}`
    return checked(`${text.slice(0, parent.valueStart + 1)}${added}${text.slice(parent.valueStart + 1)}`, wanted)
  }
  return checked('', wanted)
}

/** The text without one setting. */
export function withoutSetting(text: string, names: readonly string[], wanted: unknown): string {
  const found = find(text, names)
  if (!found) return checked(text, wanted)
  const { start, end, commaBefore, commaBehind } = found
  // What stands between it and the comma (a comment) is not ours.
  const rest = commaBehind === undefined ? text.slice(end) : text.slice(end, commaBehind) + text.slice(commaBehind + 1)
  const comma = commaBehind === undefined ? commaBefore : undefined
  const head = comma === undefined ? text.slice(0, start) : text.slice(0, comma) + text.slice(comma + 1, start)
  const isLineOfItsOwn = /\n[ \t]*$/.test(head) && /^[ \t]*(?:\r?\n|$)/.test(rest)
  const joined = isLineOfItsOwn ? head.replace(/\r?\n[ \t]*$/, '') + rest.replace(/^[ \t]*/, '') : head + rest
  return checked(joined, wanted)
}

function checked(text: string, wanted: unknown): string {
  try {
    if (isDeepStrictEqual(JSON5.parse(text), wanted)) return text
  } catch {
    // A form that this does not understand.
  }
  return `${JSON.stringify(wanted, null, 2)}\n`
}

const TOKEN = /\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:\\[\s\S]|[^"\\])*"|'(?:\\[\s\S]|[^'\\])*'|[{}[\],:]|[^\s{}[\],:"'/]+/g

function rootOf(text: string): Span | undefined {
  const first = [...text.matchAll(TOKEN)].find(([word]) => !isComment(word))
  return first && { start: first.index, valueStart: first.index, end: text.length }
}

/** The member at a path; the last one of that name, as a parser takes it. */
function find(text: string, names: readonly string[]): Span | undefined {
  let found: Span | undefined
  interface Level {
    path: string[]
    isList: boolean
    place: number
    comma?: number
    member: { name: string; start: number } | undefined
  }
  const stack: Level[] = []
  const wanted = names.join('\0')
  let foundIn: Level | undefined
  const take = (span: Span, level: Level | undefined) => {
    found = { ...span, ...(level?.comma === undefined ? {} : { commaBefore: level.comma }) }
    foundIn = level
  }
  let opened: { path: string; start: number; valueStart: number }[] = []
  for (const match of text.matchAll(TOKEN)) {
    const [word] = match
    const top = stack.at(-1)
    const end = match.index + word.length
    if (isComment(word) || word === ':') continue
    if (word === ',') {
      if (found && foundIn === top) found.commaBehind ??= match.index
      if (top) Object.assign(top, { place: top.place + 1, comma: match.index })
      continue
    }
    if (word === '}' || word === ']') {
      const path = stack.pop()?.path.join('\0')
      const begun = opened.at(-1)
      if (begun && begun.path === path) {
        if (path === wanted) take({ start: begun.start, valueStart: begun.valueStart, end }, stack.at(-1))
        opened = opened.slice(0, -1)
      }
      const above = stack.at(-1)
      if (above) above.member = undefined
      continue
    }
    if (top && !top.isList && top.member === undefined) {
      top.member = { name: nameOf(word), start: match.index }
      continue
    }
    const name = top === undefined ? undefined : top.isList ? String(top.place) : top.member!.name
    const path = top === undefined ? [] : [...top.path, name!]
    const start = top?.member?.start ?? match.index
    if (word === '{' || word === '[') {
      stack.push({ path, isList: word === '[', place: 0, member: undefined })
      opened.push({ path: path.join('\0'), start, valueStart: match.index })
      continue
    }
    if (path.join('\0') === wanted) take({ start, valueStart: match.index, end }, top)
    if (top) top.member = undefined
  }
  return found
}

function isComment(word: string): boolean {
  return word.startsWith('//') || word.startsWith('/*')
}

function nameOf(word: string): string {
  return /^["']/.test(word) ? String(JSON5.parse(word)) : word
}
