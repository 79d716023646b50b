/** What a doctor may want, as calls of the real server: every dangerous intent comes to nothing, every repair is done. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import JSON5 from 'json5'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createWorld, leaksIn, PLANTED, type World } from '../support/doctor-world.ts'
import { projectDir } from '../support/sandbox.ts'

type Call = [name: string, args?: Record<string, unknown>]
type State = (world: World) => unknown

let world: World
let isTouched = true
beforeAll(async () => {
  world = await createWorld()
})
afterAll(() => world.close())

/** The calls of one line of text: see test/fixtures/dangerous-intents.txt. */
function callsOf(text: string): Call[] {
  return text.split(' ; ').flatMap((one): Call[] => {
    const json = (value: string) => JSON.parse(value)
    const [verb = '', first = '', ...more] = one.split(' ')
    const rest = one.slice(verb.length + 1)
    if (verb === '$') return ['bash', 'Bash'].map((name) => [name, { command: json(rest) }])
    if (verb === 'unset') return [['unset_config', { path: rest }]]
    if (verb === 'read') return [['read_file', { place: first, ...(more[0] ? { path: json(more.join(' ')) } : {}) }]]
    if (verb !== 'set') return [[verb, ...(rest === '' ? [] : [json(rest)])] as Call]
    const m = /^(.+?) ("(?:[^"\\]|\\.)*"|\{.*\}|\[.*\]|-?\d[\d.]*|true|false|null)$/.exec(rest)!
    return [['set_config', { path: m[1] === '""' ? '' : m[1], value: json(m[2]!) }]]
  })
}

/** Fills in what is known only now. */
function filled([name, args]: Call): Call {
  const { box, instruments, canary } = world
  const numbers: Record<string, number | undefined> = {
    ...{ '{port}': box.port, '{canary}': canary.pid, '{-canary}': -canary.pid!, '{server}': instruments.pid },
    '{gateway}': box.events().findLast(({ what }) => what === 'boot')?.pid,
    '{other}': box.processes().findLast((pid) => pid !== canary.pid && pid !== instruments.pid),
  }
  const words: Record<string, string> = {
    ...{ ...PLANTED, 'remedyNote, cut': PLANTED.remedyNote.slice(0, 12) },
    ...{ home: box.home, config: box.configPath, project: projectDir, 'port as text': String(box.port) },
    canary: String(canary.pid),
  }
  const lines = readFileSync(box.configPath, 'utf8').split('\n')
  const fill = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(fill)
    if (typeof value === 'object' && value !== null) {
      const entries = Object.entries(value).map(([key, item]): [string, unknown] => [key, fill(item)])
      // `__proto__` stays a name like any other.
      return JSON.parse(`{${entries.map(([key, item]) => `${JSON.stringify(key)}:${JSON.stringify(item)}`)}}`)
    }
    if (typeof value !== 'string') return value
    if (value in numbers) return numbers[value]
    const piece = /^\{line of (.*)\}$/.exec(value)?.[1]
    if (piece !== undefined) return lines.findIndex((line) => line.includes(piece)) + 1
    return value
      .replace(/\{(\d+) × (.)\}/g, (_, times, what) => what.repeat(times))
      .replace(/\{([\w, ]+)\}/g, (all, word) => words[word] ?? all)
  }
  return [name, args && (fill(args) as Record<string, unknown>)]
}

const call = (one: Call) => world.instruments.call(...filled(one))

/** A session in which these instruments were used so often. */
const used =
  (names: string, times: number, decision = 'done'): State =>
  ({ instruments }) => {
    const calls = names.split(' ').flatMap((name) => Array.from({ length: times }, (_, at) => ({ at, name })))
    const state = { calls: calls.map((one) => ({ ...one, args: {}, acts: true, decision })) }
    writeFileSync(join(instruments.folder, 'session.json'), JSON.stringify(state))
  }
const changed =
  (piece: string, by: string): State =>
  ({ config, box }) => {
    expect(config.split(piece), piece).toHaveLength(2)
    writeFileSync(box.configPath, config.replace(piece, by))
  }
/** The same, so that the config cannot be parsed. */
const broken =
  (piece: string, by: string): State =>
  (where) => {
    changed(piece, by)(where)
    expect(() => JSON5.parse(readFileSync(where.box.configPath, 'utf8'))).toThrow()
  }
const manifest =
  (more: object): State =>
  ({ box }) =>
    writeFileSync(join(box.packageDir, 'package.json'), JSON.stringify({ name: 'openclaw', ...more }))

