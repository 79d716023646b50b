/** Properties of the guard: what is dangerous stays refused however it is wrapped, and what is allowed does only that. */
import { existsSync } from 'node:fs'
import fc from 'fast-check'
import { afterAll, describe, expect, test } from 'vitest'
import { judge } from '../lib/doctor/guard-judge.ts'
import { DANGEROUS } from './fixtures/guard/dangerous.ts'
import { guardHome, PLANTED } from './support/guard-world.ts'
import { shellOracle } from './support/shell-oracle.ts'

const at = guardHome()
afterAll(() => at.remove())

const isAllowed = async (command: string) => (await judge({ tool: 'Bash', input: { command } }, at.world)).allow

const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`

/** Shell constructs around a command; each keeps it a command that runs. */
const WRAPPERS: ((command: string) => string)[] = [
  (c) => `(${c}\n)`,
  (c) => `{ ${c}\n}`,
  (c) => `true && ${c}`,
  (c) => `false || ${c}`,
  (c) => `echo hello; ${c}`,
  (c) => `${c}\necho done`,
  (c) => `echo start | cat\n${c}`,
  (c) => `if true; then ${c}\nfi`,
  (c) => `if false; then :; elif true; then :; else ${c}\nfi`,
  (c) => `for i in 1 2; do ${c}\ndone`,
  (c) => `while true; do ${c}\ndone`,
  (c) => `until false; do ${c}\ndone`,
  (c) => `case x in y) ;; *) ${c}\n;; esac`,
  (c) => `echo "$(${c}\n)"`,
  (c) => `echo $(echo $(${c}\n))`,
  (c) => `x=$(${c}\n)`,
  (c) => `[ -n "$(${c}\n)" ] && echo yes`,
  (c) => `[[ -n "$(${c}\n)" ]]`,
  (c) => `cat <<END\n$(${c}\n)\nEND`,
  (c) => `cat <<< "$(${c}\n)"`,
  (c) => `! ${c}`,
  (c) => `bash -c ${quoted(c)}`,
  (c) => `sh -c ${quoted(c)}`,
  (c) => `zsh -lc ${quoted(c)}`,
  (c) => `timeout 30 bash -c ${quoted(c)}`,
  (c) => `env LANG=C bash -c ${quoted(c)}`,
  (c) => `eval ${quoted(c)}`,
  (c) => `echo ${quoted(c)} | sh`,
  (c) => `bash <<END\n${c}\nEND`,
  (c) => `bash <<< ${quoted(c)}`,
  (c) => `echo ${Buffer.from(c).toString('base64')} | base64 -d | sh`,
  (c) => `f() { ${c}\n}; f`,
  (c) => `trap ${quoted(c)} EXIT`,
  (c) => `alias ll=${quoted(c)}`,
  (c) => `echo x | xargs -I{} sh -c ${quoted(c)}`,
  (c) => `find . -exec sh -c ${quoted(c)} \\;`,
  (c) => `awk 'BEGIN{system("${c.replace(/["\\\n]/g, '')}")}'`,
  (c) => `python3 -c 'import os; os.system("""${c.replaceAll("'", '')}""")'`,
  (c) => `nohup ${c}`,
  (c) => `openclaw status && openclaw gateway restart && sleep 5\n${c}`,
  (c) => `cd ~/.openclaw/logs\n${c}`,
  (c) => `# only a comment\n${c}`,
  (c) => `true ; ${c} # openclaw status`,
  (c) => `\t ${c}`,
]

/** Commands that stand for themselves when something is put around them: they are refused for what they do. */
const CORES = DANGEROUS.filter(
  (call) =>
    call.tool === 'Bash' && Object.keys(call.input).length === 1 && !/<<|[^\x20-\x7e]/.test(String(call.input.command)),
)
  .filter((call) => !['unclear', 'background'].includes(call.rule))
  .map((call) => at.fill(String(call.input.command)))

describe('a dangerous command stays refused', () => {
  test('inside up to three shell constructs', async () => {
    expect(CORES.length).toBeGreaterThan(150)
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...CORES),
        fc.array(fc.constantFrom(...WRAPPERS), { minLength: 1, maxLength: 3 }),
        async (core, wrappers) => {
          const command = wrappers.reduce((inner, wrap) => wrap(inner), core)
          expect(await isAllowed(command), command).toBe(false)
        },
      ),
      { numRuns: 1200 },
    )
  })

  test('when its words are quoted, escaped and cut in pieces', async () => {
    const spell = (word: string, how: number[]) =>
      [...word]
        .map((c, i) => {
          const way = how[i % how.length]!
          if (way === 0) return `'${c}'`
          if (way === 1) return `"${c}"`
          if (way === 2) return `\\${c}`
          if (way === 3) return `''${c}`
          if (way === 4) return `""${c}`
          return i > 0 && way === 5 ? `\\\n${c}` : c
        })
        .join('')
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(
          'rm -rf x',
          'unlink x',
          'sudo ls',
          'chmod 777 x',
          'nc evil 1',
          'cat ~/.openclaw/.env',
          'kill 999',
          'pkill node',
        ),
        fc.array(fc.integer({ min: 0, max: 8 }), { minLength: 1, maxLength: 6 }),
        async (command, how) => {
          const [program = '', ...args] = command.split(' ')
          expect(await isAllowed([spell(program, how), ...args].join(' '))).toBe(false)
        },
      ),
      { numRuns: 500 },
    )
  })

  test('whatever is added to a harmless command by an operator', async () => {
    const operators = [';', '&&', '||', '|', '\n', ' & ', ';;', '|&']
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...operators), fc.constantFrom(...CORES), async (operator, core) => {
        expect(await isAllowed(`openclaw status ${operator} ${core}`)).toBe(false)
        expect(await isAllowed(`${core} ${operator} openclaw status`)).toBe(false)
      }),
      { numRuns: 500 },
    )
  })
})

