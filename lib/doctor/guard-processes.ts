/** Lists of processes, ports and open files: ps, lsof, ss, netstat and top, so that they only list, once, from this machine. */
import { Refused, type RuleId } from './guard.ts'
import { PIDS } from './guard-answers.ts'
import { literals, readArguments } from './guard-arguments.ts'
import { NUMBER } from './guard-numbers.ts'
import type { Command } from './guard-shell.ts'

const COLUMNS =
  `pid ppid pgid pgrp sid sess user uid ruser euser group gid etime etimes time cputime pcpu %cpu pmem %mem rss rssize vsz
  vsize sz size stat state s tty tt tname ni nice pri psr lstart start start_time stime bsdstart comm command cmd args ucmd
  ucomm wchan nlwp class cls f c`.split(/\s+/)
/** `pid=,args:200=PROGRAM`: columns that every ps knows, with a width or a heading. */
const COLUMN = `(?:${COLUMNS.join('|')})(?::\\d+)?(?:=\\w*)?`
const PLAIN_FORMAT = new RegExp(`^${COLUMN}(?:,${COLUMN})*$`)

/** Letters behind which both of ps's syntaxes take a value. */
const VALUED = 'oOpUtkq'
/** Letters that go together with -e in any combination (tried out with procps 4.0.2). */
const SURE_WITH_E = 'AadfFljwcL'

/**
 * ps shows environments with the BSD option e (`ps eww`), on macOS with -E. And procps reads a whole line that it cannot
 * read with dashes once more as BSD options: `-axe`, or `-u e` where no such user is. So an e that might be read as an
 * option is refused wherever the line does not surely hold in the first reading.
 */
export function ps(command: Command): RuleId {
  const { args } = command
  const unusual = (arg: string) => new Refused('unclear', `ps ${arg} is not among its usual options.`)
  let listsAll = false
  let isSure = true
  let isName = false
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]
    if (typeof arg !== 'string')
      throw new Refused('unclear', 'An argument of ps is only known when it runs; write it out.')
    const wasName: boolean = isName
    isName = false
    if (/^[\d,]+$/.test(arg)) continue
    if (arg.startsWith('--')) {
      const [, name, attached] = /^--([a-z-]+)(?:=(.*))?$/.exec(arg) ?? []
      if (/^(forest|no-headers?|headers|version)$/.test(name ?? '') && attached === undefined) continue
      if (name !== 'sort' && name !== 'pid' && name !== 'ppid' && name !== 'cols' && name !== 'width')
        throw unusual(arg)
      const value = attached ?? args[++i]
      if (typeof value !== 'string' || !/^[\w%,+-]+$/.test(value)) throw unusual(arg)
      continue
    }
    const isDashed = arg.startsWith('-')
    const letters = isDashed ? arg.slice(1) : arg
    if (!(wasName ? /^[\w.,:@+-]+$/ : /^[A-Za-z]/).test(letters)) throw unusual(arg)
    for (let at = 0; at < letters.length; at++) {
      const letter = letters[at]!
      if (VALUED.includes(letter)) {
        if (wasName) break
        const value = at + 1 < letters.length ? letters.slice(at + 1) : args[++i]
        isSure &&= isDashed && (letter === 'o' ? typeof value === 'string' && PLAIN_FORMAT.test(value) : letter === 'p')
        assertValue(letter, value)
        break
      }
      if (letter === 'E' || (letter === 'e' && !isDashed)) throw environment()
      if (letter === 'e') listsAll = true
      else isSure &&= isDashed && SURE_WITH_E.includes(letter)
      isName = isDashed && at + 1 === letters.length && 'ugGCs'.includes(letter)
    }
  }
  if (listsAll && !isSure) throw environment()
  return 'processes'
}

function environment(): Refused {
  return new Refused('secrets', 'ps would show environments; use `ps -axo pid,ppid,etime,command`.')
}

