/** What a doctor may want, as calls of the real server: every dangerous intent comes to nothing, every repair is done. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Call, DANGEROUS, INJECTIONS, LEGITIMATE } from './fixtures/doctor-intents.ts'
import { createWorld, leaksIn, type World } from './support/doctor-world.ts'
import type { Answer } from './support/instruments-client.ts'
import { projectDir } from './support/sandbox.ts'

let world: World
let isTouched = true
beforeAll(async () => {
  world = await createWorld()
})
afterAll(() => world.close())

/** Commands of OpenClaw that only ask. */
const ASKING = /^(?:config validate --json|--version|status|doctor --lint --json|gateway run)$/

function filled(call: Call): Call {
  const { box, instruments, canary } = world
  const gateway = box.events().findLast(({ what }) => what === 'boot')?.pid
  const other = box.processes().findLast((pid) => pid !== canary.pid && pid !== instruments.pid)
  const numbers: Record<string, number | undefined> = {
    ...{ '{port}': box.port, '{canary}': canary.pid, '{-canary}': -canary.pid!, '{server}': instruments.pid },
    ...{ '{gateway}': gateway, '{other}': other },
  }
  const lines = readFileSync(box.configPath, 'utf8').split('\n')
  const fill = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(fill)
    if (typeof value === 'object' && value !== null)
      return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, fill(item)]))
    if (typeof value !== 'string') return value
    if (value in numbers) return numbers[value]
    const piece = /^\{line of (.*)\}$/.exec(value)?.[1]
    if (piece !== undefined) return lines.findIndex((line) => line.includes(piece)) + 1
    return value
      .replaceAll('{home}', box.home)
      .replaceAll('{config}', box.configPath)
      .replaceAll('{project}', projectDir)
      .replaceAll('{port as text}', String(box.port))
      .replaceAll('{canary}', String(canary.pid))
  }
  return [call[0], call[1] && (fill(call[1]) as Record<string, unknown>)]
}

async function callAll(calls: readonly Call[]): Promise<Answer[]> {
  const answers: Answer[] = []
  for (const call of calls) answers.push(await world.instruments.call(...filled(call)))
  return answers
}

describe('dangerous: refused or impossible, nothing has changed, nothing was told', () => {
  test('the table holds at least 80', () => expect(DANGEROUS.length).toBeGreaterThanOrEqual(80))

  test.each(DANGEROUS)('$intent', async ({ calls, answer, why, given }) => {
    // What nothing was done to need not be put back.
    if (isTouched || given) await world.reset()
    isTouched = given !== undefined
    await given?.(world)
    const before = world.snapshot()
    const asked = world.box.openclawCalls().length
    const alive = world.box.processes()

    for (const call of calls) {
      const one = await world.instruments.call(...filled(call))
      const what = `${JSON.stringify(call).slice(0, 300)}: ${one.text}`
      if (answer === 'hidden') expect(one.text, what).not.toMatch(/^$|notes-of-my-own|a private/)
      else expect(one.text, what).toMatch(answer === 'none' ? /^Refused: There is no instrument / : /^Refused: /)
      if (answer !== 'hidden') expect(one.isError).toBe(true)
      // Who guesses a secret knows it already.
      expect(leaksIn(one, leaksIn({ text: JSON.stringify(call) }).map(wholeSecret)), what).toEqual([])
      expect(world.snapshot(), what).toEqual(before)
    }
    if (answer === 'none') expect(why).toBeTruthy()
    expect(
      world.box
        .openclawCalls()
        .slice(asked)
        .filter((call) => !ASKING.test(call)),
    ).toEqual([])
    // Programs of the server that start late are no effect of the call.
    expect(world.box.processes()).toEqual(expect.arrayContaining(alive))
    expect(world.canary.exitCode ?? world.canary.signalCode).toBeNull()
  })
})

const wholeSecret = (leak: string) => leak.slice(leak.indexOf(' of ') + 4)

describe('legitimate: there is an instrument, and it does it', () => {
  test('the table holds at least 40', () => expect(LEGITIMATE.length).toBeGreaterThanOrEqual(40))

  test.each(LEGITIMATE)('$intent', async ({ calls, says, given, after }) => {
    await world.reset()
    await given?.(world)
    const answers = await callAll(calls)
    for (const [i, one] of answers.entries()) {
      expect(one.isError, `${calls[i]}: ${one.text}`).toBe(false)
      expect(leaksIn(one)).toEqual([])
    }
    expect(answers.at(-1)!.text).toMatch(says)
    await after?.(world)
    const decisions = world.instruments.log().filter((line) => line.includes('INSTRUMENT allowed '))
    expect(decisions.length).toBeGreaterThanOrEqual(calls.length)
  })
})

test('no text in any argument of any instrument becomes part of a command', async () => {
  await world.reset()
  const canary = join(world.box.root, 'canary')
  const { tools } = (await world.instruments.request('tools/list')).result as { tools: Tool[] }
  for (const { name, inputSchema } of tools)
    for (const [argument, { type, enum: choices }] of Object.entries(inputSchema.properties)) {
      if (type !== 'string' && !Array.isArray(type)) continue
      if (name === 'read_journal') world.supervise('a journal')
      for (const payload of INJECTIONS(canary)) {
        // Whatever else it needs is as it should be, so that this argument is what is judged.
        const others = Object.entries(inputSchema.properties).filter(([other]) => inputSchema.required.includes(other))
        const args = Object.fromEntries(others.map(([other, schema]) => [other, harmless(other, schema)]))
        world.instruments.reset()
        const answer = await world.instruments.call(name, { ...args, [argument]: payload })
        if (choices) expect(answer.isError, `${name} ${argument}`).toBe(true)
        expect(existsSync(canary), `${name} ${argument} ${payload}`).toBe(false)
      }
    }
})

interface Tool {
  name: string
  inputSchema: { properties: Record<string, { type: unknown; enum?: string[] }>; required: string[] }
}

function harmless(name: string, { type, enum: choices }: { type: unknown; enum?: string[] }): unknown {
  if (choices) return choices[0]
  if (type === 'integer') return 1
  if (name === 'log') return 'gateway.log'
  return name === 'path' ? 'agents.defaults.model.primary' : 'x'
}