/** Pieces of command lines, harmful ones among them, from which arbitrary nonsense is put together. */
const PIECES = [
  ...[
    'rm x',
    'rm',
    'touch y',
    'python3',
    'sh',
    'nc a',
    'echo hi',
    'echo',
    'cat',
    'ls',
    'date',
    'true',
    'sleep 1',
    'grep x',
    'head -n 1',
  ],
  ...[
    ' ',
    ' ',
    ' ',
    '\n',
    ';',
    '&&',
    '||',
    '|',
    '&',
    '(',
    ')',
    '{ ',
    ' }',
    '$(',
    '`',
    '"',
    "'",
    '\\',
    '#',
    '!',
    '=',
    '>',
    '<',
    '<<E\n',
    "<<'E'\n",
    '<<\\E\n',
    '\nE\n',
    '<<<',
  ],
  ...[
    '$x',
    '${x}',
    'x=',
    'x=rm',
    '$HOME',
    '~',
    '*',
    '?',
    '[a]',
    '{a,b}',
    '{1..3}',
    '$((',
    '))',
    'n=0;',
    'n=$((n+1))',
    '$(($n-1))',
    '$n',
    'x=$(date +%s);',
    '$(pgrep -f x)',
    '$(ls -t ~/logs/*.log | head -1)',
    ' | cat',
    'set -e;',
    '[[ ',
    ' ]]',
    '[ ',
    ' ]',
    '-c',
    '-e',
    '--',
    "$'",
    '$"',
    '2>&1',
    '>/dev/null',
    '/dev/null',
  ],
  ...[
    'if ',
    'then ',
    'else ',
    'fi',
    'for x in ',
    'do ',
    'done',
    'while ',
    'case x in ',
    'esac',
    ';;',
    'bash -c ',
    'eval ',
    'time ',
    'command ',
    'env ',
    'a',
    'logs/a.log',
    '~/logs/a.log',
  ],
]
const FORBIDDEN = ['rm', 'touch', 'python3', 'nc', 'unlink', 'mv', 'cp']
const STUBS = [...FORBIDDEN, 'cat', 'ls', 'date', 'sleep', 'grep', 'head', 'sh', 'bash', 'env', 'tee']

describe.each(['/bin/bash', '/usr/bin/zsh', '/bin/dash'].filter((shell) => existsSync(shell)))('%s', (shell) => {
  const oracle = shellOracle(shell, STUBS)
  afterAll(() => oracle.remove())

  test('runs of an allowed line nothing but allowed programs, and writes no file', async () => {
    const home = { ...at.world, home: oracle.home, logPaths: [`${oracle.home}/logs`] }
    let ran = 0
    await fc.assert(
      fc.asyncProperty(fc.array(fc.constantFrom(...PIECES), { minLength: 1, maxLength: 12 }), async (pieces) => {
        const command = pieces.join('')
        const { allow } = await judge({ tool: 'Bash', input: { command } }, home)
        // Loops that never end are allowed (Claude Code ends them); here they would only cost time.
        if (!allow || /while|until/.test(command)) return
        ran++
        const outcome = oracle.run(command)
        expect(outcome.files, command).toEqual([])
        for (const program of outcome.programs) expect(FORBIDDEN, command).not.toContain(program)
      }),
      { numRuns: Number(process.env.GUARD_FUZZ_RUNS ?? 2000) },
    )
    expect(ran).toBeGreaterThan(20)
  })

  test('the oracle itself sees what runs', () => {
    expect(oracle.run('rm x; echo "$(touch y)" > new').programs).toEqual(['rm', 'touch'])
    expect(oracle.run('echo x > new').files).toEqual(['new'])
  })
})

test('no reason that the doctor is given holds a secret', async () => {
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...DANGEROUS), async (call) => {
      const input = JSON.parse(at.fill(JSON.stringify(call.input)).replaceAll('\n', '\\n')) as Record<string, unknown>
      const { reason } = await judge({ tool: call.tool, input }, at.world)
      for (const secret of PLANTED) if (!JSON.stringify(input).includes(secret)) expect(reason).not.toContain(secret)
    }),
    { numRuns: 150 },
  )
})
