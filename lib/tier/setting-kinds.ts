/** The kinds of settings: how the text of an environment variable or of `.env` is read, and refused with what was expected. */

export interface Setting<T> {
  name: string
  /** The default as it would stand in `.env`; empty: unset. */
  fallback: string
  unit: string
  meaning: string
  /** Returns the value, or throws what was expected instead. */
  read: (text: string, home: string) => T
}

/** Thrown by `read`; the message is what was expected. */
export class Expected extends Error {}

/** Twenty-three days of seconds: a longer timer overflows in Node and fires at once. */
const MAX_NUMBER = 2_000_000

export function number(name: string, fallback: number, unit: string, meaning: string, min = 0): Setting<number> {
  return {
    name,
    fallback: String(fallback),
    unit,
    meaning,
    read: (text) => {
      const value = Number(text)
      if (!/^\d+(\.\d+)?$/.test(text) || value < min || value > MAX_NUMBER)
        throw new Expected(`${unit}, a number >= ${min} and <= ${MAX_NUMBER}`)
      return value
    },
  }
}

export function wholeNumber(name: string, fallback: number, unit: string, meaning: string, min = 0, max = 1e6) {
  return {
    name,
    fallback: String(fallback),
    unit,
    meaning,
    read: (text: string) => {
      if (!/^\d+$/.test(text) || Number(text) < min || Number(text) > max)
        throw new Expected(`${unit}, a whole number from ${min} to ${max}`)
      return Number(text)
    },
  }
}

export function numberList(name: string, fallback: string, unit: string, meaning: string): Setting<number[]> {
  return {
    name,
    fallback,
    unit,
    meaning,
    read: (text) => {
      const parts = text.split(/[\s,]+/).filter(Boolean)
      if (parts.length === 0 || parts.some((part) => !/^\d+(\.\d+)?$/.test(part)))
        throw new Expected(`${unit}, numbers >= 0 separated by spaces`)
      return parts.map(Number)
    },
  }
}

export function oneOf<const T extends string>(
  name: string,
  choices: readonly T[],
  fallback: T,
  meaning: string,
): Setting<T> {
  return {
    name,
    fallback,
    unit: choices.join(' or '),
    meaning,
    read: (text) => {
      const choice = choices.find((one) => one === text.toLowerCase())
      if (choice === undefined) throw new Expected(choices.join(' or '))
      return choice
    },
  }
}

export function onOff(name: string, fallback: 'on' | 'off', meaning: string): Setting<boolean> {
  return {
    name,
    fallback,
    unit: 'on or off',
    meaning,
    read: (text) => {
      if (!/^(on|off|true|false|1|0|yes|no)$/i.test(text)) throw new Expected('on or off')
      return /^(on|true|1|yes)$/i.test(text)
    },
  }
}

export function url(name: string, fallback: string, meaning: string): Setting<string> {
  return {
    name,
    fallback,
    unit: 'URL',
    meaning,
    read: (text) => {
      if (!URL.canParse(text) || !/^https?:$/.test(new URL(text).protocol))
        throw new Expected('a URL that begins with http:// or https://')
      return text
    },
  }
}

export function path(name: string, fallback: string, meaning: string): Setting<string> {
  return {
    name,
    fallback,
    unit: 'path',
    meaning,
    read: (text, home) => {
      const expanded = text.replace(/^~(?=\/|$)/, home)
      if (!expanded.startsWith('/')) throw new Expected('an absolute path (~ and $HOME are understood)')
      return expanded.length > 1 ? expanded.replace(/\/+$/, '') : expanded
    },
  }
}

/** Several of some names, in an order. */
export function nameList<const T extends string>(
  name: string,
  choices: readonly T[],
  fallback: T,
  meaning: string,
): Setting<T[]> {
  return {
    name,
    fallback,
    unit: `names of ${choices.join(', ')}`,
    meaning,
    read: (text) => {
      const names = text
        .toLowerCase()
        .split(/[\s,]+/)
        .filter(Boolean) as T[]
      if (names.length === 0 || !names.every((one) => choices.includes(one)))
        throw new Expected(`one or more of ${choices.join(', ')}`)
      return [...new Set(names)]
    },
  }
}

export function text(name: string, meaning: string, unit = 'text'): Setting<string> {
  return { name, fallback: '', unit, meaning, read: (value) => value }
}

/** A value that must never leave the machine: redaction knows it by this unit. */
export const SECRET = 'secret'
export const secret = (name: string, meaning: string) => text(name, meaning, SECRET)
export function secretUrl(name: string, meaning: string): Setting<string> {
  return { ...url(name, '', meaning), unit: SECRET }
}
