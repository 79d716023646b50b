/** The launcher, as launchd, systemd and cron call it: from `/`, in a poor environment. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { addNode, machineWithCheckout, machineWithoutNode, nodesUsed, readLines } from './support/launcher-machines.ts'
import { createMachine } from './support/machine.ts'

describe.concurrent('the launcher', () => {
  const shells = ['/bin/sh', '/bin/dash', '/bin/bash', '/usr/bin/mksh'].filter((path) => existsSync(path))

  test.for(shells)(
    '%s: the tier takes the place of the shell: pid and exit code are its own',
    async (shell, { onTestFinished }) => {
      const { machine, checkout } = await machineWithCheckout(onTestFinished)
      checkout.replaceScript(
        'gateway-watchdog',
        'console.log(process.pid, process.argv.slice(2)); process.exitCode = 3',
      )
      const run = await machine.launch(['gateway-watchdog', '--dry-run', 'a  b'], { shell, checkout: checkout.root })
      expect(run).toMatchObject({ code: 3, stderr: '', stdout: `${run.pid} [ '--dry-run', 'a  b' ]\n` })
    },
  )

  test('a real tier runs through it', async ({ onTestFinished }) => {
    const machine = await createMachine('linux')
    onTestFinished(machine.close)
    await machine.startGateway()
    const run = await machine.launch(['gateway-watchdog'])
    expect(run).toMatchObject({ code: 0, stderr: '', stdout: expect.stringContaining('RUN ended: healthy, exit 0') })
    expect(run.stdout).toContain(`RUN started (pid ${run.pid})`)
  })

  test('an unknown script is refused with 2, before anything is looked for', async ({ onTestFinished }) => {
    const machine = await createMachine('linux')
    onTestFinished(machine.close)
    for (const args of [[], ['gateway'], ['../../etc/passwd'], ['--help'], ['--cannot-start', 'x']])
      expect(await machine.launch(args)).toMatchObject({ code: 2, stderr: expect.stringContaining('usage: ') })
  })

  test('an ordinary start runs no program but Node, and that twice', async ({ onTestFinished }) => {
    const machine = await createMachine('linux')
    onTestFinished(machine.close)
    const calls = join(machine.controlDir, 'calls')
    const only = join(machine.root, 'only')
    mkdirSync(only)
    writeFileSync(join(only, 'node'), `#!/bin/sh\necho "$1" >>'${calls}'\nexec '${process.execPath}' "$@"\n`, {
      mode: 0o755,
    })
    for (const tool of [
      'date',
      'sed',
      'tr',
      'cat',
      'id',
      'mkdir',
      'find',
      'curl',
      'ls',
      'uname',
      'dirname',
      'readlink',
    ])
      writeFileSync(join(only, tool), `#!/bin/sh\necho ${tool} >>'${calls}'\n`, { mode: 0o755 })
    const run = await machine.launch(['gateway-watchdog', '--help'], { env: { PATH: only } })
    expect(run).toMatchObject({ code: 0, stderr: '', stdout: expect.stringContaining('--dry-run') })
    expect(readLines(calls)).toEqual(['--version', '--disable-warning=ExperimentalWarning'])
  })

  test('where Node does not run TypeScript by itself, the loader is found from any working directory', async ({
    onTestFinished,
  }) => {
    const machine = await createMachine('linux')
    onTestFinished(machine.close)
    // Nodes that have the option do run it; the others have no way but the loader anyway.
    const hasOption = process.allowedNodeEnvironmentFlags.has('--experimental-strip-types')
    const env: Record<string, string> = hasOption ? { NODE_OPTIONS: '--no-experimental-strip-types' } : {}
    const run = await machine.launch(['gateway-watchdog', '--help'], { env })
    expect(run).toMatchObject({ code: 0, stderr: '', stdout: expect.stringContaining('Level 1') })
  })

  test('a dry run leaves nothing behind, and an ordinary one keeps its compile cache in the state folder', async ({
    onTestFinished,
  }) => {
    const machine = await createMachine('linux')
    onTestFinished(machine.close)
    mkdirSync(machine.watchdogDir)
    const before = machine.listing()
    await machine.launch(['gateway-watchdog', '--dry-run'])
    expect(machine.listing()).toEqual(before)
    writeFileSync(join(machine.stateDir, 'self-healing.paused'), '')
    await machine.launch(['gateway-watchdog'])
    // Node has had it since 22.1.
    if (Number(process.versions.node.split('.')[0]) > 22)
      expect(Object.keys(machine.listing()).join('\n')).toContain('.openclaw/watchdog/compile-cache/')
  })

  test('PATH and Node are those of the installation, whoever starts the tier', async ({ onTestFinished }) => {
    const machine = await createMachine('linux')
    onTestFinished(machine.close)
    addNode(machine, 'recorded/node', 'v24.18.0')
    addNode(machine, 'elsewhere/node', 'v24.16.0')
    mkdirSync(machine.watchdogDir)
    const record = [join(machine.root, 'recorded', 'node'), machine.binDir]
    writeFileSync(join(machine.watchdogDir, 'launcher'), `${record.join('\n')}\n`)
    // tmux is on the recorded PATH only.
    const env = { PATH: `${join(machine.root, 'elsewhere')}:/usr/bin:/bin` }
    expect((await machine.launch(['gateway-watchdog', '--help'], { env })).code).toBe(0)
    expect(nodesUsed(machine)).toEqual(['v24.18.0'])
  })

  test('a recorded Node that is gone is replaced by one that works, and that is remembered', async ({
    onTestFinished,
  }) => {
    const { machine, checkout } = await machineWithoutNode(onTestFinished)
    addNode(machine, 'home/.nvm/versions/node/v8.17.0/bin/node', 'v8.17.0')
    addNode(machine, 'home/.nvm/versions/node/v20.19.1/bin/node', 'v20.19.1')
    addNode(machine, 'home/.nvm/versions/node/v24.16.0/bin/node', 'v24.16.0')
    addNode(machine, 'home/.nvm/versions/node/v22.9.0/bin/node', 'v22.9.0')
    mkdirSync(machine.watchdogDir)
    const recordFile = join(machine.watchdogDir, 'launcher')
    const record = `/opt/homebrew/Cellar/node/24.1.0/bin/node\n${machine.binDir}\n`
    writeFileSync(recordFile, record)
    const launch = (args: string[]) => machine.launch(['gateway-watchdog', ...args], { checkout: checkout.root })

    expect((await launch(['--dry-run'])).stderr).toBe('')
    expect(readFileSync(recordFile, 'utf8')).toBe(record)
    expect((await launch(['--help'])).code).toBe(0)
    expect(nodesUsed(machine)).toEqual(['v24.16.0', 'v24.16.0'])
    const found = join(machine.home, '.nvm/versions/node/v24.16.0/bin/node')
    expect(readFileSync(recordFile, 'utf8')).toBe(`${found}\n${machine.binDir}\n`)
  })

  test.for<[what: string, path: string]>([
    ['Homebrew', 'system/opt/homebrew/bin/node'],
    ['fnm', 'home/.local/share/fnm/node-versions/v24.16.0/installation/bin/node'],
    ['fnm on a Mac', 'home/Library/Application Support/fnm/node-versions/v24.16.0/installation/bin/node'],
    ['volta', 'home/.volta/tools/image/node/24.16.0/bin/node'],
    ['asdf', 'home/.asdf/installs/nodejs/24.16.0/bin/node'],
    ['a keg of Homebrew', 'system/opt/homebrew/opt/node@24/bin/node'],
  ])('a Node from %s is found when the PATH has one that is too old', async ([, path], { onTestFinished }) => {
    const { machine, checkout } = await machineWithoutNode(onTestFinished)
    addNode(machine, 'bin/node', 'v18.20.8')
    addNode(machine, path, 'v24.16.0')
    expect((await machine.launch(['gateway-watchdog', '--help'], { checkout: checkout.root })).code).toBe(0)
    expect(nodesUsed(machine)).toEqual(['v24.16.0'])
  })
  test('a Node that is there and does not run is passed over', async ({ onTestFinished }) => {
    const { machine, checkout } = await machineWithoutNode(onTestFinished)
    // As the dynamic linker ends it when a library is gone after an upgrade.
    machine.addTool('node', 'echo "dyld: Library not loaded: libicui18n.74.dylib" >&2; kill -ABRT $$')
    addNode(machine, 'system/usr/local/bin/node', 'v24.16.0')
    expect(await machine.launch(['gateway-watchdog', '--help'], { checkout: checkout.root })).toMatchObject({
      code: 0,
      stderr: '',
    })
    expect(nodesUsed(machine)).toEqual(['v24.16.0'])
  })

  test('a Node that ran a start ago is not asked whether it runs; one that broke since costs one start, and no more', async ({
    onTestFinished,
  }) => {
    const { machine, checkout } = await machineWithoutNode(onTestFinished)
    for (const script of ['gateway-healthcheck', 'emergency-recovery'])
      checkout.replaceScript(script, 'process.exitCode = 0')
    const asked = join(machine.controlDir, 'asked')
    const recorded = join(machine.root, 'recorded', 'node')
    const becomeNode = (script: string) => writeFileSync(recorded, `#!/bin/bash\n${script}\n`, { mode: 0o755 })
    const isAskedBy = async (...args: string[]) => {
      writeFileSync(asked, '')
      expect(await machine.launch(args, { checkout: checkout.root })).toMatchObject({ code: 0, stderr: '' })
      return readLines(asked).includes('--version')
    }
    mkdirSync(join(recorded, '..'))
    becomeNode(`echo "$1" >>'${asked}'; exec -a "$0" '${process.execPath}' "$@"`)
    addNode(machine, 'system/opt/homebrew/bin/node', 'v24.16.0')
    mkdirSync(machine.watchdogDir)
    writeFileSync(join(machine.watchdogDir, 'launcher'), `${recorded}\n${machine.binDir}\n`)

    expect(await isAskedBy('gateway-watchdog')).toBe(true)
    expect(await isAskedBy('gateway-watchdog')).toBe(false)
    expect(await isAskedBy('gateway-healthcheck')).toBe(false)
    // The doctor's start is not risked, a dry run leaves everything as it is, and what somebody else's Node said is no word.
    expect(await isAskedBy('emergency-recovery')).toBe(true)
    expect(await isAskedBy('gateway-watchdog', '--dry-run')).toBe(true)
    writeFileSync(join(machine.watchdogDir, 'node-ran'), `/usr/bin/another-node\nv24.16.0\n`)
    expect(await isAskedBy('gateway-watchdog')).toBe(true)

    becomeNode('echo "dyld: Library not loaded: libicui18n.74.dylib" >&2; kill -ABRT $$')
    const lost = await machine.launch(['gateway-watchdog'], { checkout: checkout.root })
    expect(lost.code).not.toBe(0)
    expect(lost.stderr).toContain('Library not loaded')
    expect(nodesUsed(machine)).toEqual([])
    expect((await machine.launch(['gateway-healthcheck'], { checkout: checkout.root })).code).toBe(0)
    expect(nodesUsed(machine)).toEqual(['v24.16.0'])
  })

  test('what a found Node starts finds it before the one that does not work', async ({ onTestFinished }) => {
    const { machine, checkout } = await machineWithoutNode(onTestFinished)
    addNode(machine, 'bin/node', 'v18.20.8')
    addNode(machine, 'system/opt/homebrew/bin/node', 'v24.16.0')
    const { stdout } = await machine.launch(['gateway-watchdog'], { checkout: checkout.root })
    const folders = stdout.trim().split(':')
    expect(folders[0]).toBe(join(machine.root, 'system/opt/homebrew/bin'))
    expect(folders).toContain(machine.binDir)
    expect(folders).toContain(join(machine.home, '.local/bin'))
  })
})
