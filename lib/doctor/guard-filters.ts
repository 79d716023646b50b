/** Programs that carry a small language of their own: sed, awk, jq, find, test and printf, and what in them stays text. */
import { Refused } from './guard.ts'
import { PIDS } from './guard-answers.ts'
import { readArguments } from './guard-arguments.ts'
import { NUMBER } from './guard-numbers.ts'
import type { Command } from './guard-shell.ts'
import type { Value } from './guard-words.ts'

/** What is left of the arguments once the program's own script has been judged. */
export interface Filter {
  files: string[]
  /** Words come out as they came in; a program that only might change them does not count. */
  keepsWords: boolean
}

/** sed that prints and substitutes. Its commands w, W, r, R and e, and -i, open files or run programs. */
export function readSed(command: Command): Filter {
  const { operands, options } = readArguments(command, {
    flags: 'nErsuz',
    valued: 'e',
    long: 'quiet silent regexp-extended',
    // A sed that stops at the first operand takes that for the script and `-e` for a file.
    order: 'first',
  })
  const scripts = options.values('e')
  if (scripts.length === 0) scripts.push(...operands.splice(0, 1))
  if (scripts.length === 0) throw new Refused('unclear', 'sed lacks its script.')
  // Where a class ends, sed and this must agree, or a command would hide in it: [[:alpha:]/] is one class, and [\] is
  // open to BSD's sed. One that held the delimiter is left out.
  const classPart = (d: string) => String.raw`(?:\[:[a-z]+:\]|\[(?![.:=])|\\\\|\\[^\]\\\n${d}]|[^[\]\\\n${d}])`
  const pattern = (d: string) => String.raw`(?:\\.|\[\^?(?!\])${classPart(d)}+\]|[^\\\n[${d}])*`
  const address = String.raw`(?:\d+|\$|/${pattern('/')}/)`
  const substitution = ['/', '|', ',', '#', '@', '%', ':']
    .map((d) => String.raw`s${escaped(d)}${pattern(d)}${escaped(d)}(?:\\.|[^\\\n${d}])*${escaped(d)}[gpIi\d]*`)
    .join('|')
  const scriptOf = (commands: string) => {
    const one = String.raw`\s*(?:${address}(?:,(?:${address}|[+~]\d+))?)?\s*!?\s*(?:${commands})\s*`
    return new RegExp(`^${one}(?:[;\\n]${one})*;?$`)
  }
  const plain = scriptOf(`[pdqQ=]|${substitution}`)
  for (const script of scripts) {
    if (script.length > 500 || !plain.test(script)) {
      throw new Refused(
        'unclear',
        `The sed script ${script} is not one of p, d, q, = and s/…/…/; use grep, head or tail.`,
      )
    }
  }
  const keeping = scriptOf(`[pdqQ=]|${WITHOUT_COLOURS}|${WITHOUT_BLANKS}`)
  return { files: operands, keepsWords: scripts.every((script) => keeping.test(script)) }
}

/** `s/\x1b\[[0-9;]*m//g`, after which a secret is more itself than before. */
const WITHOUT_COLOURS = String.raw`s/\\(?:x1[bB]|033|e)\\\[\[[\d;?-]*\]\*(?:m|\[[a-zA-Z-]*\])//g`

/** `s/^ +//`: the blanks at the beginning or the end of a line. */
const WITHOUT_BLANKS = String.raw`s/(?:\^(?: |\[\[:space:\]\])[*+]?|(?: |\[\[:space:\]\])[*+]?\$)//`

function escaped(delimiter: string): string {
  return delimiter === '|' ? '\\|' : delimiter
}

/** Names through which awk runs programs, opens files, or reads its environment. */
const AWK_DANGERS =
  /\b(?:system|getline|ENVIRON|PROCINFO|SYMTAB|FUNCTAB|ARGV|ARGC|ARGIND|FILENAME|nextfile|close|fflush|function|func|BEGINFILE|ENDFILE)\b|@|\/inet/

