import { cleanText, oneLine } from '../tier/contract.ts'

export function cut(text: string, max: number): string {
  if (text.length <= max) return text
  return max < 1 ? '' : `${text.slice(0, max - 1).replace(/[\ud800-\udbff]$/, '')}…`
}

/** One line of whole characters. What chat services resolve (`@everyone`, `<@id>`, `</command:id>`, `<t:0>`) is broken invisibly. */
export function safeLine(text: string, max = 300): string {
  const whole = cleanText(text.replace(/[\ud800-\udfff]/gu, '\ufffd'))
  const defused = oneLine(whole, Number.POSITIVE_INFINITY)
    .replace(/@(?=everyone|here|channel|all\b)/gi, '@\u200b')
    .replace(/<(?=[@#!:/]|[a-z]{1,3}:)/gi, '<\u200b')
  return cut(defused, max)
}

/** The backtick alone means something inside Markdown code. */
const inCode = (line: string): string => line.replaceAll('`', 'ˋ')

export function codeSpan(text: string, max: number): string {
  return `\`${inCode(safeLine(text, max - 2)) || '-'}\``
}

/** The last lines that fit into `max` characters. */
export function codeBlock(lines: readonly string[], max: number, escapeText = (text: string) => text): string {
  let room = max - '```\n```'.length
  const kept: string[] = []
  for (const line of lines.toReversed()) {
    const text = escapeText(inCode(safeLine(line)))
    room -= text.length + 1
    if (room < 0) break
    kept.unshift(text)
  }
  return kept.length === 0 ? '' : `\`\`\`\n${kept.join('\n')}\n\`\`\``
}

export function partsThatFit(parts: readonly string[], max: number): string {
  let n = parts.length
  while (n > 0 && parts.slice(0, n).join('\n').length > max) n--
  return parts.slice(0, n).join('\n')
}
