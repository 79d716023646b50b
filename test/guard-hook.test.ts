/** The guard as Claude Code runs it: a process that gets a call on standard input and answers with JSON, or blocks. */
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { readGuardContext } from '../lib/doctor/guard-context.ts'
import { guardCommand, guardHooks, hideCommand, hidingHooks, isAnswer, readCall } from '../lib/doctor/guard-hook.ts'
import { judge } from '../lib/doctor/guard-judge.ts'
import { inputThatSucceeds } from '../lib/doctor/guard-output.ts'
import { decisionsIn, prepare } from '../lib/doctor/guard-record.ts'
import { CONFIG_TEXT, type GuardHome, guardHome } from './support/guard-world.ts'

let at: GuardHome
let contextPath: string

beforeEach(() => {
  at = guardHome()
  contextPath = join(at.world.runFolder, 'context.json')
  const { secrets: _secrets, isGatewayProcess: _proof, uid: _uid, ...context } = at.world
  writeFileSync(contextPath, JSON.stringify(context))
})
afterEach(() => at.remove())

/** Runs the hook's command line in a shell, as Claude Code does. */
function ask(input: unknown, { command = guardCommand(contextPath), env = {} } = {}) {
  const run = spawnSync('/bin/sh', ['-c', command], {
    cwd: '/',
    env: { PATH: process.env.PATH, HOME: at.home, ...env },
    input: typeof input === 'string' ? input : JSON.stringify(input),
    encoding: 'utf8',
    timeout: 120_000,
  })
  const answer = run.stdout ? JSON.parse(run.stdout).hookSpecificOutput : undefined
  return {
    code: run.status,
    stdout: run.stdout,
    stderr: run.stderr,
    decision: answer?.permissionDecision,
    updatedInput: answer?.updatedInput,
    reason: answer?.permissionDecisionReason,
  }
}

const bash = (command: string) => ({
  session_id: 'x',
  cwd: '/',
  tool_name: 'Bash',
  tool_input: { command },
  hook_event_name: 'PreToolUse',
})
const log = () => readFileSync(at.world.recoveryLogPath, 'utf8')

describe('a call is judged', () => {
  test('allowed and refused, each with one line of JSON, exit 0, and one line in the recovery log', () => {
    const allowed = ask(bash('openclaw status'))
    const refused = ask(bash('rm -rf ~/.openclaw'))
    expect(allowed).toMatchObject({ code: 0, decision: 'allow', stderr: '' })
    expect(refused).toMatchObject({ code: 0, decision: 'deny', stderr: '' })
    expect(refused.reason).toMatch(/Refused: .*rm.*human.*report/)
    expect(allowed.stdout.trim().split('\n')).toHaveLength(1)
    expect(decisionsIn(log())).toMatchObject([
      { allow: true, tool: 'Bash', rule: 'diagnose', call: 'openclaw status' },
      { allow: false, tool: 'Bash', rule: 'delete', call: 'rm -rf ~/.openclaw' },
    ])
    expect(statSync(at.world.recoveryLogPath).mode & 0o777).toBe(0o600)
  })

  test('a call cannot forge a line of the log, and its secrets are not in it', () => {
    ask(bash('rm x\n[2026-11-22T00:00:00+00:00] [emergency-recovery] [INFO] RECOVERED by level 3 after 1 s'))
    ask({ ...bash('echo planted-gateway-token-1'), tool_name: 'Evil [x] `\nMANUAL' })
    const lines = log().trimEnd().split('\n')
    expect(lines).toHaveLength(2)
    for (const line of lines) expect(line).toMatch(/^\[[^\]]+\] \[emergency-recovery\] \[WARN\] GUARD refused /)
    expect(log()).not.toContain('planted-gateway-token-1')
    expect(decisionsIn(log())).toHaveLength(2)
  })

  test('before the config is edited a copy of it is kept, one for every state', () => {
    const edit = { file_path: at.world.configPath, old_string: '"info"', new_string: '"debug"' }
    expect(ask({ ...bash(''), tool_name: 'Edit', tool_input: edit }).decision).toBe('allow')
    prepare(['edit-config'], at.world)
    writeFileSync(at.world.configPath, CONFIG_TEXT.replace('"info"', '"debug"'))
    prepare(['edit-config'], at.world)
    prepare(['read'], at.world)
    const copies = readdirSync(at.world.runFolder).filter((name) => name.startsWith('config-before-'))
    expect(copies.sort()).toEqual(['config-before-1-openclaw.json', 'config-before-2-openclaw.json'])
    expect(readFileSync(join(at.world.runFolder, copies[0]!), 'utf8')).toBe(CONFIG_TEXT)
    for (const name of copies) expect(statSync(join(at.world.runFolder, name)).mode & 0o777).toBe(0o600)
  })

  test("OpenClaw's own repair may run once", async () => {
    const repair = { tool: 'Bash', input: { command: 'openclaw doctor --fix --non-interactive' } }
    const first = await judge(repair, at.world)
    expect(first.allow).toBe(true)
    prepare(first.rules, at.world)
    expect((await judge(repair, at.world)).allow).toBe(false)
    expect(readdirSync(at.world.runFolder)).toContain('config-before-1-openclaw.json')
  })

  test('secrets of .env and config are known to it, and short everyday words are not taken for secrets', () => {
    writeFileSync(join(at.home, '.openclaw/.env'), 'OPENCLAW_GATEWAY_PASSWORD=openclaw\nX_TOKEN=sEcret-9-env\n')
    expect(ask(bash('openclaw status')).decision).toBe('allow')
    expect(ask(bash('echo sEcret-9-env planted-bot-token-3')).decision).toBe('deny')
    expect(log()).toContain('echo [REDACTED] [REDACTED]')
  })
})

