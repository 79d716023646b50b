/** The npm commands, as they are typed: with real npm, in copies of the checkout that have no packages yet. */
import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { expect, type TestContext } from 'vitest'
import { which } from 'zx'
import { test } from '../support/boxes.ts'
import { copyCheckout } from '../support/checkout.ts'
import { createMachine } from '../support/machine.ts'
import { projectDir } from '../support/sandbox.ts'

const { engines, scripts, version } = JSON.parse(readFileSync(join(projectDir, 'package.json'), 'utf8'))

/** Since npm 12 what it does not know is refused. */
const keepsFlags = Number.parseInt(execFileSync('npm', ['--version'], { encoding: 'utf8' }), 10) < 12

/** A clone. Its npm installs by a link to the packages of this checkout; all else is real. */
async function clone(onTestFinished: TestContext['onTestFinished'], options: { absent?: string[] } = {}) {
  const machine = await createMachine('linux', options)
  onTestFinished(machine.close)
  const { root } = copyCheckout(join(machine.root, 'clone'))
  const packages = join(root, 'node_modules')
  rmSync(packages)
  cpSync(join(projectDir, 'package-lock.json'), join(root, 'package-lock.json'))
  const [calls, failure] = ['npm-calls', 'npm-failure'].map((name) => join(machine.root, name)) as [string, string]
  machine.addTool(
    'npm',
    `case $1 in ci | install) ;; *) exec '${which.sync('npm')}' "$@" ;; esac
printf '%s\\n' "$*" >>'${calls}'
[ ! -e '${failure}' ] || { cat '${failure}' >&2; exit 1; }
sleep 1
ln -s '${join(projectDir, 'node_modules')}' '${packages}'`,
  )
  const env = { ...machine.env, npm_config_cache: join(machine.root, 'npm'), npm_config_update_notifier: 'false' }
  const run = async (words: string, more: Record<string, string> = {}) => {
    const result = await execa('npm', words.split(' '), {
      cwd: root,
      env: { ...env, ...more },
      extendEnv: false,
      reject: false,
      preferLocal: false,
    })
    return { code: result.exitCode, stdout: result.stdout, stderr: result.stderr }
  }
  const installations = () => (existsSync(calls) ? readFileSync(calls, 'utf8').trim().split('\n') : [])
  /** With which installing fails from now on. */
  const breakNpm = (text: string) => writeFileSync(failure, text)
  return { machine, root, run, installations, breakNpm }
}

test('on a fresh clone a command installs what it needs, once; with what was given behind -- it runs', async ({
  onTestFinished,
}) => {
  const { machine, run, installations } = await clone(onTestFinished)
  const before = machine.listing()
  const first = await run('run --silent setup -- --dry-run')
  expect(first, first.stderr).toMatchObject({ code: 0, stderr: expect.stringContaining('package-lock.json') })
  expect(installations()).toEqual([expect.stringMatching(/^ci .*--omit=dev/)])
  expect(machine.listing()).toEqual(before)
  expect(await run('run --silent setup -- --dry-run')).toEqual({ ...first, stderr: '' })
  expect(await run('run typecheck -- --version')).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^Version /m),
  })
  expect(installations()).toHaveLength(1)
})

test('what the tests need is installed with the packages for development; one that is missing or old is added', async ({
  onTestFinished,
}) => {
  const { root, run, installations } = await clone(onTestFinished)
  expect((await run('run typecheck -- --version')).code).toBe(0)
  const lock = join(root, 'package-lock.json')
  const newer = JSON.parse(readFileSync(lock, 'utf8'))
  newer.packages['node_modules/vitest'].version = '999.0.0'
  writeFileSync(lock, JSON.stringify(newer))
  expect((await run('run report')).code).toBe(0)
  expect((await run('run typecheck')).code).toBe(2)
  expect(installations()).toEqual([
    expect.stringMatching(/^ci .*--include=dev/),
    expect.stringMatching(/^install --no-save .*--include=dev/),
  ])
})

test('packages of another version are exchanged by the setup, and not by a look at its plan', async ({
  onTestFinished,
}) => {
  const { root, run, installations } = await clone(onTestFinished)
  expect((await run('run setup -- --dry-run')).code).toBe(0)
  const lock = join(root, 'package-lock.json')
  const newer = JSON.parse(readFileSync(lock, 'utf8'))
  newer.packages['node_modules/dotenv'].version = '999.0.0'
  writeFileSync(lock, JSON.stringify(newer))
  const plan = await run('run --silent setup -- --dry-run')
  expect(plan).toMatchObject({ code: 0, stdout: expect.stringMatching(/npm ci: .*dotenv/) })
  expect(installations()).toHaveLength(1)
})

test('two at once: one installs, the other waits for it', async ({ onTestFinished }) => {
  const { root, run, installations } = await clone(onTestFinished)
  const runs = await Promise.all([run('run setup -- --dry-run'), run('run setup -- --help')])
  expect(runs.map(({ code }) => code)).toEqual([0, 0])
  expect(installations()).toHaveLength(1)
  expect(existsSync(join(root, '.npm-installing'))).toBe(false)
})

