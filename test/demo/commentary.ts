/** How the demo speaks: a running commentary, in colour at a terminal and plain when piped. */
import { chalk } from 'zx'
import { parseLine } from '../../lib/tier/contract.ts'
import type { DiscordMessage } from '../support/webhook-receiver.ts'

const WIDTH = Math.min(process.stdout.columns || 118, 118)
const INDENT = ' '.repeat(20)

type Colour = 'reset' | 'dim' | 'red' | 'green' | 'yellow' | 'blue' | 'magenta' | 'cyan'

/** What the commentary calls the tiers. */
const SPEAKERS: Record<string, [name: string, colour: Colour]> = {
  watchdog: ['level 1', 'cyan'],
  healthcheck: ['level 2', 'blue'],
  'emergency-recovery': ['level 3', 'magenta'],
  monitor: ['level 4', 'yellow'],
}

export interface ActResult {
  fault: string
  healedBy: string
  seconds: number
  /** Undefined when the act ended as it should. */
  problem?: string
}

let actStartedMs = performance.now()
let isSilent = false
/** What was said in this act: exact repetitions are left out, the logs have them. */
const said = new Set<string>()

/** From now on nothing is printed: the demo was stopped, or its reader is gone. */
export function fallSilent(): void {
  isSilent = true
}

function print(text: string): void {
  if (!isSilent) process.stdout.write(`${text}\n`)
}

/** A heading; the clock starts again. */
export function heading(text: string, line: '═' | '─'): void {
  print(`\n${chalk.bold(text)}\n${line.repeat(text.length)}`)
  actStartedMs = performance.now()
  said.clear()
}

export function narrate(text: string): void {
  for (const line of wrap(text, WIDTH - 2)) print(`  ${line}`)
}

/** What happens or is said, with the seconds since the act began. */
export function say(speaker: string, text: string, colour: Colour = 'reset', speakerColour: Colour = 'dim'): void {
  if (said.has(speaker + text)) return
  said.add(speaker + text)
  const seconds = `+${((performance.now() - actStartedMs) / 1000).toFixed(1)}s`.padStart(7)
  const beginning = `${chalk.dim(seconds)}  ${chalk[speakerColour](speaker.padEnd(9))}  `
  wrap(text, WIDTH - INDENT.length).forEach((line, i) => {
    print((i === 0 ? beginning : INDENT) + chalk[colour](line))
  })
}

/** One line of a tier's output. First and last lines of a run are left out: the commentary says when a tier runs. */
export function tierSays(line: string): void {
  const { tier, text, severity } = parseLine(line) ?? { tier: '', text: line.trim(), severity: 'INFO' }
  if (!text || /^RUN (started|ended)/.test(text)) return
  const bad = severity === 'ERROR' || /^(?:DOWN|MANUAL)/.test(text) ? 'red' : severity === 'WARN' ? 'yellow' : 'reset'
  const [name, colour] = SPEAKERS[tier] ?? ['', 'dim']
  say(name, text, text.startsWith('RECOVERED') ? 'green' : bad, colour)
}

/** A message as Discord would show it. */
export function discord({ username = 'Webhook', content = '', embeds = [] }: DiscordMessage): void {
  const parts = embeds.flatMap(({ title, description, fields = [], footer }) => [
    ...[title, description, ...fields.map((field) => `${field.name}: ${field.value}`), footer?.text],
  ])
  const quoted = wrap(parts.filter((part) => part !== undefined).join('\n'), WIDTH - 10).map((line) => `▎ ${line}`)
  excerpt([`${username}  [APP]`, ...wrap(content, WIDTH - 8), ...quoted].join('\n'), 'reset')
}

/** The lines of a file. */
export function excerpt(text: string, colour: Colour = 'dim'): void {
  for (const line of text.trim().split('\n')) print(chalk[colour](`      │ ${line.slice(0, WIDTH - 8)}`))
}

/** The closing table. */
export function table(results: readonly ActResult[]): void {
  const row = (cells: [string, string, string]) =>
    `  ${cells[0].padEnd(18)}  ${cells[1].padEnd(9)}  ${cells[2].padStart(7)}`
  print(`\n${chalk.bold(row(['fault', 'healed by', 'seconds']))}`)
  for (const { fault, healedBy, seconds, problem } of results)
    print(`${row([fault, healedBy, seconds.toFixed(1)])}  ${problem ? chalk.red(problem) : chalk.green('ok')}`)
  const good = results.filter(({ problem }) => !problem).length
  const sum = Math.round(results.reduce((total, { seconds }) => total + seconds, 0))
  print(`\n  ${good} of ${results.length} acts ended as they should, in ${sum} s.`)
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
