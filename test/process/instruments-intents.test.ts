/** What a doctor may want, as calls of the real server. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import JSON5 from 'json5'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createWorld, leaksIn, PLANTED, usualArguments, type World } from '../support/doctor-world.ts'
import { projectDir } from '../support/sandbox.ts'

type State = (world: World) => unknown

let world: World
let isTouched = true
beforeAll(async () => {
  world = await createWorld()
})
afterAll(() => world.close())

/** The rows of a table of text, which begin behind an empty line; `# …` says what is true of those below it. */
function table(name: string): { intent: string; calls: string; says: string; kind: string }[] {
  const text = readFileSync(join(import.meta.dirname, '..', 'fixtures', name), 'utf8')
  let kind = ''
  return text
    .slice(text.indexOf('\n\n'))
    .split('\n')
    .flatMap((line) => {
      if (line.startsWith('# ')) kind = line.slice(2)
      const [intent = '', calls = '', ...says] = line.split(' | ')
      return calls === '' ? [] : [{ intent, calls, says: says.join(' | '), kind }]
    })
}

function filled(text: string): string {
  const { box, instruments, canary } = world
  const numbers: Record<string, number | undefined> = {
    ...{ port: box.port, canary: canary.pid, '-canary': -canary.pid!, server: instruments.pid },
    gateway: box.events().findLast(({ what }) => what === 'boot')?.pid,
    other: box.processes().findLast((pid) => pid !== canary.pid && pid !== instruments.pid),
  }
  const words: Record<string, unknown> = {
    ...{ ...PLANTED, 'remedyNote, cut': PLANTED.remedyNote.slice(0, 12), canary: canary.pid },
    ...{ home: box.home, config: box.configPath, project: projectDir, 'port as text': box.port },
  }
  const lines = readFileSync(box.configPath, 'utf8').split('\n')
  const lineOf = (json: string) => lines.findIndex((line) => line.includes(JSON.parse(`"${json}"`))) + 1
  return text
    .replace(/"\{line of (.*?)\}"/g, (_, piece) => String(lineOf(piece)))
    .replace(/"\{(-?\w+)\}"/g, (all, word) => String(numbers[word] ?? all))
    .replace(/\{(\d+) × (.)\}/g, (_, times, what) => what.repeat(times))
    .replace(/\{([\w, ]+)\}/g, (all, word) => String(words[word] ?? all))
}

/** The calls of one line of text: see test/fixtures/dangerous-intents.txt. */
function callsOf(text: string): [name: string, args?: Record<string, unknown>][] {
  const json = (value: string) => JSON.parse(value)
  return text.split(' ; ').flatMap((one) => {
    const [verb = '', first = '', ...more] = one.split(' ')
    const rest = one.slice(verb.length + 1)
    if (verb === '$') return ['bash', 'Bash'].map((name) => [name, { command: json(rest) }])
    if (verb === 'unset') return [['unset_config', { path: rest }]]
    if (verb === 'read') return [['read_file', { place: first, ...(more[0] ? { path: json(more.join(' ')) } : {}) }]]
    if (verb !== 'set') return [rest === '' ? [verb] : [verb, json(rest)]]
    const m = /^(.+?) ("(?:[^"\\]|\\.)*"|\{.*\}|\[.*\]|-?\d[\d.]*|true|false|null)$/.exec(rest)!
    return [['set_config', { path: m[1] === '""' ? '' : m[1], value: json(m[2]!) }]]
  }) as [string, Record<string, unknown>?][]
}

/** A session in which these instruments were used so often. */
const used = (names: string, times: number, decision = 'done') => {
  const one = { args: {}, acts: true, decision }
  const calls = names.split(' ').flatMap((name) => Array.from({ length: times }, (_, at) => ({ at, name, ...one })))
  return () => world.instruments.reset(calls)
}
const changed = (piece: string, by: string) => () => {
  expect(world.config.split(piece), piece).toHaveLength(2)
  writeFileSync(world.box.configPath, world.config.replace(piece, by))
}
const manifest = (more: object) => () =>
  writeFileSync(join(world.box.packageDir, 'package.json'), JSON.stringify({ name: 'openclaw', ...more }))
const JOURNAL = 'Nov 22 systemd[1]: Started\nNov 22 systemd[1]: Failed with result exit-code\n'
const supervised =
  (journal = JOURNAL) =>
  () =>
    world.supervise(journal)
/** A stand-in of npm that keeps with which words it was called. */
const npm: State = ({ box }) => {
  rmSync(join(box.controlDir, 'ran'), { force: true })
  box.addTool('npm', `echo "$*" >> '${join(box.controlDir, 'ran')}'; echo 'changed 1 package'`)
}

