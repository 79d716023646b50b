/** Reads XML property lists as plist(5) has them, strictly: what this cannot read, launchd would not read either. */

export type PlistValue = string | number | boolean | PlistValue[] | { [key: string]: PlistValue }

/** Parses an XML property list; throws at anything that does not belong into one. */
export function parsePlist(xml: string): PlistValue {
  const tokens = tokenize(xml)
  let at = 0
  const next = () => tokens[at++]
  const expectToken = (wanted: string) => {
    const token = next()
    if (token !== wanted) throw new Error(`expected ${wanted}, found ${token ?? 'the end'}`)
  }

  const readText = (end: string): string => {
    if (tokens[at] === end) {
      at++
      return ''
    }
    const text = next()
    if (text === undefined || text.startsWith('<')) throw new Error(`expected text before ${end}, found ${text}`)
    expectToken(end)
    return decode(text)
  }

  const readValue = (): PlistValue => {
    const token = next()
    switch (token) {
      case '<string>':
        return readText('</string>')
      case '<integer>': {
        const text = readText('</integer>').trim()
        if (!/^-?\d+$/.test(text)) throw new Error(`<integer>${text}</integer>`)
        return Number(text)
      }
      case '<true/>':
        return true
      case '<false/>':
        return false
      case '<array>': {
        const values: PlistValue[] = []
        while (skipBlank() !== '</array>') values.push(readValue())
        at++
        return values
      }
      case '<dict>': {
        const dict: { [key: string]: PlistValue } = {}
        while (skipBlank() !== '</dict>') {
          expectToken('<key>')
          const key = readText('</key>')
          if (key in dict) throw new Error(`<key>${key}</key> stands there twice`)
          skipBlank()
          dict[key] = readValue()
        }
        at++
        return dict
      }
      default:
        throw new Error(`unexpected ${token ?? 'end'}`)
    }
  }

  const skipBlank = () => {
    while (tokens[at] !== undefined && !tokens[at]!.startsWith('<') && tokens[at]!.trim() === '') at++
    return tokens[at]
  }

  skipBlank()
  if (!/^<plist version="1\.0">$/.test(next() ?? '')) throw new Error('no <plist version="1.0">')
  skipBlank()
  const value = readValue()
  skipBlank()
  expectToken('</plist>')
  if (skipBlank() !== undefined) throw new Error('text behind </plist>')
  return value
}

/** Tags and the text between them, without the prolog and comments. */
function tokenize(xml: string): string[] {
  if (
    !/^<\?xml version="1\.0" encoding="UTF-8"\?>\s*<!DOCTYPE plist PUBLIC "-\/\/Apple\/\/DTD PLIST 1\.0\/\/EN" /.test(
      xml,
    )
  )
    throw new Error('no XML declaration and document type of a property list')
  const body = xml.replace(/^<\?xml[^>]*>\s*<!DOCTYPE[^>]*>/, '').replace(/<!--(?:(?!--)[\s\S])*-->/g, '')
  if (body.includes('<!')) throw new Error('a comment with -- in it, or a declaration in the wrong place')
  return body.match(/<[^>]*>|[^<]+/g) ?? []
}

function decode(text: string): string {
  return text.replace(/&(\w+|#\d+);?/g, (whole, name: string) => {
    const known: Record<string, string> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }
    const character = known[name]
    if (character === undefined || !whole.endsWith(';')) throw new Error(`unknown entity ${whole}`)
    return character
  })
}