export function readAwk(command: Command): Filter {
  const { operands, options } = readArguments(command, {
    valued: 'Fv',
    longValued: 'field-separator assign',
    // awk stops looking for options at its program.
    order: 'first',
  })
  const program = operands.shift()
  if (program === undefined) throw new Refused('unclear', 'awk lacks its program.')
  for (const assigned of options.values('v', '--assign')) {
    if (!/^(?:[a-z]\w*|[OI]?FS|O?RS)=/.test(assigned)) throw new Refused('unclear', `awk -v ${assigned} is unusual.`)
  }
  if (AWK_DANGERS.test(program) || program.replaceAll('||', '').includes('|') || !hasOnlyComparisons(program)) {
    throw new Refused('unclear', 'This awk program could open files or run programs; use grep, cut, sort or jq.')
  }
  // awk takes name=value among its files for an assignment.
  if (operands.some((one) => one.includes('='))) throw new Refused('unclear', 'awk is given an assignment as a file.')
  const keepsWords =
    !options.has('v', '--assign') &&
    options.values('F', '--field-separator').every((one) => /^( |\t|\\t)$/.test(one)) &&
    !/\b(?:FS|OFS|RS|ORS|FPAT|FIELDWIDTHS|IGNORECASE|printf|length)\b/.test(program) &&
    [...program.matchAll(/(\w+)\s*\(/g)].every((m) => /^(if|while|for)$/.test(m[1]!))
  return { files: operands, keepsWords }
}

/**
 * Is every `>` a comparison? In a pattern (outside the braces) and in the parentheses of `if` and `while` there are only
 * expressions; anywhere else it may stand behind a print, whose file it opens, as in `for (print > f;;)`.
 */
function hasOnlyComparisons(program: string): boolean {
  if (!program.includes('>')) return true
  if (/["/\\#\n]/.test(program)) return false
  let braces = 0
  const parentheses: boolean[] = []
  for (const [i, c] of [...program].entries()) {
    if (c === '{') braces++
    else if (c === '}') braces--
    else if (c === '(') parentheses.push(/(?:^|\W)(?:if|while)\s*$/.test(program.slice(0, i)))
    else if (c === ')') parentheses.pop()
    else if (c === '>' && braces > 0 && !parentheses.includes(true)) return false
    if (braces < 0) return false
  }
  return true
}

/** jq reads its files and computes; `env`, `$ENV`, imports and its file options would show more. */
export function readJq(command: Command): Filter & { readsNothing: boolean; showsNames: boolean } {
  const { args } = command
  const rest: Command['args'] = []
  for (let i = 0; i < args.length; i++) {
    if (args[i] === '--') {
      // Everything behind it is a filter or a file.
      rest.push(...args.slice(i))
      break
    }
    const option = args[i]
    if (option === '--arg' || option === '--argjson') {
      if (args.slice(i + 1, i + 3).some((one) => one === null || one === PIDS))
        throw new Refused('unclear', `Put quotes around the value of jq's ${option}.`)
      i += 2
    } else {
      rest.push(args[i])
      // The next argument is its value, whatever that looks like.
      if (args[i] === '--indent') rest.push(args[++i])
    }
  }
  const { operands, options } = readArguments(
    { ...command, args: rest },
    {
      flags: 'rcsSeMCnRja',
      long: 'raw-output compact-output slurp sort-keys exit-status monochrome-output color-output null-input raw-input join-output ascii-output tab stream seq',
      longValued: 'indent',
      order: 'anywhere',
    },
  )
  const filter = operands.shift()
  if (filter === undefined) throw new Refused('unclear', 'jq lacks its filter.')
  // jq allows blanks and comments between $ and its name.
  if (
    /(^|\.\.|[^.\w])env\b|(^|[^.\w])ENV\b|\$[\s#]|\$__prog|\b(?:import|include|modulemeta|input_filename|get_search_list|debug|stderr|halt_error)\b/.test(
      filter,
    )
  ) {
    throw new Refused('secrets', 'This jq filter reads the environment or other files.')
  }
  return {
    files: operands,
    keepsWords: selects(filter),
    readsNothing: options.has('n', '--null-input'),
    // With -R the error would show the text that has no keys.
    showsNames: /^(?:empty|keys|keys\[\]|type|length)$/.test(filter) && !options.has('R', '--raw-input', '--stream'),
  }
}

const JQ_SELECTS = new Set(
  `keys keys_unsorted length select map map_values has type not and or to_entries from_entries any all tostring tonumber sort sort_by
  group_by unique unique_by first last empty test contains startswith endswith del paths recurse if then else elif end null
  true false as values objects arrays strings min max in inside`.split(/\s+/),
)

/** Does a jq filter only choose among the values, and take none apart (`.[0:5]`, `/`, `@base64`, split, sub, explode …)? */
function selects(filter: string): boolean {
  if (/\\\(/.test(filter)) return false
  const code = filter.replace(/"(?:[^"\\]|\\.)*"/g, '""')
  if (/[@%*\\#]/.test(code) || code.replaceAll('//', '').includes('/') || hasSlice(code)) return false
  return [...code.matchAll(/(?<![.$\w])[A-Za-z_]\w*(?!\w|\s*:)/g)].every((m) => JQ_SELECTS.has(m[0]))
}

/** find that only looks. -exec, -ok, -delete, -fprint and -fls do more. */
export function readFind(args: readonly string[]): void {
  const primaries = new Set(
    `-name -iname -path -ipath -wholename -type -maxdepth -mindepth -depth -mtime -mmin -ctime -cmin -atime -amin -newer -newermt
    -anewer -cnewer -size -empty -print -print0 -printf -ls -not -a -and -o -or -prune -user -group -perm -follow -xdev -mount -H -L -P
    -regex -iregex -E -X -readable -writable -executable -quit -true -false -links -inum -nouser -nogroup ! ( )`.split(
      /\s+/,
    ),
  )
  for (const arg of args) {
    if (/^-[A-Za-z]/.test(arg) && !primaries.has(arg)) {
      const rule = /^-(delete|exec|ok)/.test(arg) ? 'delete' : 'unclear'
      throw new Refused(rule, `find ${arg} does more than look.`)
    }
  }
}

/**
 * `test` and `[`. Unquoted text from a command may become several words, among them -v, which evaluates its operand; and
 * zsh evaluates both sides of -eq. So only the plain forms are taken: a value, an operator and a value, value operator value.
 */
export function readTest(command: Command): void {
  const args = command.program === '[' ? command.args.slice(0, -1) : [...command.args]
  if (command.program === '[' && command.args.at(-1) !== ']') throw new Refused('unclear', '[ lacks its ].')
  if (args.includes(null) || args.includes(PIDS))
    throw new Refused('unclear', `Put quotes around what ${command.program} compares.`)
  if (args[0] === '!') args.shift()
  const [first, operator, last] = args
  const isInteger = (value: Value) => value === NUMBER || (typeof value === 'string' && /^-?\d+$/.test(value))
  if (args.length === 1) return
  if (args.length === 2 && typeof first === 'string' && /^-[abcdefghknoprsSuwxzGLNO]$/.test(first)) return
  if (args.length === 3 && typeof operator === 'string') {
    if (/^(=|==|!=|<|>|-nt|-ot|-ef)$/.test(operator)) return
    if (/^-(eq|ne|lt|le|gt|ge)$/.test(operator) && isInteger(first) && isInteger(last)) return
    if (/^-(eq|ne|lt|le|gt|ge)$/.test(operator)) {
      throw new Refused('unclear', 'It compares something that may not be a number; use = or != instead.')
    }
  }
  throw new Refused('unclear', `Write this ${command.program} as separate plain tests.`)
}

/** `.[2:9]`: a colon that is not an object's own. */
function hasSlice(code: string): boolean {
  const open: string[] = []
  for (const c of code) {
    if (c === '[' || c === '(' || c === '{') open.push(c)
    else if (c === ']' || c === ')' || c === '}') open.pop()
    else if (c === ':' && open.at(-1) !== '{') return true
  }
  return false
}

/** printf that prints: a literal format, and numbers only where numbers are asked for (zsh evaluates them). */
export function readPrintf(command: Command): void {
  const [format, ...values] = command.args
  if (typeof format !== 'string' || format.startsWith('-'))
    throw new Refused('unclear', 'Give printf a literal format.')
  const conversions = [...format.replaceAll('%%', '').matchAll(/%[-+ #0]*\d*(?:\.\d+)?(.)/g)].map((m) => m[1])
  if (conversions.some((one) => !/[sbdiufxq]/.test(one ?? '')))
    throw new Refused('unclear', `printf's format ${format} is unusual.`)
  if (/%[^a-zA-Z%]*\./.test(format) && command.hasUnseenArgs) {
    throw new Refused('unclear', 'Print text from commands whole, with %s.')
  }
  const isText = conversions.every((one) => one === 's' || one === 'b' || one === 'q')
  if (!isText && !values.every((one) => typeof one === 'string' && /^(-?\d+(\.\d+)?|[\w .:,-]*)$/.test(one))) {
    throw new Refused('unclear', 'Print numbers from commands with %s.')
  }
}
