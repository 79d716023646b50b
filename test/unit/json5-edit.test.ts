/** Edits of one setting in the text of a JSON5 file: the tree becomes what is wanted, everything else stays as it is. */
import fc from 'fast-check'
import JSON5 from 'json5'
import { expect, test } from 'vitest'
import { configWith, configWithout, leavesOf, withoutSetting, withSetting } from '../../lib/gateway/config-tree.ts'

const set = (text: string, path: string, value: unknown) => withSetting(text, path.split('.'), value)
const removed = (text: string, path: string) => withoutSetting(text, path.split('.'))
const comments = (text: string) =>
  (text.match(/'(?:\\[\s\S]|[^'\\])*'|"(?:\\[\s\S]|[^"\\])*"|\/\/[^\r\n]*|\/\*[\s\S]*?\*\//g) ?? []).filter((word) =>
    word.startsWith('/'),
  )
/** In any order, and with `__proto__` as a name like any other. */
const plain = (value: unknown) =>
  leavesOf(value)
    .map(({ path, value: leaf, kind }) => [...path, kind, leaf].join('\0'))
    .sort()

const CONFIG = `// head, with a comma,
{
  gateway: { mode: 'local', "port": 18789, }, // first, second,
  /* before, */ "auth" /* between */ : /* here */ { 'token': "a, b: {c}", } /* behind */ ,
  list: [1, /* one, */ 'two', [3, { four: 5, }, ], ], // tail,
  "text": 'it\\'s // no comment /* either */',
  "last": +1.5e3 /* five, */
}
// foot
`

test.each<[string, unknown, string, string]>([
  ['gateway.mode', 'remote', "mode: 'local'", 'mode: "remote"'],
  ['auth.token', null, '"a, b: {c}"', 'null'],
  ['list.1', { x: [1] }, "'two'", '{"x":[1]}'],
  ['list.2.1.four', 'v', 'four: 5', 'four: "v"'],
  ['text', 'plain', "'it\\'s // no comment /* either */'", '"plain"'],
  ['last', false, '+1.5e3', 'false'],
  ['gateway.bind', 'lan', 'gateway: { mode', 'gateway: { "bind": "lan", mode'],
  ['new.a.b', 1, '{\n  gateway', '{ "new": { "a": { "b": 1 } },\n  gateway'],
])('%s is set in its place, and nothing else is touched', (path, value, from, to) => {
  expect(set(CONFIG, path, value)).toBe(CONFIG.replace(from, to))
})

test('a line of its own goes with a setting; what is not there is not taken out', () => {
  expect(removed('{\n  "a": 1,\n  "b": 2,\n  "c": 3\n}\n', 'b')).toBe('{\n  "a": 1,\n  "c": 3\n}\n')
  expect(removed('{\r\n  "a": 1,\r\n  "b": 2\r\n}\r\n', 'b')).toBe('{\r\n  "a": 1\r\n}\r\n')
  for (const path of ['nothing', 'gateway.nothing', 'list.9', 'auth.token.x'])
    expect(removed(CONFIG, path)).toBe(CONFIG)
})

test.each([
  ['a byte order mark', '\ufeff{ a: 1, b: { c: [2] } }'],
  ['only carriage returns', '{\r  a: 1, // x\r  b: { c: [2] }\r}'],
  ['no blank at all', '{a:1,b:{c:[2]}}'],
  ['trailing commas', '{ a: 1, b: { c: [2,], }, }'],
  ['an escaped name', '{ \\u0061: 1, b: { c: [2] } }'],
  ['a name twice', '{ a: 9, a: 1, b: { d: 1 }, b: { c: [2] } }'],
  ['a line separator behind a comment', '{ a: 1, // x\u2028  b: { c: [2] }\n}'],
  ['a continued line', '{ a: 1, b: { c: [2] }, s: "x\\\n y" }'],
  ['a name that every object has', '{ a: 1, b: { c: [2] }, constructor: 1, "__proto__": { d: 1 } }'],
])('a file with %s', (_what, text) => {
  const before: unknown = JSON5.parse(text)
  expect(before).toMatchObject({ a: 1, b: { c: [2] } })
  for (const path of ['a', 'b', 'b.c', 'b.c.0', 'b.d', 'e.f', 'constructor', 'b.constructor']) {
    const names = path.split('.')
    expect(plain(JSON5.parse(set(text, path, 'new'))), path).toEqual(plain(configWith(before, names, 'new')))
    expect(plain(JSON5.parse(removed(text, path))), path).toEqual(plain(configWithout(before, names)))
  }
})

test('any text, any path: what comes out parses to what was wanted; comments outside of what was replaced stay', () => {
  const name = fc.constantFrom(...'a b c model x-y $d __proto__ constructor 0 1 length'.split(' '), 'e f')
  const texts = ['', "it's", '"quoted"', 'a // b', '/* c */', '{', ',', 'a\nb', '\\', '${X}']
  const scalar = fc.constantFrom<unknown>(true, false, null, 0, -1, 1.5, ...texts)
  const { tree } = fc.letrec<{ tree: unknown; node: Record<string, unknown> }>((tie) => ({
    node: fc.dictionary(name, tie('tree'), { maxKeys: 4 }) as fc.Arbitrary<Record<string, unknown>>,
    tree: fc.oneof({ depthSize: 'small' }, scalar, fc.array(tie('tree'), { maxLength: 3 }), tie('node')),
  }))
  const root = fc.dictionary(name, tree, { minKeys: 1, maxKeys: 5 })
  const gap = fc.constantFrom('', ' ', '\n', '\r\n', ' /* x, y: { */ ', ' // z, ]\n', '\n  ', '\u00a0')
  /** As people write it: comments and blanks between all the words that JSON has. */
  const files = fc.tuple(root, fc.infiniteStream(gap)).map(([value, gaps]) => {
    const word = /"(?:\\.|[^"\\])*"|[{}[\],:]|[^\s{}[\],:"]+/g
    return JSON.stringify(value).replace(word, (one) => `${gaps.next().value}${one}${gaps.next().value}`)
  })
  const path = fc.array(name, { minLength: 1, maxLength: 4 })
  let inPlace = 0
  const judge = (text: string, names: string[], value: unknown, isSet: boolean) => {
    const before: unknown = JSON5.parse(text)
    let wanted: unknown
    try {
      wanted = isSet ? configWith(before, names, value) : configWithout(before, names)
    } catch {
      return
    }
    const after = isSet ? withSetting(text, names, value) : withoutSetting(text, names)
    expect(plain(JSON5.parse(after))).toEqual(plain(wanted))
    if (after === `${JSON.stringify(wanted, null, 2)}\n` && comments(text).length > 0) return
    inPlace++
    // In order, whatever stands outside of the setting itself: no comment is changed, and none appears.
    const kept = comments(after)
    let at = 0
    for (const comment of comments(text)) if (kept[at] === comment) at++
    expect(at, `${JSON.stringify(text)} → ${JSON.stringify(after)}`).toBe(kept.length)
  }
  fc.assert(fc.property(files, path, tree, fc.boolean(), judge), { numRuns: 500, endOnFailure: true })
  expect(inPlace).toBeGreaterThan(200)
})
