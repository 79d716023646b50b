/** Patterns of file names: which files `*`, `?` and brackets may mean. */
import { readdirSync } from 'node:fs'
import { Refused } from './guard.ts'
import type { World } from './guard-context.ts'

const MOST_MATCHES = 200

export function withHome(value: string, world: World): string {
  return value.replace(/^~(?=\/|$)/, world.home)
}

/**
 * The files that a pattern matches, and more rather than fewer: hidden ones too (an option of the user's shell may
 * include them), and anything at all for a bracket.
 */
export function matches(pattern: string, cwds: readonly string[], world: World): string[] {
  const found: string[] = []
  const parts = withHome(pattern, world).split('/').filter(Boolean)
  const isAbsolute = withHome(pattern, world).startsWith('/')
  for (const cwd of isAbsolute ? ['/'] : cwds) {
    let paths = [isAbsolute ? '/' : '']
    for (const part of parts) {
      paths = paths.flatMap((path) =>
        namesFor(part, isAbsolute ? path : `${cwd}/${path}`).map((name) => under(path, name)),
      )
      if (paths.length > MOST_MATCHES) throw new Refused('unclear', `${pattern} matches too many files.`)
    }
    found.push(...paths)
  }
  // Without a match the shell passes the pattern on (zsh refuses); a bracket may match less than is assumed here.
  if (found.length === 0 || pattern.includes('[')) found.push(pattern)
  return [...new Set(found)]
}

function under(path: string, name: string): string {
  return path === '' || path.endsWith('/') ? path + name : `${path}/${name}`
}

function namesFor(part: string, folder: string): string[] {
  if (!/[*?[]/.test(part)) return [part]
  const bracket = part.indexOf('[')
  const fixed = [...(bracket < 0 ? part : part.slice(0, bracket))]
  const source = fixed.map((c) => (c === '*' ? '.*' : c === '?' ? '.' : c.replace(/\W/, '\\$&'))).join('')
  const regex = new RegExp(`^${source}${bracket < 0 ? '' : '.*'}$`, 'is')
  return namesIn(folder).filter((name) => regex.test(name))
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch {
    return []
  }
}
