/** Commands whose answer is known, or of which it is known what it can be: `$(id -u)`, `$(date +%F)`, `$(lsof -t …)`. */
import { statSync } from 'node:fs'
import type { World } from './guard-context.ts'
import { NUMBER } from './guard-numbers.ts'
import { matches } from './guard-patterns.ts'

/** Pids, one a line: from none to many numbers. */
export const PIDS = Symbol('pids')

/** What some small questions answer, as far as that is known without asking them. */
export function answersOf(text: string, world: World): readonly (string | undefined | typeof NUMBER | typeof PIDS)[] {
  const inner = /^\$\((.*)\)$/s.exec(text)?.[1] ?? /^`(.*)`$/s.exec(text)?.[1] ?? ''
  if (inner === 'id -u') return [String(world.uid)]
  if (inner === 'date +%s') return [NUMBER]
  const format = /^date (?:-u )?\+(['"]?)(%F|%Y-%m-%d|%Y%m%d)\1$/.exec(inner)?.[2]
  if (format !== undefined) return daysAround(format === '%Y%m%d' ? '' : '-')
  const pattern = NEWEST.exec(inner)?.[1]
  if (pattern !== undefined) return newestOf(pattern, world)
  if (PID_LISTS.some((list) => list.test(inner))) return [PIDS]
  return [undefined]
}

/** Commands that print pids and nothing else. */
const PID_LISTS = [
  String.raw`pgrep(?: -[fxnou]+)* (?:[\w./][\w./-]*|'[\w./][\w./ -]*'|"[\w./][\w./ -]*")`,
  String.raw`lsof(?: -[nPa]+)* -[nPa]*t(?:i[\w:@.]*)?(?: -[nPa]+| -i[\w:@.]*| -s[A-Z:]*| [\w:@.]+)*`,
].map((command) => new RegExp(String.raw`^${command}(?: 2>/dev/null)?(?: \| (?:head|tail) (?:-n ?|-)1)?$`))

/** `ls -t <pattern> | head -1`: one of the files. */
const NEWEST = /^ls -[1rt]*t[1rt]* ([~/][\w./*-]*)(?: 2>\/dev\/null)? \| head (?:-n ?|-)1$/

/** Which of them is the newest may change, so any of them may be meant. A folder among them would be listed itself. */
function newestOf(pattern: string, world: World): (string | undefined)[] {
  const files = matches(pattern, ['/'], world).filter((path) => statSync(path, { throwIfNoEntry: false }))
  const arePlain = files.every((path) => statSync(path).isFile() && /^[\w./-]+$/.test(path))
  return arePlain && files.length > 0 && files.length <= MOST_FILES ? files : [undefined]
}

const MOST_FILES = 32

/** Today, and the days beside it: midnight may pass before it runs, and the shell's time zone may be another. */
function daysAround(separator: string): string[] {
  return [-1, 0, 1].map((days) => {
    const at = new Date()
    at.setDate(at.getDate() + days)
    return [at.getFullYear(), at.getMonth() + 1, at.getDate()].map((n) => String(n).padStart(2, '0')).join(separator)
  })
}
