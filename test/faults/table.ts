/** The table of the fault library. */
import type { Fault } from './fault.ts'
import type { Outcome } from './play.ts'

const HEAD = ['#', 'class', 'verdict', 'healed by', 'restarts', 'seconds', 'a human is told']

export function tableOf(faults: readonly Fault[], outcomes: readonly Outcome[]): string {
  const rows = faults.map((fault) => {
    const outcome = outcomes.find((one) => one.fault === fault)
    if (!outcome) return [fault.id, fault.name, fault.verdict, 'not played, or not as it should', '', '', '']
    const { verdict, healedBy, restarts, seconds, told } = outcome
    const words = fault.told && told.length > 0 ? (fault.told.exec(told.join('\n'))?.[0] ?? '') : '–'
    return [fault.id, fault.name, verdict, healedBy, String(restarts), seconds?.toFixed(1) ?? '–', words.slice(0, 50)]
  })
  const widths = HEAD.map((head, i) => Math.max(head.length, ...rows.map((row) => row[i]!.length)))
  const line = (cells: readonly string[]) => `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(' | ')} |`
  return [line(HEAD), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n')
}
