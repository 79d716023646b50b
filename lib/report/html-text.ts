/** HTML that is safe by its making: whatever is put into a template is escaped, unless it came from a template itself. */
import { clean } from '../alerts/safe-text.ts'

export class Html {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

type Part = string | number | Html | readonly Html[]

/** A template whose values are escaped, for text between tags and for attributes in double quotes. */
export function html(strings: TemplateStringsArray, ...parts: Part[]): Html {
  return new Html(strings.map((text, i) => (i === 0 ? text : `${textOf(parts[i - 1]!)}${text}`)).join(''))
}

function textOf(part: Part): string {
  if (part instanceof Html) return part.text
  if (typeof part === 'object') return part.map(({ text }) => text).join('')
  return clean(String(part)).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}