describe('a process is ended only when it is the gateway', () => {
  test('a stranger is not, and neither is a process that only calls itself so', async () => {
    const stranger = spawn('sleep', ['300'])
    // Named like a gateway, but it holds no lock of this state folder, no supervisor has it, and the port is not its.
    const titled = "process.title = 'openclaw-gateway'; console.log('up'); setTimeout(() => {}, 300_000)"
    const namesake = spawn(process.execPath, ['-e', titled])
    await new Promise((resolve) => namesake.stdout.once('data', resolve))
    try {
      expect(ask(bash(`kill -9 ${namesake.pid}`)).decision).toBe('deny')
      const locks = join(at.world.stateDir, 'tmp', `openclaw-${process.getuid?.()}`)
      mkdirSync(locks, { recursive: true })
      writeFileSync(
        join(locks, 'gateway.x.lock'),
        JSON.stringify({ pid: namesake.pid, configPath: at.world.configPath }),
      )
      expect(ask(bash(`kill -9 ${namesake.pid}`)).decision).toBe('allow')
      expect(ask(bash(`kill ${namesake.pid} ${stranger.pid}`)).decision).toBe('deny')
    } finally {
      stranger.kill()
      namesake.kill()
    }
  })
})

describe('when the guard fails, the call is refused', () => {
  test.each([
    ['nothing', ''],
    ['no JSON', 'hello'],
    ['no object', '[]'],
    ['no tool', '{"tool_input":{}}'],
    ['no input', '{"tool_name":"Bash"}'],
    ['an input of another kind', '{"tool_name":"Bash","tool_input":"ls"}'],
  ])('a hook input with %s is not understood', (_what, input) => {
    expect(() => readCall(input)).toThrow()
  })

  test.each([
    ['is missing', () => rmSync(contextPath)],
    ['is no JSON', () => writeFileSync(contextPath, 'x')],
    ['lacks a path', () => writeFileSync(contextPath, '{"runFolder":"/x"}')],
    [
      'holds a relative path',
      () => writeFileSync(contextPath, readFileSync(contextPath, 'utf8').replace('"reportPath":"/', '"reportPath":"')),
    ],
  ])('a context that %s is not used', (_what, damage) => {
    expect(() => readGuardContext(contextPath)).not.toThrow()
    damage()
    expect(() => readGuardContext(contextPath)).toThrow()
  })

  test('bad input, no context, unusable settings, a log that cannot be written: each is a deny', () => {
    expect(ask('hello')).toMatchObject({ code: 0, decision: 'deny' })
    expect(decisionsIn(log())).toMatchObject([{ allow: false, rule: 'guard-failed' }])
    expect(ask(bash('openclaw status'), { env: { HEALTH_CHECK_RETRY_DELAY: 'abc' } })).toMatchObject({
      decision: 'deny',
    })
    rmSync(at.world.recoveryLogPath)
    mkdirSync(at.world.recoveryLogPath)
    expect(ask(bash('openclaw status'))).toMatchObject({ code: 0, decision: 'deny' })
    rmSync(contextPath)
    expect(ask(bash('openclaw status'))).toMatchObject({ code: 0, decision: 'deny' })
  })

  test('an edit whose copy cannot be made, because its place is taken', () => {
    mkdirSync(join(at.world.runFolder, 'config-before-1-openclaw.json'))
    expect(() => prepare(['edit-config'], at.world)).toThrow()
  })

  test('it hangs: it is killed at its limit', () => {
    // A context that never ends to be read.
    rmSync(contextPath)
    expect(spawnSync('mkfifo', [contextPath]).status).toBe(0)
    const command = guardCommand(contextPath).replace("'25'", "'2'")
    expect(command).toContain("'2'")
    expect(ask(bash('openclaw status'), { command })).toMatchObject({ code: 0, decision: 'deny' })
  })

  test.each([
    ['its program is gone', (command: string) => command.replace('doctor-guard.ts', 'nowhere.ts')],
    ['Node is gone', (command: string) => command.replace(/^'[^']*'/, "'/nowhere/node'")],
    ['it crashes at once', (command: string) => command.replace(/^('[^']*')/, '$1 -e "process.abort()"')],
    ['it ends with another exit code', (command: string) => command.replace(/^('[^']*')/, '$1 -e "process.exit(13)"')],
  ])('%s: exit code 2, which blocks the call', (_what, change) => {
    const command = change(guardCommand(contextPath))
    expect(command).not.toBe(guardCommand(contextPath))
    const run = ask(bash('openclaw status'), { command })
    expect(run).toMatchObject({ code: 2, stdout: '' })
    expect(run.stderr).toContain('refused')
  })
})

describe('what a tool answered reaches the model', () => {
  const answered = (tool_response: unknown) => {
    const input = { hook_event_name: 'PostToolUse', tool_name: 'Read', tool_input: {}, tool_response }
    const run = ask(input, { command: hideCommand(contextPath) })
    expect(run).toMatchObject({ code: 0, stderr: '' })
    return run.stdout === '' ? undefined : JSON.parse(run.stdout).hookSpecificOutput
  }

  test('in its own shape, without the config’s secrets', () => {
    const secret = /"token":\s*"([^"]+)"/.exec(CONFIG_TEXT)![1]!
    const output = answered({
      type: 'text',
      file: { content: CONFIG_TEXT, numLines: 12 },
      lines: [secret, 3, null, true],
    })
    expect(JSON.stringify(output)).not.toContain(secret)
    expect(output).toMatchObject({
      hookEventName: 'PostToolUse',
      updatedToolOutput: { type: 'text', file: { numLines: 12 }, lines: [expect.any(String), 3, null, true] },
    })
    expect(output.updatedToolOutput.file.content).toContain('"gateway"')
  })

  test('untouched when there is no secret in it', () => {
    expect(answered({ stdout: 'gateway is stopped', stderr: '', interrupted: false })).toBeUndefined()
    expect(answered(undefined)).toBeUndefined()
  })
})

describe('a command that fails is run so that its call succeeds, because only then its output can be hidden', () => {
  /** As Claude Code runs it: an eval in the user's shell, whose folder it asks for afterwards. */
  function run(shell: string, command: string) {
    const { command: wrapped } = inputThatSucceeds({ tool: 'Bash', input: { command } })!
    const done = spawnSync(shell, ['-c', 'eval "$COMMAND" < /dev/null && pwd'], {
      cwd: at.home,
      env: { PATH: process.env.PATH, COMMAND: String(wrapped) },
      encoding: 'utf8',
    })
    expect(done.status, done.stderr).toBe(0)
    return done.stdout.replace(`${at.home}\n`, '<end>')
  }

  const shells = ['bash', 'zsh', 'sh'].filter((shell) => spawnSync(shell, ['-c', ':']).status === 0)

  test.each([
    ['one that succeeds says nothing more', 'echo a', 'a\n<end>'],
    ['a failure', 'echo a; false', 'a\n[exit code 1]\n<end>'],
    ['exit', 'echo a; exit 3; echo b', 'a\n[exit code 3]\n<end>'],
    ['a comment at the end', 'false # not the end', '[exit code 1]\n<end>'],
    ['a line that is continued', 'echo a \\\n  && false', 'a\n[exit code 1]\n<end>'],
    ['a here-document', "cat <<'EOF'\nit's ) a \"doc\nEOF", 'it\'s ) a "doc\n<end>'],
    ['a here-document in a pipe', 'cat <<EOF | grep b\na\nEOF', '[exit code 1]\n<end>'],
    ['a subshell', '(echo a; exit 2)', 'a\n[exit code 2]\n<end>'],
    ['a loop', 'for x in a b; do echo $x; [ $x = a ]; done', 'a\nb\n[exit code 1]\n<end>'],
    [
      'an error that ends the shell',
      'echo a; echo ${NOBODY:?}',
      expect.stringMatching(/^a\n\[exit code \d+\]\n<end>$/),
    ],
    ['another folder', 'cd / && pwd', '/\n<end>'],
  ])('%s', (_what, command, expected) => {
    for (const shell of shells) expect(run(shell, command), shell).toEqual(expected)
  })

  test('the guard says so to the releases that do it, and notes the doctor’s own command', () => {
    const command = guardCommand(contextPath, ['hides-output'])
    const input = { command: 'openclaw status', description: 'Looks', timeout: 5000 }
    expect(ask({ ...bash(''), tool_input: input }, { command }).updatedInput).toEqual({
      ...input,
      command: '(\nopenclaw status\n) || echo "[exit code $?]"',
    })
    expect(ask(bash('rm -rf ~/.openclaw'), { command })).toMatchObject({ decision: 'deny', updatedInput: undefined })
    expect(decisionsIn(log()).map(({ call }) => call)).toEqual(['openclaw status', 'rm -rf ~/.openclaw'])
    expect(ask(bash('openclaw status')).updatedInput).toBeUndefined()
    const read = { ...bash(''), tool_name: 'Read', tool_input: { file_path: at.world.reportPath } }
    expect(ask(read, { command })).toMatchObject({ decision: 'allow', updatedInput: undefined })
    expect(JSON.stringify(hidingHooks(contextPath).PreToolUse)).toContain('hides-output')
  })
})

test('the hook stands for every tool, blocks when it fails, and gives the guard more time than the guard takes', () => {
  const [entry] = guardHooks('/a b/context.json').PreToolUse as { matcher: string; hooks: Record<string, unknown>[] }[]
  expect(entry?.matcher).toBe('*')
  expect(entry?.hooks).toHaveLength(1)
  expect(entry?.hooks[0]).toMatchObject({ type: 'command', onFailure: 'block' })
  expect(entry?.hooks[0]?.timeout).toBeGreaterThan(60)
  expect(entry?.hooks[0]?.command).toContain(`'/a b/context.json'`)
  expect(existsSync(guardCommand('/x').match(/'([^']*doctor-guard\.ts)'/)![1]!)).toBe(true)
  expect(isAnswer('{"hookSpecificOutput":{"permissionDecision":"maybe"}}')).toBe(false)
})
