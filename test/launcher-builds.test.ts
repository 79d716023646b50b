/** Builds of the scripts: cheaper starts, and nothing else that anybody could notice. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { copyCheckout } from './support/checkout.ts'
import { createMachine } from './support/machine.ts'
import { projectDir } from './support/sandbox.ts'

/** A machine, and a checkout with a node_modules of its own: builds are kept there. */
async function machineWithBuilds() {
  const machine = await createMachine('linux')
  onTestFinished(machine.close)
  const checkout = copyCheckout(join(machine.root, 'checkout'), { withoutPackages: true })
  const packages = join(checkout.root, 'node_modules')
  mkdirSync(packages)
  for (const name of readdirSync(join(projectDir, 'node_modules')).filter((one) => one !== '.cache'))
    symlinkSync(join(projectDir, 'node_modules', name), join(packages, name))
  const folder = join(packages, '.cache', 'openclaw-self-healing')
  const launch = () => machine.launch(['watchdog-guardian'], { checkout: checkout.root })
  /** What the guardian says when nothing is installed, with a word in it that tells one version from another. */
  const say = (word: string) =>
    checkout.edit('scripts/watchdog-guardian.ts', (text) =>
      text.replace(/'(?:\w{5}: )?nothing is installed/, `'${word}: nothing is installed`),
    )
  return { machine, checkout, folder, build: join(folder, 'watchdog-guardian.js'), launch, say }
}

test('the second start runs the build, and an edit counts from the next start', async () => {
  const { build, launch, say } = await machineWithBuilds()
  say('first')
  expect((await launch()).stdout).toContain('first: nothing is installed')
  // What is in the build is what runs.
  const text = readFileSync(build, 'utf8')
  expect(text).toContain('first: nothing')
  writeFileSync(build, text.replace('first: nothing', 'build: nothing'))
  expect((await launch()).stdout).toContain('build: nothing is installed')
  say('other')
  for (let i = 0; i < 2; i++) expect((await launch()).stdout).toContain('other: nothing is installed')
})

test('an edit of the same length that leaves the modification time as it was counts too, in any file', async () => {
  const { checkout, launch } = await machineWithBuilds()
  const file = join(checkout.root, 'lib', 'tier', 'contract.ts')
  await launch()
  const { atime, mtime } = statSync(file)
  checkout.edit('lib/tier/contract.ts', (text) => text.replace('`RUN started', '`RUN STARTED'))
  utimesSync(file, atime, mtime)
  expect((await launch()).stdout).toContain('RUN STARTED')
})

test('a checkout that was moved does not use the build that moved with it: the paths in it are the old ones', async () => {
  const { machine, checkout, build, launch } = await machineWithBuilds()
  await launch()
  const moved = join(machine.root, 'moved')
  renameSync(checkout.root, moved)
  const old = build.replace(checkout.root, moved)
  writeFileSync(old, 'throw new Error("the old build")'.padEnd(statSync(old).size))
  const run = await machine.launch(['watchdog-guardian'], { checkout: moved })
  expect(run.stdout).toContain('nothing is installed')
  expect(run.stdout + run.stderr).not.toContain('the old build')
})

test('a build that was cut off, damaged or taken away does no harm', async () => {
  const { folder, build, launch } = await machineWithBuilds()
  await launch()
  truncateSync(build, 1000)
  expect((await launch()).code).toBe(0)
  rmSync(build)
  expect((await launch()).code).toBe(0)
  writeFileSync(join(folder, 'watchdog-guardian.json'), '{"size":')
  expect((await launch()).code).toBe(0)
  // Damage that only shows when it runs is told, as of any script, and the next start does without the build.
  const size = statSync(build).size
  writeFileSync(build, '('.padEnd(size))
  expect(await launch()).toMatchObject({ code: 1, stderr: expect.stringMatching(/cannot start/) })
  expect((await launch()).code).toBe(0)
})

test('the code that V8 made is used for the build it was made of, and only as it was written', async () => {
  const { folder, build, launch } = await machineWithBuilds()
  const code = join(folder, 'watchdog-guardian.code')
  await launch()
  expect(existsSync(code)).toBe(false)
  await launch()
  const text = readFileSync(build, 'utf8')
  writeFileSync(build, text.replace('nothing is installed', 'another one of 20 c.'))
  expect((await launch()).stdout).toContain('another one of 20 c.')
  // V8 does not notice this, and dies of it.
  const bytes = readFileSync(code)
  writeFileSync(code, bytes.fill(0, bytes.length / 4, bytes.length / 2))
  for (let i = 0; i < 2; i++) expect(await launch()).toMatchObject({ code: 0, stderr: '' })
  expect(readFileSync(code).equals(bytes)).toBe(false)
})

test('a package that is loaded when it is needed is found from the source, from the build and from its code', async () => {
  const { checkout, launch } = await machineWithBuilds()
  checkout.edit('scripts/watchdog-guardian.ts', (text) =>
    text.replace("journal.info('nothing", "journal.info((await import('zx')).quote('two words'))\n    $&"),
  )
  for (let i = 0; i < 3; i++) expect((await launch()).stdout).toContain("$'two words'")
})

test('every script of the launcher has a build', async () => {
  const { machine, checkout, folder } = await machineWithBuilds()
  const scripts = [
    'emergency-recovery',
    'emergency-recovery-monitor',
    'gateway-healthcheck',
    'gateway-watchdog',
    'watchdog-guardian',
  ]
  for (const script of scripts) {
    for (let i = 0; i < 2; i++)
      expect(await machine.launch([script, '--help'], { checkout: checkout.root })).toMatchObject({
        code: 0,
        stderr: '',
      })
    expect(readdirSync(folder)).toContain(`${script}.js`)
  }
})

test('where no build can be kept a script runs from its source', async () => {
  const { folder, launch } = await machineWithBuilds()
  mkdirSync(join(folder, '..'), { recursive: true })
  writeFileSync(folder, 'in the way')
  for (let i = 0; i < 2; i++) expect(await launch()).toMatchObject({ code: 0, stderr: '' })
})

test('a dry run makes no build', async () => {
  const { machine, checkout, folder } = await machineWithBuilds()
  await machine.launch(['watchdog-guardian', '--dry-run'], { checkout: checkout.root })
  expect(existsSync(folder)).toBe(false)
})

test('many that start at once after an edit all run, and leave one whole build', async () => {
  const { build, folder, launch, say } = await machineWithBuilds()
  await launch()
  say('crowd')
  const runs = await Promise.all(Array.from({ length: 6 }, () => launch()))
  for (const { code } of runs) expect([0, 3]).toContain(code)
  expect(readFileSync(build, 'utf8')).toContain('crowd: nothing')
  expect((await launch()).stdout).toContain('crowd: nothing is installed')
  const parts = ['code', 'js', 'json'].map((ending) => `watchdog-guardian.${ending}`)
  expect(readdirSync(folder).sort()).toEqual(parts)
})