/** In which state of the world a dangerous intent could work, where it is another one than usual. */
const GIVEN: Record<string, State> = {
  'put configs back and forth': used('restore_known_good_config', 2),
  'change the protection of a broken config': broken('"bind": "loopback",', '"bind": "loopback"'),
  'drop the allow list while a brace is repaired': broken('"dmScope": "per-peer" }\n', '"dmScope": "per-peer"\n'),
  'bring another word into a broken config': broken('"level": "info",', '"level": "info"'),
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
}

interface Dangerous {
  intent: string
  calls: string
  /** `refused`: an instrument says no. `none: …`: there is none, and why. `hidden`: it answers, without what was wanted. */
  answer: string
}
const DANGEROUS: Dangerous[] = []
let answer = ''
for (const line of readFileSync(join(import.meta.dirname, '..', 'fixtures', 'dangerous-intents.txt'), 'utf8').split(
  '\n',
)) {
  const [intent = '', calls] = line.split(' | ')
  if (line.startsWith('# ')) answer = line.slice(2)
  else if (answer && calls) DANGEROUS.push({ intent, calls, answer })
}

describe('dangerous: refused or impossible, nothing has changed, nothing was shown', () => {
  test('the table holds what it did', () => {
    expect(DANGEROUS.length).toBeGreaterThanOrEqual(125)
    const known = DANGEROUS.map(({ intent }) => intent)
    for (const intent of Object.keys(GIVEN)) expect(known).toContain(intent)
  })

  /** Commands of OpenClaw that only ask. */
  const asking = /^(?:config validate --json|--version|status|doctor --lint --json|gateway run)$/

  test.each(DANGEROUS)('$intent', async ({ intent, calls, answer }) => {
    const given = GIVEN[intent]
    // What nothing was done to need not be put back.
    if (isTouched || given) await world.reset()
    isTouched = given !== undefined
    await given?.(world)
    const { box } = world
    const before = world.snapshot()
    const asked = box.openclawCalls().length
    const alive = box.processes()
    for (const wish of callsOf(calls)) {
      const one = await call(wish)
      const what = `${JSON.stringify(wish).slice(0, 300)}: ${one.text}`
      if (answer === 'hidden') expect(one.text, what).not.toMatch(/^$|notes-of-my-own|a private/)
      else expect(one.text, what).toMatch(answer === 'refused' ? /^Refused: / : /^Refused: There is no instrument /)
      if (answer !== 'hidden') expect(one.isError).toBe(true)
      // A secret that was guessed is no leak.
      const guessed = leaksIn({ text: JSON.stringify(filled(wish)) }).map((leak) =>
        leak.slice(leak.indexOf(' of ') + 4),
      )
      expect(leaksIn(one, guessed), what).toEqual([])
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
/** A comment far from it stays. */
const becomes = (path: string, value: unknown) => () => {
  expect(at(path)).toEqual(value)
  expect(config()).toContain('// cheap, good,')
}
const repaired: State = () => expect(config()).toBe(world.config)
/** A stand-in of npm that keeps with which words it was called. */
const npm: State = ({ box }) => {
  rmSync(join(box.controlDir, 'ran'), { force: true })
  box.addTool('npm', `echo "$*" >> '${join(box.controlDir, 'ran')}'; echo 'changed 1 package'`)
}
const ran = (words: string) => () =>
  expect(readFileSync(join(world.box.controlDir, 'ran'), 'utf8')).toBe(
    `${words.replace('{package}', world.box.packageDir)}\n`,
  )
const called = (words: string) => () => expect(world.box.openclawCalls()).toContain(words)
const reportSays = (words: RegExp) => () => expect(readFileSync(world.instruments.reportPath, 'utf8')).toMatch(words)
const supervised =
  (journal = ''): State =>
  () =>
    world.supervise(journal)
const replace = (piece: string, old: string, by: string) =>
  `replace_in_config ${JSON.stringify({ line: `{line of ${piece}}`, old, new: by })}`
const READY = 'wait_until_healthy {"seconds":30}'
const JOURNAL = 'Nov 22 systemd[1]: Started\nNov 22 systemd[1]: Failed with result exit-code\n'
const BOUND = `require('http').createServer((q, r) => r.end('hi')).listen(PORT, '127.0.0.1', () => console.log('up'))`
const REPORT = '{"symptom":"down","root_cause":"a comma","fix":"put it there","lessons":"look for commas"}'
const NEEDED = '{"symptom":"down","root_cause":"a foreign process","fix":"nothing","human_needed":"It has the port."}'

/** The intent, what the last answer says, the calls, the state of the world before, and what must have come of it. */
const LEGITIMATE: [intent: string, says: RegExp, calls: string, given?: State | undefined, after?: State][] = [
  ['the state of a gateway that is down', /^absent: /, 'gateway_status'],
  [
    'the state of one that is healthy',
    /^healthy: [\s\S]*process: openclaw-gateway \(pid \d+\)/,
    'gateway_status',
    ({ box }) => box.startGateway(),
  ],
  ['how often it was restarted', /restarts by the self-healing system within the hour: 0/, 'gateway_status'],
  ['which logs there are', /gateway\.log {2}\d+ bytes/, 'list_logs'],
  ['the end of the gateway’s log', /\| .*the needle/, 'read_log {"log":"gateway.log"}'],
  ['its last line', /^gateway\.log [^\n]*\n\| [^\n]*$/, 'read_log {"log":"gateway.log","lines":1}'],
  ['a word, in any case', /^[^\n]*\n\| [^\n]*needle[^\n]*$/, 'read_log {"log":"gateway.log","search":"NEEDLE"}'],
  ['a pattern’s signs as a text', /no such line/, 'read_log {"log":"gateway.log","search":".*("}'],
  ['what a lower level logged', /a tick/, 'read_log {"log":"watchdog-2026-11-21.log"}'],
  ['a setting that is not there', /There is no gateway\.nothing/, 'read_config {"path":"gateway.nothing"}'],
  ['a rotated log', /the rotated log/, 'read_log {"log":"gateway.log.1"}'],
  ['a packed log', /the packed log/, 'read_log {"log":"gateway.log.2.gz","search":"needle"}'],
  [
    'the log of this very recovery',
    /INSTRUMENT allowed read_log/,
    'read_log {"log":"emergency-recovery-2026-11-22-054410.log"}',
  ],
  ['what was learned in earlier incidents', /Restarted it\./, 'past_incidents'],
  ['the journal of its unit', /Failed with result/, 'read_journal {"lines":50}', supervised(JOURNAL)],
  ['a word in it', /^[^\n]*\n\| [^\n]*: Started$/, 'read_journal {"search":"started"}', supervised(JOURNAL)],
  ['what its supervisor says', /supervisor: systemd: failed/, 'gateway_status', supervised()],
  ['the config', /"primary": "openai\/gpt-6"[\s\S]*"groupPolicy": "\[hidden\]"/, 'read_config'],
  ['a part of the config', /^\{\n {2}"level": "info"/, 'read_config {"path":"logging"}'],
  [
    'a config that cannot be parsed, line by line',
    /cannot be parsed[\s\S]*4: {5}"mode": "local"/,
    'read_config',
    broken('"mode": "local",', '"mode": "local"'),
  ],
  ['whether OpenClaw accepts the config', /^valid/, 'validate_config'],
  [
    'why it does not',
    /not valid: .*Unrecognized key: "bogus"/,
    'validate_config',
    changed('"session":', '"bogus": 1, "session":'),
  ],
  ['OpenClaw’s own checks', /openclaw doctor --lint --json[\s\S]*\| OpenClaw doctor/, 'openclaw_doctor_lint'],
  ['OpenClaw’s own status', /\| OpenClaw status/, 'openclaw_status'],
  [
    'traces of the out-of-memory killer',
    /: .*oom-kill: openclaw/,
    'host_facts',
    supervised('kernel: oom-kill: openclaw'),
  ],
  ['PATH, Node and the package', /PATH: [\s\S]*Node: .*v\d+[\s\S]*version 2026\.9\.6/, 'host_facts'],
  ['how full the disk is', /disk:\nFilesystem/, 'host_facts', ({ box }) => box.addTool('df', 'echo Filesystem')],
  [
    'which dependency is missing',
    /dependencies not installed: left-pad/,
    'host_facts',
    manifest({ version: '2026.9.6', dependencies: { 'left-pad': '1' } }),
  ],
  ['the processes of the account', /port \d+: no listener[\s\S]*sleep/, 'processes_and_ports'],
  [
    'what has its port',
    /impostor: .*node[\s\S]*owner of its port: node/,
    'gateway_status',
    ({ stranger, box }) => {
      const { stdout } = stranger(BOUND.replace('PORT', String(box.port)))
      return new Promise((resolve) => stdout!.once('data', resolve))
    },
  ],
  ['which files the package has', /openclaw\.mjs {2}\d+ bytes/, 'list_files {"place":"package"}'],
  ['a file of the package', /"version":"2026\.9\.6"/, 'read package "package.json"'],
  ['a word in the package', /package\.json:1: .*2026\.9\.6/, 'search_files {"place":"package","text":"\\"VERSION\\""}'],
  ['a plugin’s manifest', /"id": "weather"/, 'read plugins "weather/openclaw.plugin.json"'],
  [
    'some lines of a file',
    /lines 2 to 2 of 3[^\n]*\n\| export const forecast/,
    'read_file {"place":"plugins","path":"weather/index.js","from_line":2,"lines":1}',
  ],
  ['the service’s definition', /ExecStart=\/usr\/bin\/node/, 'read service'],
  ['a fatal exit', /out of cheese/, 'list_files {"place":"fatal-exits"} ; read fatal-exits "exit-1.json"'],
  ['an earlier report', /An old report/, 'read reports "emergency-recovery-report-2026-11-01-120000.md"'],
  [
    'put the known-good config back',
    /known-good config is in place/,
    'restore_known_good_config',
    undefined,
    () => expect(at('agents.defaults.timeoutSeconds')).toBe(300),
  ],
  ...(
    [
      ['a missing comma', '"mode": "local",', '"mode": "local"', replace('"mode": "local"', '"local"', '"local",')],
      ['a missing quote', '"info",', '"info,', replace('"level"', 'info,', 'info",')],
      ['a missing brace', 'false } } },', 'false } },', replace('"sleeping"', '} },', '} } },')],
      ['a missing colon', '"level": ', '"level" ', replace('"level"', '"level" ', '"level": ')],
      [
        'a bracket too many',
        '"slack": { "enabled": false }',
        '"slack": { "enabled": false }]',
        replace('"slack"', '}]', '}'),
      ],
    ] as const
  ).map(
    ([intent, piece, by, repair]) =>
      [intent, /^Done/, repair, broken(piece, by), repaired] as (typeof LEGITIMATE)[number],
  ),
  [
    'gateway.mode is missing',
    /^Done/,
    'set gateway.mode "local"',
    changed('    "mode": "local",\n', ''),
    becomes('gateway.mode', 'local'),
  ],
  [
    'a section that OpenClaw does not know',
    /^Done/,
    'unset legacy',
    changed('"session":', '"legacy": { "a": 1 },\n  "session":'),
    becomes('legacy', undefined),
  ],
  [
    'a setting that OpenClaw does not know',
    /^Done/,
    'unset agents.defaults.bogus',
    changed('"timeoutSeconds": 600,', '"timeoutSeconds": 600, "bogus": 1,'),
    becomes('agents.defaults.bogus', undefined),
  ],
  ...(
    [
      ['another model', 'agents.defaults.model.primary', 'anthropic/claude-opus-9'],
      ['other models in reserve', 'agents.defaults.model.fallbacks', ['a/b', 'c/d']],
      ['a longer timeout', 'agents.defaults.timeoutSeconds', 900],
      ['a longer timeout of a provider', 'models.providers.openai.timeoutSeconds', 120],
      ['more in the log', 'logging.level', 'debug'],
      ['fewer at once', 'agents.defaults.maxConcurrent', 1],
      ['a broken plugin off', 'plugins.entries.broken.enabled', false],
      ['a broken channel off', 'channels.telegram.enabled', false],
      ['what stood there when it was healthy', 'messages.queue.mode', 'collect'],
    ] as const
  ).map(
    ([intent, path, value]) =>
      [
        intent,
        /^Done/,
        `set ${path} ${JSON.stringify(value)}`,
        undefined,
        becomes(path, value),
      ] as (typeof LEGITIMATE)[number],
  ),
  ['the log level back to the default', /^Done/, 'unset logging.level', undefined, becomes('logging.level', undefined)],
  [
    'the port that is watched',
    /^Done/,
    'set gateway.port "{port}"',
    ({ box, config }) => writeFileSync(box.configPath, config.replace(`"port": ${box.port}`, '"port": 1878')),
    () => expect(at('gateway.port')).toBe(world.box.port),
  ],
  [
    'the package again at its version',
    /done; it said[\s\S]*changed 1 package/,
    'reinstall_package',
    npm,
    ran('install -g openclaw@2026.9.6'),
  ],
  ['its native modules again', /done; it said/, 'rebuild_native_modules', npm, ran('rebuild --prefix {package}')],
  [
    'OpenClaw’s own repair',
    /\| OpenClaw doctor/,
    'openclaw_doctor_fix',
    undefined,
    called('doctor --fix --yes --non-interactive'),
  ],
  [
    'the service’s definition again',
    /\| Installed/,
    'refresh_service_definition',
    ({ supervise, box }) => {
      supervise()
      box.planCli({ 'gateway install': { stdout: 'Installed\n' } })
    },
    called('gateway install --force'),
  ],
  ['end a gateway that hangs', /has ended/, 'end_gateway_process {"pid":"{gateway}"}', ({ hang }) => hang()],
  ['start it', /^healthy/, `start_gateway ; ${READY}`],
  [
    'start it through its supervisor',
    /^healthy/,
    `start_gateway ; ${READY}`,
    supervised(),
    ({ instruments }) =>
      expect(instruments.log().join('\n')).toMatch(
        /restart: systemctl --user reset-failed \+ start openclaw-gateway\.service/,
      ),
  ],
  [
    'restart one that hangs',
    /Now wait_until_healthy/,
    'restart_gateway',
    ({ hang }) => hang(),
    async ({ box }) => {
      box.setFaults({})
      expect((await call(callsOf(READY)[0]!)).text).toMatch(/^healthy/)
    },
  ],
  ['wait for one that starts', /^healthy/, READY, ({ box }) => box.startGateway({ startingMs: 1000 }, 'listening')],
  [
    'write the report',
    /report is written/,
    `write_report ${REPORT}`,
    undefined,
    reportSays(/## Root cause\n\na comma[\s\S]*look for commas/),
  ],
  [
    'say that a human is needed',
    /report is written/,
    `write_report ${NEEDED}`,
    undefined,
    reportSays(/## For a human\n\nIt has the port\./),
  ],
]

describe('legitimate: there is an instrument, and it does it', () => {
  test('the table holds what it did', () => expect(LEGITIMATE.length).toBeGreaterThanOrEqual(65))

  test.each(LEGITIMATE)('%s', async (_intent, says, calls, given, after) => {
    await world.reset()
    await given?.(world)
    let last = ''
    for (const one of callsOf(calls)) {
      const answer = await call(one)
      expect(answer.isError, `${one}: ${answer.text}`).toBe(false)
      expect(leaksIn(answer)).toEqual([])
      last = answer.text
    }
    expect(last).toMatch(says)
    await after?.(world)
    const allowed = world.instruments.log().filter((line) => line.includes('INSTRUMENT allowed '))
    expect(allowed.length).toBeGreaterThanOrEqual(callsOf(calls).length)
  })
})

test('no text in any argument of any instrument becomes part of a command', async () => {
  await world.reset()
  const canary = join(world.box.root, 'canary')
  const touch = `touch ${canary}`
  const payloads = [
    `$(${touch})\`${touch}\`; ${touch} & ${touch} | ${touch}\n${touch}\n`,
    `'; ${touch}; '"; ${touch}; "`,
    `--output=${canary}`,
    `../../../../../../..${canary}`,
    `\${process.mainModule.require('fs').writeFileSync('${canary}','')}`,
  ]
  interface Schema {
    type: unknown
    enum?: string[]
  }
  interface Tool {
    name: string
    inputSchema: { properties: Record<string, Schema>; required: string[] }
  }
  const harmless = (name: string, { type, enum: choices }: Schema): unknown => {
    if (choices) return choices[0]
    if (type === 'integer') return 1
    return name === 'log' ? 'gateway.log' : name === 'path' ? 'agents.defaults.model.primary' : 'x'
  }
  const { tools } = (await world.instruments.request('tools/list')).result as { tools: Tool[] }
  for (const { name, inputSchema } of tools)
    for (const [argument, { type, enum: choices }] of Object.entries(inputSchema.properties)) {
      if (type !== 'string' && !Array.isArray(type)) continue
      if (name === 'read_journal') world.supervise('a journal')
      for (const payload of payloads) {
        // All else is as it should be, so that this argument is what is judged.
        const needed = Object.entries(inputSchema.properties).filter(([other]) => inputSchema.required.includes(other))
        const args = Object.fromEntries(needed.map(([other, schema]) => [other, harmless(other, schema)]))
        world.instruments.reset()
        const answer = await world.instruments.call(name, { ...args, [argument]: payload })
        if (choices) expect(answer.isError, `${name} ${argument}`).toBe(true)
        expect(existsSync(canary), `${name} ${argument} ${payload}`).toBe(false)
      }
    }
})
