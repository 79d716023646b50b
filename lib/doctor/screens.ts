/**
 * What Claude Code shows, read off its terminal. Pure. Recorded screens of 2.1.330, 2.0.77 and 1.0.128 are the test
 * data (test/fixtures/screens).
 *
 * Options are found by their words and by the mark of the highlighted one, never by their place: the trust question of
 * 2.1.330 has "No, exit" first and highlighted, older releases have "Yes, proceed" there.
 */

export interface Option {
  label: string
  highlighted: boolean
}

/** Why Claude Code cannot work, as far as its screen tells. */
export type Trouble = 'login' | 'quota' | 'service'

export type Screen =
  /** "Do you trust this folder?" */
  | { kind: 'trust'; options: Option[] }
  /** "Do you want to use this API key?" */
  | { kind: 'api-key'; options: Option[] }
  /** Its settings file was refused; going on would mean going on without the guard. */
  | { kind: 'settings-refused'; detail: string }
  /** It asks whether a tool may run: the guard did not answer for it. */
  | { kind: 'permission'; detail: string }
  /** It was never set up on this account. */
  | { kind: 'onboarding' }
  | { kind: 'trouble'; trouble: Trouble; detail: string }
  /** A turn is going on. `retrying`: the service does not answer, and it tries again. */
  | { kind: 'working'; retrying?: string }
  /** The input box is there and no turn is going on. `trouble`: how the last turn failed. */
  | { kind: 'ready'; input: string; trouble?: { trouble: Trouble; detail: string } }
  | { kind: 'unknown' }

/** Reads one screen, as `tmux capture-pane -p` gives it. */
export function readScreen(text: string): Screen {
  const lines = text.split('\n').map((line) => line.replace(/[\u00a0\s]+$/, ''))
  const box = findInputBox(lines)
  if (box) return readWorkScreen(lines, box)
  return readDialog(lines)
}

interface InputBox {
  /** Index of the line above it, of the line below it, and what stands in it. */
  top: number
  bottom: number
  input: string
}

const RULE = /^[\s│]*[─╭╰]─{10,}/
const PROMPT = /^[│\s]*[❯>](?:[\u00a0\s]|$)/

/** The input box: a `❯` or `>` between the last two ruled lines. */
function findInputBox(lines: readonly string[]): InputBox | undefined {
  const rules = lines.flatMap((line, i) => (RULE.test(line) ? [i] : []))
  const [top, bottom] = [rules.at(-2), rules.at(-1)]
  if (top === undefined || bottom === undefined || !PROMPT.test(lines[top + 1] ?? '')) return undefined
  const content = lines.slice(top + 1, bottom).map((line) => line.replace(/^[│\s]*[❯>]?|[│\s]*$/g, '').trim())
  return { top, bottom, input: content.join('\n').trim() }
}

const WORKING = /\besc to interrupt\b/

function readWorkScreen(lines: readonly string[], box: InputBox): Screen {
  const above = lines.slice(0, box.top).filter((line) => line.trim() !== '')
  const footer = lines.slice(box.bottom + 1)
  // In front of it stands the spinner's sign; a log that the doctor prints has other signs there.
  const spinner = above.slice(-4).find((line) => /^[^\s\w│⎿●❯>] ?\S/.test(line) && WORKING.test(line))
  if (spinner !== undefined || footer.some((line) => WORKING.test(line))) {
    const retrying = above
      .slice(-4)
      .find((line) => /\bretrying in \d+/i.test(line) || /\(attempt \d+\/\d+\)/.test(line))
    if (retrying === undefined) return { kind: 'working' }
    const reason = above.slice(-4).find((line) => /^\s*[⎿✻*·✢✳✶✽]/.test(line) && !/esc to interrupt/.test(line))
    return { kind: 'working', retrying: (reason ?? retrying).replace(/^\W+/, '') }
  }
  const limit = footer.find((line) => /usage limit reached/i.test(line))
  if (limit) return { kind: 'trouble', trouble: 'quota', detail: limit.replace(/^\W+/, '') }
  const failure = lastFailure(lines.slice(0, box.top))
  return failure ? { kind: 'ready', input: box.input, trouble: failure } : { kind: 'ready', input: box.input }
}

/** Below the conversation, but no part of it. */
const META =
  /^\s*(?:✻ \S+ for |tmux |[◐◯●○◓◑◒] \w+ · \/|\w+ \[.*\] completed|◯ |✔ |Opening your options)|^\s{40,}\S|^● Usage limit reached|^\s*\/upgrade /

/**
 * How the last turn failed, or undefined when it did not. A failure stands alone behind the prompt (`⎿ …`) or as a
 * paragraph that begins with `API Error`. What a tool printed stands under the tool's name, and what the doctor says
 * begins with `●`: neither counts, whatever words are in it.
 */
function lastFailure(above: readonly string[]): { trouble: Trouble; detail: string } | undefined {
  const lines = above.filter((line) => !META.test(line))
  while (lines.length > 0 && lines.at(-1)!.trim() === '') lines.pop()
  let start = lines.length
  while (start > 0 && lines[start - 1]!.trim() !== '') start--
  const [first = '', second = ''] = lines.slice(start)
  const candidate = PROMPT.test(first) ? second : first
  const m = /^\s*(?:⎿\s+|● (?=API Error|Please run \/login|.{0,80} · API Error))(.*)$/.exec(candidate)
  if (!m) return undefined
  const detail = m[1]!.trim()
  const trouble = troubleOf(detail)
  return trouble ? { trouble, detail } : undefined
}