function assertValue(letter: string, value: Command['args'][number] | undefined): void {
  // Both readings of ps refuse a list of pids that is none; one word cannot become an option there.
  if (letter === 'p' && (value === undefined || value === NUMBER || value === PIDS)) return
  if (typeof value !== 'string') throw new Refused('unclear', `Put quotes around what stands behind ps -${letter}.`)
  if (/env/i.test(value)) throw environment()
  if (letter === 'p' ? !/^[\d, ]*$/.test(value) : !/^[\w%.:/][\w%=,.:/+-]*$/.test(value)) {
    throw new Refused('unclear', `ps -${letter} ${value} is not among its usual options.`)
  }
}

/** Host parts of an address: this machine or written as numbers, because a name would be asked for, and carry text, all over the world. */
const HOST = String.raw`(?:localhost|(?:\d{1,3}\.){3}\d{1,3}|\[[\da-fA-F:.]+\])`

/** lsof as a list. +r and -r never end, -D writes, -k, -m, -A and +m read files, -x and +d search folders. */
export function lsof(command: Command): RuleId {
  for (const arg of literals(command)) {
    const isOption = /^-[abhlnNOPRtUvVwCE]*(?:[cdgiopsuFST].*)?$/.test(arg) || /^\+[cL]\d*$/.test(arg)
    if (/^[-+]/.test(arg) && !isOption) throw new Refused('unclear', `lsof ${arg} is not among its usual options.`)
    if (!/^[\w:.,/@^=*~ [\]+-]+$/.test(arg)) throw new Refused('unclear', `lsof ${arg} is not among its usual options.`)
    if (arg.includes('@') && !new RegExp(`^(?:-\\w*i)?[46]?\\w*@${HOST}(?::[\\w,-]+)?$`).test(arg)) throw named(arg)
  }
  return 'processes'
}

function named(arg: string): Refused {
  return new Refused('network', `${arg}: give hosts as IP addresses, a name would be asked for.`)
}

const SS_WORDS = new Set(
  `state exclude connected synchronized bucket big all established syn-sent syn-recv fin-wait-1 fin-wait-2 time-wait closed
  close-wait last-ack listening listen closing src dst sport dport eq ne neq lt gt le ge leq geq and or not`.split(
    /\s+/,
  ),
)
const SS_ADDRESS = new RegExp(
  `^(?:\\*|${HOST}|[\\da-fA-F]*:[\\da-fA-F]*:[\\da-fA-F:]*)?(?:/\\d+)?(?::(?:\\*|[\\w-]+))?$`,
)

/** ss as a list. -K closes foreign connections, -D and -F use files; its filter may not name hosts. */
export function ss(command: Command): RuleId {
  const { operands } = readArguments(command, { flags: 'tulnpaxeiomsrHOW46', order: 'first' })
  for (const word of operands.flatMap((one) => one.split(/\s+/))) {
    if (SS_WORDS.has(word) || /^[=!<>&|()]+$/.test(word) || /^\d+$/.test(word)) continue
    if (!SS_ADDRESS.test(word)) throw named(word)
  }
  return 'processes'
}

/** netstat as a list. -p names the programs on Linux and a protocol on macOS. */
export function netstat(command: Command): RuleId {
  const { operands } = readArguments(command, {
    flags: 'anltupevrRisWbLm46',
    valued: 'f',
    long: 'tcp udp listening numeric program programs all',
  })
  if (operands.some((one) => !/^(tcp|udp|icmp|ip)[46]?$/.test(one))) {
    throw new Refused('unclear', `netstat ${operands.join(' ')} is not among its usual options.`)
  }
  return 'processes'
}

export function top(command: Command): RuleId {
  const args = literals(command).join(' ')
  const isOnce = /^(-[bcH1]+ ?|-n ?\d+ ?|-l ?\d+ ?|-o ?[+%\w]+ ?|-p(id)? ?\d+ ?|-stats [\w,]+ ?|-bn ?\d+ ?)+$/.test(
    args,
  )
  if (!isOnce || !/-(b?n|l) ?\d+/.test(args))
    throw new Refused('unclear', 'Use `top -b -n 1` (Linux) or `top -l 1` (macOS).')
  return 'processes'
}