test.for([
  ['npm error code ENOTFOUND\nnpm error network request to https://registry.invalid/zx failed', /network/],
  ["npm error code EACCES\nnpm error Error: EACCES: permission denied, mkdir '/srv/x'", /cannot be written/],
  ['npm error code E500\nnpm error 500 Internal Server Error', /500 Internal/],
] as const)(
  'packages that cannot be installed are told in one sentence: %s',
  async ([output, sentence], { onTestFinished }) => {
    const { machine, run, breakNpm } = await clone(onTestFinished)
    breakNpm(output)
    const before = machine.listing()
    const { code, stderr } = await run('run --silent setup -- --yes')
    expect(code).toBe(2)
    expect(stderr.trim().split('\n')).toEqual([expect.any(String), expect.stringMatching(sentence)])
    expect(machine.listing()).toEqual(before)
  },
)

test('every command but the sum of others begins with the front; a Node that is too old is told in one sentence', async ({
  onTestFinished,
}) => {
  const without = Object.entries<string>(scripts).filter(([, line]) => !line.startsWith('node scripts/npm.cjs'))
  expect(without.map(([name]) => name)).toEqual(['bench'])
  const launcher = readFileSync(join(projectDir, 'scripts', 'run-tier.sh'), 'utf8')
  expect(engines.node).toBe(`>=${/^LOWEST_NODE=(.*)$/m.exec(launcher)?.[1]}.0`)
  const { machine, root, installations } = await clone(onTestFinished)
  const old = join(machine.root, 'old.cjs')
  writeFileSync(old, "Object.defineProperty(process.versions, 'node', { value: '20.18.3' })")
  const argv = ['--require', old, join(root, 'scripts', 'npm.cjs'), 'install.ts']
  const { exitCode, stderr } = await execa(process.execPath, argv, {
    env: machine.env,
    extendEnv: false,
    reject: false,
  })
  expect([exitCode, stderr]).toEqual([2, expect.stringMatching(/^[^\n]*20\.19[^\n]*20\.18\.3[^\n]*$/)])
  expect(installations()).toEqual([])
})

test('what only the system has is named before anything runs', async ({ onTestFinished }) => {
  const { root, run, installations } = await clone(onTestFinished, { absent: ['tmux'] })
  cpSync(join(projectDir, 'test', 'demo'), join(root, 'test', 'demo'), { recursive: true })
  for (const words of ['test', 'run test:process', 'run demo'])
    expect(await run(`--silent ${words}`)).toMatchObject({ code: 2, stderr: expect.stringMatching(/install .*tmux/) })
  expect((await run('run report')).code).toBe(0)
  expect(installations()).toHaveLength(1)
})

test('of flags that npm keeps none makes a command do something else than what was asked', async ({
  onTestFinished,
  skip,
}) => {
  skip(!keepsFlags, 'npm refuses them by itself')
  const { machine, run } = await clone(onTestFinished)
  const before = machine.listing()
  const harmless: [words: string, code: number][] = [
    ['run setup --dry-run', 0],
    ['run setup --unistall', 2],
    ['run setup --plan', 2],
    ['run setup --port 18790 --profile work', 2],
    ['run setup --dry-run --port=18790', 0],
    ['run setup --no-such-thing', 2],
    ['run setup --status', 1],
    ['run report --days 3', 2],
    ['run report --html page.html --dry-run', 0],
    ['run learned approve 0123456789ab --dry-run', 2],
    ['run status nowhere', 2],
    ['run status --fleet nowhere --profile work', 2],
    ['run status --profile work --fleet nowhere', 2],
    ['run status --fleet nowhere --profile=work', 1],
    ['test --retry 1', 2],
  ]
  const ran: typeof harmless = []
  for (const [words] of harmless) ran.push([words, (await run(words)).code ?? -1])
  expect(ran).toEqual(harmless)
  expect(machine.listing()).toEqual(before)
  expect(existsSync(join(machine.root, 'clone', 'page.html'))).toBe(false)
})

test('flags that npm keeps are honoured', async ({ onTestFinished, skip }) => {
  skip(!keepsFlags, 'npm refuses them by itself')
  const { machine, run } = await clone(onTestFinished)
  expect(JSON.parse((await run('run --silent report --json')).stdout)).toHaveProperty('figures')
  expect((await run('run setup --yes')).code).toBe(0)
  expect(machine.jobs()).not.toEqual([])
  expect((await run('run setup --uninstall --purge')).code).toBe(0)
  expect(machine.jobs()).toEqual([])
  expect(existsSync(machine.watchdogDir)).toBe(false)
})

test('what stands in .npmrc is no flag of a command', async ({ onTestFinished }) => {
  const { machine, root, run } = await clone(onTestFinished)
  writeFileSync(join(root, '.npmrc'), 'dry-run=true\nno_such_thing=true\n')
  const { code, stdout } = await run('run --silent setup')
  expect([code, machine.jobs().length > 0], stdout).toEqual([0, true])
})

test('every script knows -h and --version, and which flag a misspelt one stands for', async ({ sandbox }) => {
  const box = await sandbox()
  for (const script of ['status', 'learned', 'gateway-watchdog']) {
    expect(await box.runScript(script, ['-h'])).toMatchObject({ code: 0, stderr: '' })
    expect(await box.runScript(script, ['--version'])).toMatchObject({
      code: 0,
      stdout: expect.stringContaining(version),
    })
    if (script === 'learned') continue
    for (const flag of ['--dry', '--dri-run']) {
      const { code, stdout, stderr } = await box.runScript(script, [flag])
      expect([code, stdout, stderr]).toEqual([2, '', expect.stringContaining('--dry-run')])
    }
  }
})