/** In which state of the world an intent is tried, where it is another one than usual. */
const GIVEN: Record<string, State> = {
  'put configs back and forth': used('restore_known_good_config', 2),
  'change the protection of a broken config': changed('"bind": "loopback",', '"bind": "loopback"'),
  'drop the allow list while a brace is repaired': changed('"dmScope": "per-peer" }\n', '"dmScope": "per-peer"\n'),
  'bring another word into a broken config': changed('"level": "info",', '"level": "info"'),
  'install what the package calls its version': manifest({ version: '1.x' }),
  'restart or end a gateway that is healthy': ({ box }) => box.startGateway(),
  'start it again and again': used('restart_gateway', 6),
  'end it again and again': used('end_gateway_process', 6),
  'reinstall again and again': used('reinstall_package', 2),
  'repair again and again': used('openclaw_doctor_fix rebuild_native_modules', 1, 'failed'),
  'call without end': used('gateway_status', 300),
  'write reports without end': used('write_report', 5),
  'end the gateway of another profile': ({ stranger, otherState }) => {
    const { pid } = stranger("process.title = 'openclaw-gateway'; setInterval(() => {}, 1000)")
    const locks = join(otherState, 'tmp', `openclaw-${process.getuid?.()}`)
    mkdirSync(locks, { recursive: true })
    const lock = { pid, createdAt: new Date().toISOString() }
    writeFileSync(join(locks, 'gateway.state.lock'), JSON.stringify(lock))
  },
  // What follows is legitimate.
  'the state of one that is healthy': ({ box }) => box.startGateway(),
  'the journal of its unit': supervised(),
  'a word in the journal': supervised(),
  'what its supervisor says': supervised(),
  'traces of the out-of-memory killer': supervised('kernel: oom-kill: openclaw'),
  'a config that cannot be parsed, line by line': changed('"mode": "local",', '"mode": "local"'),
  'why it does not': changed('"session":', '"bogus": 1, "session":'),
  'how full the disk is': ({ box }) => box.addTool('df', 'echo Filesystem'),
  'which dependency is missing': manifest({ version: '2026.9.6', dependencies: { 'left-pad': '1' } }),
  'what has its port': ({ stranger, box }) => {
    const listens = `require('http').createServer((q, r) => r.end('hi')).listen(${box.port}, '127.0.0.1', () => console.log('up'))`
    const { psArgument } = PLANTED
    const { stdout } = stranger(listens, ['--favourite', psArgument, `--shelf=${psArgument}`, '-k', psArgument])
    return new Promise((resolve) => stdout!.once('data', resolve))
  },
  'a missing comma': changed('"mode": "local",', '"mode": "local"'),
  'a missing quote': changed('"info",', '"info,'),
  'a missing brace': changed('false } } },', 'false } },'),
  'a missing colon': changed('"level": ', '"level" '),
  'a bracket too many': changed('"slack": { "enabled": false }', '"slack": { "enabled": false }]'),
  'gateway.mode is missing': changed('    "mode": "local",\n', ''),
  'a section that OpenClaw does not know': changed('"session":', '"legacy": { "a": 1 },\n  "session":'),
  'a setting that OpenClaw does not know': changed('"timeoutSeconds": 600,', '"timeoutSeconds": 600, "bogus": 1,'),
  'the port that is watched': () => changed(`"port": ${world.box.port}`, '"port": 1878')(),
  'the package again at its version': npm,
  'its native modules again': npm,
  'the service’s definition again': ({ supervise, box }) => {
    supervise()
    box.planCli({ 'gateway install': { stdout: 'Installed\n' } })
  },
  'end a gateway that hangs': ({ hang }) => hang(),
  'start it through its supervisor': supervised(),
  'restart one that hangs': ({ hang }) => hang(),
  'wait for one that starts': ({ box }) => box.startGateway({ startingMs: 1000 }, 'listening'),
}

const DANGEROUS = table('dangerous-intents.txt')
const LEGITIMATE = table('legitimate-intents.txt')

test('no row has lost its state', () => {
  const known = [...DANGEROUS, ...LEGITIMATE].map(({ intent }) => intent)
  expect(known).toEqual(expect.arrayContaining([...Object.keys(GIVEN), ...Object.keys(AFTER)]))
})

describe('dangerous: refused or impossible, nothing has changed, nothing was shown', () => {
  /** Commands of OpenClaw that only ask. */
  const asking = /^(?:config validate --json|--version|status|doctor --lint --json|gateway run)$/

  /** The kind is `refused`: an instrument says no. `none: …`: there is none. `hidden`: it answers, without what was wanted. */
  test.each(DANGEROUS)('$intent', async ({ intent, calls, kind }) => {
    const given = GIVEN[intent]
    // What nothing was done to need not be put back.
    if (isTouched || given) await world.reset()
    isTouched = given !== undefined
    await given?.(world)
    const { box } = world
    const before = world.snapshot()
    const asked = box.openclawCalls().length
    const alive = box.processes()
    for (const wish of callsOf(filled(calls))) {
      const answer = await world.instruments.call(...wish)
      const what = `${JSON.stringify(wish).slice(0, 300)}: ${answer.text}`
      if (kind === 'hidden') expect(answer.text, what).not.toMatch(/^$|notes-of-my-own|a private/)
      else expect(answer.text, what).toMatch(kind === 'refused' ? /^Refused: / : /^Refused: There is no instrument /)
      if (kind !== 'hidden') expect(answer.isError).toBe(true)
      // A secret that was guessed is no leak.
      expect(leaksIn(answer, JSON.stringify(wish)), what).toEqual([])
      expect(world.snapshot(), what).toEqual(before)
    }
    const ran = box.openclawCalls().slice(asked)
    expect(ran.filter((one) => !asking.test(one))).toEqual([])
    // Programs of the server that start late are no effect of the call.
    expect(box.processes()).toEqual(expect.arrayContaining(alive))
    expect(world.canary.exitCode ?? world.canary.signalCode).toBeNull()
  })
})

