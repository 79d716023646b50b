type PlistValue = string | number | boolean | PlistValue[] | { [key: string]: PlistValue }

const PROLOG =
  /^<\?xml version="1\.0" encoding="UTF-8"\?>\s*<!DOCTYPE plist PUBLIC "-\/\/Apple\/\/DTD PLIST 1\.0\/\/EN" [^>]*>\s*<plist version="1\.0">([\s\S]*)<\/plist>\s*$/
const ENTITIES: Record<string, string> = { '&amp;': '&', '&lt;': '<', '&gt;': '>', '&quot;': '"', '&apos;': "'" }

/** Reads an XML property list as plist(5) has it, strictly: what this throws at, launchd would not read either. */
export function parsePlist(xml: string): PlistValue {
  let rest = PROLOG.exec(xml.replace(/<!--(?:(?!--)[\s\S])*-->/g, ''))?.[1] ?? ''
  const take = (pattern: RegExp): string | undefined => {
    const m = pattern.exec((rest = rest.trimStart()))
    if (m) rest = rest.slice(m[0].length)
    return m ? (m[1] ?? m[0]) : undefined
  }
  const decode = (text: string) =>
    text.replace(/&\w*;?/g, (entity) => ENTITIES[entity] ?? fail(`unknown entity ${entity}`))
  const fail = (why: string): never => {
    throw new Error(`${why} at ${rest.slice(0, 60)}`)
  }

  const readValue = (): PlistValue => {
    const text = take(/^<string>([^<]*)<\/string>/)
    if (text !== undefined) return decode(text)
    const integer = take(/^<integer>(-?\d+)<\/integer>/)
    if (integer !== undefined) return Number(integer)
    const truth = take(/^<(true|false)\/>/)
    if (truth !== undefined) return truth === 'true'
    if (take(/^<array>/)) {
      const values: PlistValue[] = []
      while (!take(/^<\/array>/)) values.push(readValue())
      return values
    }
    if (!take(/^<dict>/)) return fail('no value')
    const dict: { [key: string]: PlistValue } = {}
    while (!take(/^<\/dict>/)) {
      const key = decode(take(/^<key>([^<]*)<\/key>/) ?? fail('no key'))
      if (key in dict) fail(`a second <key>${key}</key>`)
      dict[key] = readValue()
    }
    return dict
  }

  const value = readValue()
  return rest.trim() === '' ? value : fail('text behind the value')
}
