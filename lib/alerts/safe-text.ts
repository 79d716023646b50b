/** Text from outside, made fit for a chat message: it can neither ping, nor format, nor break out, nor be cut in half. */
import { cleanText, oneLine } from '../tier/contract.ts'

/** How a service wants text to be written, e.g. `&` as `&amp;`. */
export type Escape = (text: string) => string

/**
 * Cuts to `max` UTF-16 units with an ellipsis, never through a character. Discord counts code points
 * (discord/discord-api-docs#1315), Telegram UTF-16 units; there are never fewer units than code points, so what is
 * short enough in units is short enough for both.
 */
export function cut(text: string, max: number): string {
  if (text.length <= max) return text
  if (max < 1) return ''
  return `${text.slice(0, max - 1).replace(/[\ud800-\udbff]$/, '')}…`
}

/** Escapes as much of the text as fits into `max` units of escaped text; never half an escape. */
export function cutEscaped(text: string, max: number, escapeText: Escape): string {
  const whole = escapeText(text)
  if (whole.length <= max) return whole
  // Escaping only lengthens, and never makes two characters out of nothing: the longest cut that fits is searched for.
  let [fits, tooLong] = [0, Math.min(text.length, max) + 1]
  while (tooLong - fits > 1) {
    const middle = (fits + tooLong) >> 1
    if (escapeText(cut(text, middle)).length <= max) fits = middle
    else tooLong = middle
  }
  return escapeText(cut(text, fits))
}

/** Free of control characters, and well-formed: half a surrogate pair is no Unicode, and some services refuse it. */
export function clean(text: string): string {
  return cleanText(text.replace(/[\ud800-\udfff]/gu, '\ufffd'))
}

/** The same on one line, blanks run together. */
export function cleanLine(text: string): string {
  return oneLine(clean(text), Number.MAX_SAFE_INTEGER)
}

/**
 * Breaks what chat services would resolve (`@everyone`, `@channel`, `<@id>`, `<#id>`, `<!here>`, `</command:id>`,
 * `<t:0>`) with an invisible space, so that it is only read. Belt and braces: mentions are switched off too where a
 * service has a switch.
 */
export function defuse(text: string): string {
  return text.replace(/@(?=everyone|here|channel|all\b)/gi, '@\u200b').replace(/<(?=[@#!:/]|[a-z]{1,3}:)/gi, '<\u200b')
}

/** A look-alike in place of the backtick: the only character that means something inside Markdown's code. */
export function inCode(text: string): string {
  return defuse(text).replaceAll('`', 'ˋ')
}

/** Text from outside as one code span: no markup, mention or link means anything in there, and it cannot end it. */
export function codeSpan(text: string, max: number, escapeText: Escape = inCode): string {
  return `\`${cutEscaped(cleanLine(text), max - 2, escapeText).trim() || '-'}\``
}

/** The last of `lines`, escaped, that fit into `max` units with a line break behind each. */
export function lastLines(lines: readonly string[], max: number, escapeText: Escape): string[] {
  let room = max
  const kept: string[] = []
  for (const line of [...lines].reverse()) {
    const safe = escapeText(clean(line).replaceAll('\n', ' '))
    if (safe.length + 1 > room) {
      // One overlong line must not hide everything: the very last one is shown, cut if need be.
      if (kept.length === 0 && room > 20) kept.push(cutEscaped(clean(line).replaceAll('\n', ' '), room - 1, escapeText))
      break
    }
    kept.unshift(safe)
    room -= safe.length + 1
  }
  return kept
}

/** The last of `lines` that fit into a fenced block of `max` units; '' when not even one does. Nothing in it ends it. */
export function codeBlock(lines: readonly string[], max: number, escapeText: Escape = inCode): string {
  const kept = lastLines(lines, max - '```\n```'.length, escapeText)
  return kept.length === 0 ? '' : `\`\`\`\n${kept.join('\n')}\n\`\`\``
}

/** The first of `parts` (whole ones) that fit into `max` units when joined by `between`. */
export function partsThatFit(parts: readonly string[], max: number, between = '\n'): string {
  let text = ''
  for (const part of parts) {
    const longer = text === '' ? part : `${text}${between}${part}`
    if (longer.length > max) break
    text = longer
  }
  return text
}
