/** Text from outside, made fit for a chat message: it can neither ping, nor format, nor break out, nor be cut in half. */
import { cleanText, oneLine } from '../tier/contract.ts'

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

/** Free of control characters, and well-formed: half a surrogate pair is no Unicode, and some services refuse it. */
export function clean(text: string): string {
  return cleanText(text.replace(/[\ud800-\udfff]/gu, '\ufffd'))
}

/**
 * Breaks what Discord or Slack would resolve (`@everyone`, `<@id>`, `<#id>`, `<!channel>`, `</command:id>`, `<t:0>`)
 * with an invisible space, so that it is only read. Belt and braces: messages are sent with mentions switched off too.
 */
export function defuse(text: string): string {
  return text.replace(/@(?=everyone|here)/gi, '@\u200b').replace(/<(?=[@#!:/]|[a-z]{1,3}:)/gi, '<\u200b')
}

/** Text from outside as one code span: no markup, mention or link means anything in there, and it cannot end it. */
export function codeSpan(text: string, max: number): string {
  const inside = cut(inCode(oneLine(clean(text), Number.MAX_SAFE_INTEGER)), max - 2).trim()
  return `\`${inside || '-'}\``
}

/**
 * The last of `lines` that fit into a fenced block of `max` units; '' when not even one does. A fence in the text
 * cannot end the block.
 */
export function codeBlock(lines: readonly string[], max: number): string {
  let room = max - '```\n```'.length
  const kept: string[] = []
  for (const line of [...lines].reverse()) {
    const safe = inCode(clean(line).replaceAll('\n', ' '))
    if (safe.length + 1 > room) {
      // One overlong line must not hide everything: the very last one is shown, cut if need be.
      if (kept.length === 0 && room > 20) kept.unshift(cut(safe, room - 1))
      break
    }
    kept.unshift(safe)
    room -= safe.length + 1
  }
  return kept.length === 0 ? '' : `\`\`\`\n${kept.join('\n')}\n\`\`\``
}

/** A look-alike in place of the backtick: the only character that means something inside code. */
function inCode(text: string): string {
  return defuse(text).replaceAll('`', 'ˋ')
}
