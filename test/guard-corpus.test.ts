/** The guard on two corpora: calls that it must refuse, calls that it must let through, each by the rule it tests. */
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { judge } from '../lib/doctor/guard-judge.ts'
import { type CorpusCall, DANGEROUS } from './fixtures/guard/dangerous.ts'
import { LEGITIMATE } from './fixtures/guard/legitimate.ts'
import { guardHome, PLANTED } from './support/guard-world.ts'

const at = guardHome()
afterAll(() => at.remove())

function filled(call: CorpusCall): { tool: string; input: Record<string, unknown> } {
  // The texts are filled in one by one: a JSON of the whole would need escapes.
  const fill = (value: unknown): unknown => {
    if (typeof value === 'string') return at.fill(value)
    if (Array.isArray(value)) return value.map(fill)
    if (value && typeof value === 'object')
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, fill(v)]))
    return value
  }
  return { tool: call.tool, input: fill(call.input) as Record<string, unknown> }
}

const titled = (calls: readonly CorpusCall[]) =>
  calls.map((call) => ({ ...call, title: `${call.tool} ${String(call.input.command ?? JSON.stringify(call.input))}` }))

describe('refused', () => {
  test('the corpus holds at least 150 calls', () => expect(DANGEROUS.length).toBeGreaterThanOrEqual(150))

  test.each(titled(DANGEROUS))('$title', async (call) => {
    const decision = await judge(filled(call), at.world)
    expect(decision.allow, decision.reason).toBe(false)
    expect(decision.rule, decision.reason).toBe(call.rule)
    for (const secret of PLANTED) expect(decision.reason).not.toContain(secret)
  })
})

describe('allowed', () => {
  test('the corpus holds at least 100 calls', () => expect(LEGITIMATE.length).toBeGreaterThanOrEqual(100))

  test.each(titled(LEGITIMATE))('$title', async (call) => {
    const decision = await judge(filled(call), at.world)
    expect(decision.allow, decision.reason).toBe(true)
    expect(decision.rules).toContain(call.rule)
  })
})

test('who wants to copy the config is told that a copy is taken anyway', async () => {
  const { reason } = await judge({ tool: 'Bash', input: { command: at.fill('cp {config} {config}.bak') } }, at.world)
  expect(reason).toContain('a copy of the config is taken before every edit')
})

test('a secret in one of the config’s lists is not shown by its place in it', async () => {
  const own = guardHome()
  writeFileSync(
    own.world.configPath,
    '{ agents: { list: [{ id: "main" }, { id: "second", apiKey: "planted-key-of-second" }] } }',
  )
  const ask = (path: string) => judge({ tool: 'Bash', input: { command: `openclaw config get ${path}` } }, own.world)
  expect((await ask('agents.list.1')).rule).toBe('secrets')
  expect((await ask('agents.list.0')).allow).toBe(true)
  own.remove()
})

test('the redacted copies that the guard made hold no secret and are for this user alone', () => {
  const folder = join(at.world.runFolder, 'redacted')
  const copies = readdirSync(folder)
  expect(copies.length).toBeGreaterThan(1)
  for (const name of copies) {
    const path = join(folder, name)
    for (const secret of PLANTED) expect(readFileSync(path, 'utf8')).not.toContain(secret)
    expect(statSync(path).mode & 0o777).toBe(0o600)
  }
})