// --- what a repair needs

const config = () => readFileSync(world.box.configPath, 'utf8')
const at = (path: string) =>
  path.split('.').reduce<unknown>((value, name) => (value as Record<string, unknown>)?.[name], JSON5.parse(config()))
const ran = () => readFileSync(join(world.box.controlDir, 'ran'), 'utf8')
const called = () => world.box.openclawCalls()
const reported = () => readFileSync(world.instruments.reportPath, 'utf8')

/** What must have come of it, beside what the answer says; of a setting that was set or taken out: just that. */
const AFTER: Record<string, State> = {
  'put the known-good config back': () => expect(at('agents.defaults.timeoutSeconds')).toBe(300),
  'the package again at its version': () => expect(ran()).toBe('install -g openclaw@2026.9.6\n'),
  'its native modules again': ({ box }) => expect(ran()).toBe(`rebuild --prefix ${box.packageDir}\n`),
  'OpenClaw’s own repair': () => expect(called()).toContain('doctor --fix --yes --non-interactive'),
  'the service’s definition again': () => expect(called()).toContain('gateway install --force'),
  'start it through its supervisor': ({ instruments }) =>
    expect(instruments.log().join('\n')).toMatch(/restart: systemctl --user .*start openclaw-gateway\.service/),
  'restart one that hangs': async ({ box, instruments }) => {
    box.setFaults({})
    expect((await instruments.call('wait_until_healthy', { seconds: 30 })).text).toMatch(/^healthy/)
  },
  'write the report': () => expect(reported()).toMatch(/## Root cause\n\na comma[\s\S]*look for commas/),
  'say that a human is needed': () => expect(reported()).toMatch(/## For a human\n\nIt has the port\./),
}

describe('legitimate: there is an instrument, and it does it', () => {
  test.each(LEGITIMATE)('$intent', async ({ intent, calls, says }) => {
    await world.reset()
    await GIVEN[intent]?.(world)
    const wishes = callsOf(filled(calls))
    let last = ''
    for (const wish of wishes) {
      const answer = await world.instruments.call(...wish)
      expect(answer.isError, `${wish}: ${answer.text}`).toBe(false)
      expect(leaksIn(answer)).toEqual([])
      last = answer.text
      if (!/^(?:un)?set_config$/.test(wish[0])) continue
      expect(at(String(wish[1]!.path))).toEqual(wish[1]!.value)
      // A comment far from it stays.
      expect(config()).toContain('// cheap, good,')
    }
    expect(last).toMatch(new RegExp(says))
    await AFTER[intent]?.(world)
    // The syntax alone was repaired.
    if (wishes[0]![0] === 'replace_in_config') expect(config()).toBe(world.config)
    const allowed = world.instruments.log().filter((line) => line.includes('INSTRUMENT allowed '))
    expect(allowed.length).toBeGreaterThanOrEqual(wishes.length)
  })
})

test('no text in any argument of any instrument becomes part of a command', async () => {
  await world.reset()
  world.supervise('a journal')
  const canary = join(world.box.root, 'canary')
  const touch = `touch ${canary}`
  const payloads = [
    `$(${touch})\`${touch}\`; ${touch} & ${touch} | ${touch}\n${touch}\n`,
    `'; ${touch}; '"; ${touch}; "`,
    `--output=${canary}`,
    `../../../../../../..${canary}`,
    `\${process.mainModule.require('fs').writeFileSync('${canary}','')}`,
  ]
  const harmless = { log: 'gateway.log', path: 'agents.defaults.model.primary' }
  for (const tool of await world.instruments.tools())
    for (const [argument, { type, enum: choices }] of Object.entries(tool.inputSchema.properties))
      for (const payload of type === 'string' || Array.isArray(type) ? payloads : []) {
        world.instruments.reset()
        // All else is as it should be, so that this argument is what is judged.
        const args = { ...usualArguments(tool, harmless), [argument]: payload }
        const { isError } = await world.instruments.call(tool.name, args)
        if (choices) expect(isError, `${tool.name} ${argument}`).toBe(true)
        expect(existsSync(canary), `${tool.name} ${argument} ${payload}`).toBe(false)
      }
})
