/** The launcher, as launchd, systemd and cron call it: from `/`, in a poor environment. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { addNode, machineWithCheckout, machineWithoutNode, nodesUsed, readLines } from '../support/launcher-machines.ts'
import { createMachine } from '../support/machine.ts'

describe.concurrent('the launcher', () => {
  const shells = ['/bin/sh', '/bin/dash', '/bin/bash', '/usr/bin/mksh'].filter((path) => existsSync(path))

  test.for(shells)('%s becomes the tier: pid, flags and exit code are its own', async (shell, { onTestFinished }) => {
    const { machine, checkout } = await machineWithCheckout(onTestFinished)
    checkout.replaceScript('gateway-watchdog', 'console.log(process.pid, process.argv.slice(2)); process.exitCode = 3')
    const run = await machine.launch(['gateway-watchdog', '--dry-run', 'a  b'], { shell, checkout: checkout.root })
    expect(run).toMatchObject({ code: 3, stderr: '', stdout: `${run.pid} [ '--dry-run', 'a  b' ]\n` })
  })

  test('a real tier runs through it, and leaves nothing behind in a dry run', async ({ onTestFinished }) => {
    const machine = await createMachine('linux')
    onTestFinished(machine.close)
    await machine.startGateway()
    mkdirSync(machine.watchdogDir)
    const before = machine.listing()
    await machine.launch(['gateway-watchdog', '--dry-run'])
    expect(machine.listing()).toEqual(before)
    const run = await machine.launch(['gateway-watchdog'])
    expect(run).toMatchObject({ code: 0, stderr: '', stdout: expect.stringContaining('RUN ended: healthy, exit 0') })
    expect(run.stdout).toContain(`RUN started (pid ${run.pid})`)
    // Node has had a compile cache since 22.1. Where none can be kept nothing fails.
    const cache = join(machine.watchdogDir, 'compile-cache')
    if (Number(process.versions.node.split('.')[0]) > 22) expect(existsSync(cache)).toBe(true)
    else writeFileSync(cache, 'a file where the folder should be')
    expect(await machine.launch(['gateway-watchdog'])).toMatchObject({ code: 0, stderr: '' })
  })

  test('an unknown script is refused with 2, before a Node is looked for', async ({ onTestFinished }) => {
    const machine = await createMachine('linux')
    onTestFinished(machine.close)
    for (const args of [[], ['gateway'], ['../../etc/passwd'], ['--help'], ['--cannot-start', 'x']])
      expect(await machine.launch(args)).toMatchObject({ code: 2, stderr: expect.stringContaining('usage: ') })
    const env = { OPENCLAW_PROFILE: '../x' }
    expect((await machine.launch(['gateway-watchdog'], { env })).code).toBe(2)
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
    for (const tool of 'date sed tr cat id mkdir find curl ls uname dirname readlink'.split(' '))
      writeFileSync(join(only, tool), `#!/bin/sh\necho ${tool} >>'${calls}'\n`, { mode: 0o755 })
    const run = await machine.launch(['gateway-watchdog', '--help'], { env: { PATH: only } })
    expect(run).toMatchObject({ code: 0, stderr: '', stdout: expect.stringContaining('--dry-run') })
    expect(readLines(calls)).toEqual(['--version', '--disable-warning=ExperimentalWarning'])
  })

  test('where Node does not run TypeScript by itself, tsx is found from any folder', async ({ onTestFinished }) => {
    const machine = await createMachine('linux')
    onTestFinished(machine.close)
    // Nodes that have the option do run it; the others have no way but tsx anyway.
    const hasOption = process.allowedNodeEnvironmentFlags.has('--experimental-strip-types')
    const env: Record<string, string> = hasOption ? { NODE_OPTIONS: '--no-experimental-strip-types' } : {}
    const run = await machine.launch(['gateway-watchdog', '--help'], { env })
    expect(run).toMatchObject({ code: 0, stderr: '', stdout: expect.stringContaining('Level 1') })
  })

  test('PATH and Node are those of the installation, whatever starts the tier', async ({ onTestFinished }) => {
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

  test('a recorded Node that is gone is replaced by the newest one that works, and that is remembered', async ({
    onTestFinished,
  }) => {
    const { machine, checkout } = await machineWithoutNode(onTestFinished)
    // As the dynamic linker ends it when a library is gone after an upgrade.
    machine.addTool('node', 'echo "dyld: Library not loaded: libicui18n.74.dylib" >&2; kill -ABRT $$')
    for (const version of ['v8.17.0', 'v20.19.1', 'v24.16.0', 'v22.9.0'])
      addNode(machine, `home/.nvm/versions/node/${version}/bin/node`, version)
    mkdirSync(machine.watchdogDir)
    const recordFile = join(machine.watchdogDir, 'launcher')
    const record = `/opt/homebrew/Cellar/node/24.1.0/bin/node\n${machine.binDir}\n`
    writeFileSync(recordFile, record)
    const launch = (args: string[]) => machine.launch(['gateway-watchdog', ...args], { checkout: checkout.root })

    expect((await launch(['--dry-run'])).stderr).toBe('')
    expect(readFileSync(recordFile, 'utf8')).toBe(record)
    const { code, stdout } = await launch([])
    expect(code).toBe(0)
    expect(nodesUsed(machine)).toEqual(['v24.16.0', 'v24.16.0'])
    const found = join(machine.home, '.nvm/versions/node/v24.16.0/bin')
    expect(readFileSync(recordFile, 'utf8')).toBe(`${found}/node\n${machine.binDir}\n`)
    // What the tier starts finds it before the one that does not work.
    const folders = stdout.trim().split(':')
    expect(folders[0]).toBe(found)
    expect(folders).toContain(machine.binDir)
    expect(folders).toContain(join(machine.home, '.local/bin'))
  })

  test.for([
    'system/opt/homebrew/bin/node',
    'home/.local/share/fnm/node-versions/v24.16.0/installation/bin/node',
    'home/Library/Application Support/fnm/node-versions/v24.16.0/installation/bin/node',
    'home/.volta/tools/image/node/24.16.0/bin/node',
    'home/.asdf/installs/nodejs/24.16.0/bin/node',
    'home/.local/share/mise/installs/node/24.16.0/bin/node',
    'system/opt/homebrew/opt/node@24/bin/node',
  ])('%s is found when the PATH has a Node that is too old', async (path, { onTestFinished }) => {
    const { machine, checkout } = await machineWithoutNode(onTestFinished)
    addNode(machine, 'bin/node', 'v18.20.8')
    addNode(machine, path, 'v24.16.0')
    expect((await machine.launch(['gateway-watchdog', '--help'], { checkout: checkout.root })).code).toBe(0)
    expect(nodesUsed(machine)).toEqual(['v24.16.0'])
  })
})
