/** How the demo speaks: a running commentary, in colour at a terminal and plain when piped. */
import { parseLine } from '../../lib/tier/contract.ts'
import type { DiscordMessage } from '../support/webhook-receiver.ts'

const WIDTH = 118
const coloured = process.stdout.isTTY === true && process.stdout.hasColors?.() === true

type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'blue' | 'magenta' | 'cyan'
const CODES: Record<Style, number> = {
  bold: 1,
  dim: 2,
  red: 31,
  green: 32,
  yellow: 33,
  blue: 34,
  magenta: 35,
  cyan: 36,
}

function paint(style: Style, text: string): string {
  return coloured ? `\u001b[${CODES[style]}m${text}\u001b[0m` : text
}

/** Who speaks, as the commentary names the tiers, and in which colour. */
const SPEAKERS: Record<string, [name: string, style: Style]> = {
  watchdog: ['level 1', 'cyan'],
  healthcheck: ['level 2', 'blue'],
  'emergency-recovery': ['level 3', 'magenta'],
  monitor: ['level 4', 'yellow'],
}

let actStartedMs = performance.now()
/** What was said in this act: exact repetitions are left out, the logs have them. */
const said = new Set<string>()

export function title(text: string): void {
  print(`\n${paint('bold', text)}\n${'═'.repeat(text.length)}`)
}

/** Begins an act: its clock starts here. */
export function act(number: number, name: string): void {
  const heading = `Act ${number}: ${name}`
  print(`\n${paint('bold', heading)}\n${'─'.repeat(heading.length)}`)
  actStartedMs = performance.now()
  said.clear()
}

/** What happens, told by the narrator. */
export function narrate(text: string): void {
  for (const line of wrap(text, WIDTH - 2)) print(`  ${line}`)
}

/** What somebody other than a tier does or says. */
export function say(speaker: string, text: string, style: Style = 'dim'): void {
  entry(speaker, text, style, style === 'dim' ? undefined : style)
}

/** One line of a tier's output. First and last lines of a run are left out: the commentary says when a tier runs. */
export function tierSays(line: string): void {
  const parsed = parseLine(line)
  if (!parsed) {
    if (line.trim()) print(paint('dim', `${' '.repeat(20)}${line.trim().slice(0, WIDTH - 20)}`))
    return
  }
  if (/^RUN (started|ended)/.test(parsed.text)) return
  const [name, style] = SPEAKERS[parsed.tier] ?? [parsed.tier, 'dim']
  const tone: Style | undefined = parsed.text.startsWith('RECOVERED')
    ? 'green'
    : parsed.severity === 'ERROR' || parsed.text.startsWith('DOWN') || parsed.text.startsWith('MANUAL')
      ? 'red'
      : parsed.severity === 'WARN'
        ? 'yellow'
        : undefined
  entry(name, parsed.text, style, tone)
}

function entry(speaker: string, text: string, style: Style, tone: Style | undefined): void {
  const key = `${speaker}: ${text}`
  if (said.has(key)) return
  said.add(key)
  const seconds = `+${((performance.now() - actStartedMs) / 1000).toFixed(1)}s`.padStart(7)
  const [first = '', ...rest] = wrap(text, WIDTH - 20)
  print(`${paint('dim', seconds)}  ${paint(style, speaker.padEnd(9))}  ${tone ? paint(tone, first) : first}`)
  for (const line of rest) print(`${' '.repeat(20)}${tone ? paint(tone, line) : line}`)
}

/** A message as Discord would show it. */
export function discord(message: DiscordMessage): void {
  const inner = WIDTH - 12
  const lines = [`${message.username ?? 'Webhook'}  [APP]`, ...wrap(message.content ?? '', inner)]
  for (const embed of message.embeds ?? []) {
    const parts = [
      embed.title,
      embed.description,
      ...(embed.fields ?? []).map((f) => `${f.name}: ${f.value}`),
      embed.footer?.text,
    ]
    for (const part of parts) if (part) lines.push(...wrap(part, inner - 2).map((line) => `▎ ${line}`))
  }
  print(`      ┌${'─'.repeat(inner + 2)}┐`)
  for (const line of lines) print(`      │ ${line.padEnd(inner)} │`)
  print(`      └${'─'.repeat(inner + 2)}┘`)
}

/** A few lines of a file, dimmed. */
export function excerpt(text: string): void {
  for (const line of text.trim().split('\n')) print(paint('dim', `      │ ${line.slice(0, WIDTH - 8)}`))
}

export interface ActResult {
  fault: string
  healedBy: string
  seconds: number
  /** Undefined when the act ended as it should. */
  problem?: string
}

/** The closing table. */
export function table(results: readonly ActResult[]): void {
  const rows = [
    ['fault', 'healed by', 'seconds', ''],
    ...results.map((r) => [
      r.fault,
      r.healedBy,
      r.seconds.toFixed(1),
      r.problem ? `NOT AS IT SHOULD: ${r.problem}` : 'ok',
    ]),
  ]
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]!.length)))
  print('')
  rows.forEach((row, i) => {
    const cells = row
      .slice(0, 3)
      .map((cell, column) => (column === 2 ? cell.padStart(widths[2]!) : cell.padEnd(widths[column]!)))
    const mark = row[3] === 'ok' ? paint('green', 'ok') : paint('red', row[3]!)
    print(`  ${i === 0 ? paint('bold', cells.join('  ')) : `${cells.join('  ')}  ${mark}`}`)
  })
  print('')
}

function wrap(text: string, width: number): string[] {
  return text.split('\n').flatMap((paragraph) => {
    const lines = ['']
    for (const word of paragraph.split(' ')) {
      const last = lines.at(-1)!
      if (last && last.length + 1 + word.length > width) lines.push(word)
      else lines[lines.length - 1] = last ? `${last} ${word}` : word
    }
    return lines.flatMap((line) => line.match(new RegExp(`.{1,${width}}`, 'gu')) ?? [''])
  })
}

let silent = false

/** Says no more: the demo was stopped, and what still fails while it is tidied up is of no interest. */
export function fallSilent(): void {
  silent = true
}

function print(text: string): void {
  if (!silent) process.stdout.write(`${text}\n`)
}
