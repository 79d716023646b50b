import { cleanText, oneLine } from '../tier/contract.ts'

type Escape = (text: string) => string

export function cut(text: string, max: number): string {
  if (text.length <= max) return text
  if (max < 1) return ''
  return `${text.slice(0, max - 1).replace(/[\ud800-\udbff]$/, '')}…`
}

export function cutEscaped(text: string, max: number, escapeText: Escape): string {
  let n = Math.min(text.length, Math.max(0, max))
  while (n > 0 && escapeText(cut(text, n)).length > max) n--
  return escapeText(cut(text, n))
}

/** Half a surrogate pair is no Unicode, and some services refuse it. */
export const clean = (text: string): string => cleanText(text.replace(/[\ud800-\udfff]/gu, '\ufffd'))

export const cleanLine = (text: string): string => oneLine(clean(text), Number.MAX_SAFE_INTEGER)

/** Breaks what chat services resolve (`@everyone`, `<@id>`, `<#id>`, `</command:id>`, `<t:0>`) invisibly. */
export function defuse(text: string): string {
  return text.replace(/@(?=everyone|here|channel|all\b)/gi, '@\u200b').replace(/<(?=[@#!:/]|[a-z]{1,3}:)/gi, '<\u200b')
}

/** The backtick alone means something inside Markdown code. */
export const inCode = (text: string): string => defuse(text).replaceAll('`', 'ˋ')

export function codeSpan(text: string, max: number, escapeText: Escape = inCode): string {
  return `\`${cutEscaped(cleanLine(text), max - 2, escapeText).trim() || '-'}\``
}

export function lastLines(lines: readonly string[], max: number, escapeText: Escape): string[] {
  let room = max
  const kept: string[] = []
  for (const line of [...lines].reverse().map((one) => clean(one).replaceAll('\n', ' '))) {
    const fits = escapeText(line).length < room
    if (fits || (kept.length === 0 && room > 20)) kept.unshift(cutEscaped(line, room - 1, escapeText))
    if (!fits) break
    room -= kept[0]!.length + 1
  }
  return kept
}

export function codeBlock(lines: readonly string[], max: number, escapeText: Escape = inCode): string {
  const kept = lastLines(lines, max - '```\n```'.length, escapeText)
  return kept.length === 0 ? '' : `\`\`\`\n${kept.join('\n')}\n\`\`\``
}

export function partsThatFit(parts: readonly string[], max: number): string {
  let n = parts.length
  while (n > 0 && parts.slice(0, n).join('\n').length > max) n--
  return parts.slice(0, n).join('\n')
}