/** What kind of trouble a message of Claude Code's is about. */
export function troubleOf(message: string): Trouble | undefined {
  if (/not logged in|run \/login|invalid api key|invalid x-api-key|oauth|authenticat|API Error: 40[13]/i.test(message))
    return 'login'
  if (/\blimit\b|credit balance|usage credits|extra usage|\(429\)|\b429\b/i.test(message)) return 'quota'
  if (/API Error|unable to connect|connection|ECONN|ENOTFOUND|ETIMEDOUT|overloaded|fetch failed/i.test(message))
    return 'service'
  return undefined
}

/** Screens without an input box: questions, sign-in, setup. The lowest one counts; older ones stay above it. */
function readDialog(lines: readonly string[]): Screen {
  const options = findOptions(lines)
  const end = options?.at ?? lines.length
  const question = lines.slice(Math.max(0, end - 25), end).join('\n')
  const whole = lines.slice(-45).join('\n')
  const labels = options?.options.map((option) => option.label).join('\n') ?? ''

  if (options) {
    if (/what do you want to do\?/i.test(question) && /limit to reset|upgrade your plan/i.test(labels))
      return { kind: 'trouble', trouble: 'quota', detail: limitLine(lines) }
    if (/settings error|files with errors are skipped/i.test(question))
      return { kind: 'settings-refused', detail: settingsDetail(question) }
    if (/select login method/i.test(question))
      return { kind: 'trouble', trouble: 'login', detail: 'it asks for a login method' }
    if (/do you want to use this api key/i.test(lastParagraphs(question)))
      return { kind: 'api-key', options: options.options }
    if (/trust/i.test(question) && /(?:yes|trust)/i.test(labels)) return { kind: 'trust', options: options.options }
    if (/text style that looks best|let's get started/i.test(question)) return { kind: 'onboarding' }
    if (/do you want to|permission|proceed\?/i.test(question))
      return {
        kind: 'permission',
        detail:
          lastParagraphs(question)
            .split('\n')
            .find((line) => line.trim())
            ?.trim() ?? '',
      }
  }
  if (/paste code here if prompted|browser didn't open/i.test(whole))
    return { kind: 'trouble', trouble: 'login', detail: 'it waits for a login in the browser' }
  if (/unable to connect to anthropic services/i.test(whole)) {
    const why = lines.find((line) => /failed to connect to/i.test(line))?.trim()
    return { kind: 'trouble', trouble: 'service', detail: why ?? 'unable to connect to Anthropic services' }
  }
  return { kind: 'unknown' }
}

/** The last block of options: the line with the mark and its neighbours that stand in the same column. */
function findOptions(lines: readonly string[]): { at: number; options: Option[] } | undefined {
  const marked = lines.findLastIndex((line) => /^[│\s]*❯\s+\S/.test(line))
  if (marked === -1) return undefined
  const column = lines[marked]!.indexOf('❯') + 2
  const isOption = (line: string | undefined) =>
    line !== undefined && /^[│\s]*$/.test(line.slice(0, column)) && /^\S/.test(line.slice(column).replace('│', ''))
  const isContinued = (line: string | undefined) =>
    line !== undefined && /^[│\s]*$/.test(line.slice(0, column + 1)) && line.replace(/[│\s]/g, '') !== ''
  let first = marked
  while (isOption(lines[first - 1]) || isContinued(lines[first - 1])) first--
  let last = marked
  while (isOption(lines[last + 1]) || isContinued(lines[last + 1])) last++
  const options: Option[] = []
  for (let i = first; i <= last; i++) {
    const line = lines[i]!
    if (i !== marked && !isOption(line)) continue
    const label = line
      .slice(column)
      .replace(/[│✔\s]+$/, '')
      .replace(/^\d+\.\s+/, '')
      .trim()
    if (label) options.push({ label, highlighted: i === marked })
  }
  return { at: first, options }
}

/** The text right above the options; a dialog that was answered earlier may still stand further up. */
function lastParagraphs(question: string): string {
  const cleaned = question.replace(/[│╭╮╰╯]|─{3,}/g, ' ')
  const paragraphs = cleaned.split(/\n\s*\n/).filter((paragraph) => paragraph.trim())
  return paragraphs.slice(-2).join('\n')
}

function settingsDetail(question: string): string {
  const from = question.search(/settings error/i)
  return question
    .slice(Math.max(0, from))
    .split('\n')
    .map((line) => line.replace(/[│└├─╭╮╰╯]/g, ' ').trim())
    .filter((line) => line && !/settings error|files with errors/i.test(line))
    .join(' ')
}

function limitLine(lines: readonly string[]): string {
  const line = lines.findLast((one) => /hit your|limit reached/i.test(one))
  return line?.replace(/^\W+/, '') ?? 'usage limit reached'
}

/**
 * The option that says what is wanted, by its words; undefined when none does.
 * @param want what its label must say
 * @param not words that rule it out
 */
export function findOption(options: readonly Option[], want: RegExp, not = /^no\b/i): number | undefined {
  const index = options.findIndex(({ label }) => want.test(label) && !not.test(label))
  return index === -1 ? undefined : index
}

/** How many times Down (positive) or Up (negative) leads from the highlighted option to the given one. */
export function stepsTo(options: readonly Option[], index: number): number {
  return index - options.findIndex((option) => option.highlighted)
}
