/** Compares two texts of a config, one of which cannot be parsed: is the other the same but for a few marks? */

/** What separates words; a mark is one of these that is no blank. */
const MARKS = '{}[]:,"\''
const TOKEN = /[{}[\]:,"']|[^\s{}[\]:,"']+/g

/** Slips of the keyboard are few. */
const MOST_MARKS = 4
/** The part in which two texts differ; beyond it the comparison would take too long. */
const LONGEST_DIFFERENCE = 1500

/** True when both texts hold the same words in the same order, and no more than a few marks were added or taken away. */
export function differsInMarksOnly(before: string, after: string): boolean {
  const a = before.match(TOKEN) ?? []
  const b = after.match(TOKEN) ?? []
  const isWord = (token: string) => !MARKS.includes(token)
  const words = a.filter(isWord)
  if (words.join('\0') !== b.filter(isWord).join('\0')) return false
  const [x, y] = differingPart(a, b)
  if (x.length > LONGEST_DIFFERENCE || y.length > LONGEST_DIFFERENCE) return false
  return x.length + y.length - 2 * longestCommon(x, y) <= MOST_MARKS
}

/**
 * True when the words that both texts hold stand in the same order in both: words were added, taken away or replaced, and
 * none has changed places with another.
 */
export function keepsOrder(before: string, after: string): boolean {
  const [a, b] = [before, after].map((text) => (text.match(TOKEN) ?? []).filter((token) => !MARKS.includes(token)))
  const [x, y] = differingPart(a!, b!)
  if (x.length > LONGEST_DIFFERENCE || y.length > LONGEST_DIFFERENCE) return x.length === 0 || y.length === 0
  const counts = new Map<string, number>()
  for (const word of x) counts.set(word, (counts.get(word) ?? 0) + 1)
  const common = y.filter((word) => {
    const left = counts.get(word) ?? 0
    counts.set(word, left - 1)
    return left > 0
  }).length
  return longestCommon(x, y) === common
}

/** Both texts without what is the same at their beginnings and ends. */
function differingPart(a: readonly string[], b: readonly string[]): [string[], string[]] {
  let start = 0
  while (start < a.length && start < b.length && a[start] === b[start]) start++
  let end = 0
  while (end < a.length - start && end < b.length - start && a.at(-1 - end) === b.at(-1 - end)) end++
  return [a.slice(start, a.length - end), b.slice(start, b.length - end)]
}

/** Length of the longest common subsequence. */
function longestCommon(x: readonly string[], y: readonly string[]): number {
  let row = new Array<number>(y.length + 1).fill(0)
  for (const token of x) {
    const next = [0]
    for (const [j, other] of y.entries()) {
      next.push(token === other ? row[j]! + 1 : Math.max(row[j + 1]!, next[j]!))
    }
    row = next
  }
  return row.at(-1)!
}

/** Does the value stand in the text as a whole: between marks or blanks, not as a piece of something longer? */
export function standsWhole(value: string, text: string): boolean {
  if (value === '' || value === '{}') return true
  const isEdge = (c: string | undefined) => c === undefined || /[\s{}[\]:,"']/.test(c)
  for (const form of new Set([value, JSON.stringify(value).slice(1, -1)])) {
    for (let at = text.indexOf(form); at >= 0; at = text.indexOf(form, at + 1)) {
      if (isEdge(text[at - 1]) && isEdge(text[at + form.length])) return true
    }
  }
  return false
}
