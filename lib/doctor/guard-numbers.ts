/** Whole numbers that only running a script would tell: what its loops count. */
import type { SyntaxNode } from 'unbash'
import { Refused } from './guard.ts'

export type Word = Extract<SyntaxNode, { type: 'Word' }>

/** A whole number that only running it would tell. */
export const NUMBER = Symbol('number')

/** What a variable is given: a word, nothing, or some number. */
export type Given = Word | 'empty' | 'number'

/** Of more numbers in a loop none is looked at by itself. */
const MOST_NUMBERS = 32

/** `$((n+1))`, `$(($n+1))`: plain arithmetic, in which names stand for whole numbers. */
const ARITHMETIC = /^\$\(\(((?:[a-z\d_\s+*/%()<>=&|!-]|\$(?=[a-z_]))+)\)\)$/i

/**
 * The variables that hold nothing but whole numbers: every value is written out in digits or computed from such variables.
 * Names in arithmetic are evaluated once more, and `a[$(…)]` in a value would run.
 */
export function countersOf(given: ReadonlyMap<string, readonly Given[]>): Set<string> {
  const isComputed = (word: Given) => typeof word !== 'string' && word.parts?.length === 1 && ARITHMETIC.test(word.text)
  const isNumber = (word: Given) => (typeof word === 'string' ? word === 'number' : /^\d{1,9}$/.test(word.text))
  const counters = new Set([...given].filter(([, words]) => words.some(isComputed)).map(([name]) => name))
  const numbers = new Set([...given.keys()])
  // Whatever depends on something else than numbers is taken out until nothing changes.
  for (let size = -1; size !== numbers.size; ) {
    size = numbers.size
    for (const name of numbers) {
      const isFine = given
        .get(name)!
        .every((word) => isNumber(word) || (isComputed(word) && usesOnly(word as Word, numbers)))
      if (!isFine) numbers.delete(name)
    }
  }
  return new Set([...counters].filter((name) => numbers.has(name)))
}

function usesOnly(word: Word, numbers: ReadonlySet<string>): boolean {
  const expression = ARITHMETIC.exec(word.text)?.[1] ?? ''
  // An assignment inside (n=…, n+=…) is left to simpler spellings.
  if (/(^|[^=<>!])=(?!=)/.test(expression)) return false
  return (expression.match(/[a-z_]\w*/gi) ?? []).every((name) => numbers.has(name))
}

/** `{1..10}` in a loop's list. A shell without braces (dash) takes it for one word, in place of the numbers. */
export function numbersOf(word: Word): Given[] | undefined {
  const [, first, last] = /^\{(\d{1,3})\.\.(\d{1,3})\}$/.exec(word.text) ?? []
  if (first === undefined || last === undefined) return undefined
  const count = Number(last) - Number(first) + 1
  if (String(Number(first)) !== first || count < 1) return undefined
  if (count > MOST_NUMBERS) return ['number']
  return Array.from({ length: count }, (_, i) => literalWord(String(Number(first) + i)))
}

function literalWord(text: string): Word {
  return { type: 'Word', text, value: text, pos: 0, end: 0 }
}

/** Is it a loop's list of numbers? */
export function isRange(word: Word): boolean {
  return numbersOf(word) !== undefined
}

/** Refuses arithmetic with anything but numbers and variables that hold nothing else. */
export function assertComputable(text: string, variables: ReadonlyMap<string, readonly unknown[]>): void {
  const names = ARITHMETIC.exec(text)?.[1]?.match(/[a-z_]\w*/gi) ?? []
  const isNumber = (value: unknown) => value === NUMBER || (typeof value === 'string' && /^\d{1,9}$/.test(value))
  const isPlain = ARITHMETIC.test(text) && names.every((name) => variables.get(name)?.every(isNumber) ?? false)
  if (!isPlain || (names.length > 0 && /(^|[^=<>!])=(?!=)/.test(text)))
    throw new Refused('unclear', `It computes ${text}.`)
}
