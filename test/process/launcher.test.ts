/** The launcher, as launchd, systemd and cron call it: from `/`, in a poor environment; also when a tier cannot start. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, type TestContext, test } from 'vitest'
import { parseLine, parseMarker } from '../../lib/tier/contract.ts'
import { startAlertServices } from '../support/alert-services.ts'
import { copyCheckout } from '../support/checkout.ts'
import { createMachine } from '../support/machine.ts'
import { startWebhookReceiver } from '../support/webhook-receiver.ts'

async function world({ onTestFinished }: TestContext, settings: Record<string, string> = {}, folder = 'checkout') {
  const receiver = await startWebhookReceiver()
  const machine = await createMachine('linux', { settings: { DISCORD_WEBHOOK_URL: receiver.url, ...settings } })
  onTestFinished(machine.close)
  onTestFinished(receiver.close)
  mkdirSync(machine.watchdogDir)
  const checkout = copyCheckout(join(machine.root, folder))
  const used = join(machine.controlDir, 'node-used')
  return {
    ...{ machine, receiver, checkout },
    launch: (args = ['gateway-watchdog'], run: Parameters<typeof machine.launch>[1] = {}) =>
      machine.launch(args, { checkout: checkout.root, ...run }),
    told: () => receiver.delivered().map(({ content }) => content),
    problems: () => receiver.requests.flatMap((request) => request.problems),
    /** Puts a Node somewhere that calls itself `version`, notes that it was used, and is the real one otherwise. */
    addNode(path: string, version: string) {
      const file = join(machine.root, path)
      mkdirSync(dirname(file), { recursive: true })
      const script = `[ "$1" = --version ] && { echo ${version}; exit; }\necho ${version} >>'${used}'`
      writeFileSync(file, `#!/bin/sh\n${script}\nexec '${process.execPath}' "$@"\n`, { mode: 0o755 })
    },
    nodesUsed: () => readFileSync(used, 'utf8').trim().split('\n'),
  }
}

/** The shells that are here; on macOS `sh` is bash 3.2, dash or zsh, whichever /private/var/select/sh names. */
function shellsFor(folder: string): string[] {
  const asSh = (path: string) => {
    const link = join(folder, 'as-sh', path, 'sh')
    mkdirSync(dirname(link), { recursive: true })
    symlinkSync(path, link)
    return link
  }
  const variants: [path: string, ...others: string[]][] = [
    ['/bin/sh'],
    ['/bin/dash'],
    ['/bin/bash', '/bin/bash --posix', asSh('/bin/bash')],
    ['/bin/zsh', '/bin/zsh --emulate sh', '/bin/zsh -o FUNCTION_ARGZERO', asSh('/bin/zsh')],
    ['/usr/bin/mksh'],
  ]
  return variants.filter(([path]) => existsSync(path)).flat()
}

/** No Node on the PATH, and a launcher that sees none of this machine's own. */
async function worldWithoutNode(context: TestContext, settings: Record<string, string> = {}) {
  const all = await world(context, settings)
  rmSync(join(all.machine.binDir, 'node'))
  all.checkout.moveSystemFolders(join(all.machine.root, 'system'))
  all.checkout.replaceScript('gateway-watchdog', 'console.log(process.env.PATH)')
  return all
}

describe.concurrent('the launcher', () => {
  test('it becomes the tier, in every shell; what it does not know it refuses with 2; tsx is found from any folder', async (context) => {
    const { machine, checkout, launch } = await world(context)
    checkout.replaceScript('gateway-watchdog', 'console.log(process.pid, process.argv.slice(2)); process.exitCode = 3')
    for (const shell of shellsFor(machine.root)) {
      const run = await launch(['gateway-watchdog', '--dry-run', 'a  b'], { shell })
      expect(run, shell).toMatchObject({ code: 3, stderr: '', stdout: `${run.pid} [ '--dry-run', 'a  b' ]\n` })
    }
    for (const args of [[], ['../../etc/passwd'], ['--cannot-start', 'x']])
      expect(await launch(args)).toMatchObject({ code: 2, stderr: expect.stringContaining('usage: ') })
    expect((await launch(undefined, { env: { OPENCLAW_PROFILE: '../x' } })).code).toBe(2)
    // Nodes that have the option run TypeScript by themselves; the others have no way but tsx anyway.
    const hasOption = process.allowedNodeEnvironmentFlags.has('--experimental-strip-types')
    const env: Record<string, string> = hasOption ? { NODE_OPTIONS: '--no-experimental-strip-types' } : {}
    expect(await launch(['watchdog-guardian', '--help'], { env })).toMatchObject({ code: 0, stderr: '' })
  })

  test('a real tier runs through it, leaves nothing behind in a dry run, and keeps a cache if it can', async (context) => {
    const { machine, launch } = await world(context)
    await machine.startGateway()
    const before = machine.listing()
    await launch(['gateway-watchdog', '--dry-run'])
    expect(machine.listing()).toEqual(before)
    const run = await launch()
    expect(run).toMatchObject({ code: 0, stderr: '', stdout: expect.stringContaining(`RUN started (pid ${run.pid})`) })
    const cache = join(machine.watchdogDir, 'compile-cache')
    // Node has had a compile cache since 22.1.
    expect(existsSync(cache)).toBe(Number(process.versions.node.split('.')[0]) > 22)
    rmSync(cache, { recursive: true, force: true })
    writeFileSync(cache, 'a file where the folder should be')
    expect(await launch()).toMatchObject({ code: 0, stderr: '' })
  })

  test('the recorded Node is used; one that is gone is replaced by the newest that works, and that is remembered', async (context) => {
    const { machine, launch, addNode, nodesUsed } = await worldWithoutNode(context)
    const recordFile = join(machine.watchdogDir, 'launcher')
    const recorded = join(machine.root, 'recorded', 'node')
    writeFileSync(recordFile, `${recorded}\n${machine.binDir}\n`)
    addNode('recorded/node', 'v24.18.0')
    addNode('elsewhere/node', 'v24.17.0')
    await launch(undefined, { env: { PATH: `${join(machine.root, 'elsewhere')}:/usr/bin:/bin` } })
    expect(nodesUsed()).toEqual(['v24.18.0'])

    // As the dynamic linker ends it when a library is gone after an upgrade.
    machine.addTool('node', 'echo "dyld: Library not loaded: libicui18n.74.dylib" >&2; kill -ABRT $$')
    rmSync(recorded)
    addNode('home/.nvm/versions/node/v8.17.0/bin/node', 'v8.17.0')
    const places: [folder: string, version: string][] = [
      ['home/.asdf/installs/nodejs/24.16.0/bin', 'v24.16.0'],
      ['home/Library/Application Support/fnm/node-versions/v22.9.0/installation/bin', 'v22.9.0'],
      ['home/.nvm/versions/node/v20.20.0/bin', 'v20.20.0'],
      ['system/opt/homebrew/opt/node@20/bin', 'v20.19.1'],
    ]
    for (const [folder, version] of places.toReversed()) addNode(`${folder}/node`, version)
    expect(await launch(['gateway-watchdog', '--dry-run'])).toMatchObject({ code: 0, stderr: '' })
    expect(readFileSync(recordFile, 'utf8')).toContain(recorded)
    for (const [folder, version] of places) {
      const { code, stdout } = await launch()
      expect([code, nodesUsed().at(-1)]).toEqual([0, version])
      const found = join(machine.root, folder)
      expect(readFileSync(recordFile, 'utf8')).toBe(`${found}/node\n${machine.binDir}\n`)
      // What the tier starts finds it before the one that does not work.
      const folders = stdout.trim().split(':')
      expect(folders).toEqual(expect.arrayContaining([machine.binDir, join(machine.home, '.local/bin')]))
      expect(folders.indexOf(found)).toBeLessThan(folders.indexOf(machine.binDir))
      rmSync(join(found, 'node'))
    }
    // One on the PATH that is too old counts for nothing.
    machine.addTool('node', 'echo v18.20.8')
    expect((await launch()).code).toBe(1)
  })
})

describe.concurrent('a tier that cannot start', () => {
  test('without any Node each log says so, and Discord hears of it once an hour', async (context) => {
    const { machine, launch, told, problems } = await worldWithoutNode(context)
    const tiers = ['gateway-watchdog', 'gateway-healthcheck', 'watchdog-guardian', 'emergency-recovery-monitor']
    const runs = await Promise.all([...tiers, ...tiers, 'emergency-recovery'].map((script) => launch([script])))
    expect(runs.map(({ code }) => code)).toEqual(Array(9).fill(1))
    // When Level 3 cannot start no other tier leaves the mark that Level 4 looks for.
    for (const tier of ['watchdog', 'healthcheck', 'guardian', 'monitor', 'emergency-recovery']) {
      const [line, ...others] = machine.log(tier).trim().split('\n').map(parseLine)
      expect([others.length, line]).toMatchObject([tier === 'emergency-recovery' ? 0 : 1, { tier, severity: 'ERROR' }])
      expect(Math.abs(line!.at.getTime() - Date.now())).toBeLessThan(60_000)
      expect(parseMarker(line!.text)?.kind).toBe(tier === 'emergency-recovery' ? 'manual' : 'cannot-start')
    }
    expect([told(), problems()]).toEqual([[expect.stringMatching(/cannot start: no Node/)], []])

    const folder = join(machine.watchdogDir, 'told')
    for (const minutes of [50, 61, 0]) {
      const at = Date.now() / 1000 - minutes * 60
      for (const name of readdirSync(folder)) utimesSync(join(folder, name), at, at)
      await launch()
      expect(told()).toHaveLength(minutes === 50 ? 1 : 2)
    }
  })

  test('every channel receives it, one that fails gets it later, and no secret stands on a command line', async (context) => {
    const services = await startAlertServices()
    context.onTestFinished(services.close)
    const { machine, launch, told } = await worldWithoutNode(context, services.settings)
    const record = join(machine.controlDir, 'curl-argv')
    const curl = ['/usr/bin/curl', '/bin/curl', '/usr/local/bin/curl', '/opt/homebrew/bin/curl'].find(existsSync)
    machine.addTool('curl', `printf '%s\\n' "$*" >>'${record}'\nexec ${curl} "$@"`)
    services.answerNext('slack', { status: 500, body: '' })
    const others = ['slack', 'telegram', 'ntfy', 'webhook'] as const
    const taken = () => [told().length, ...others.map((one) => services.delivered(one).length)]
    // It would ring every phone of the channel, and break JSON that is made by hand.
    const cause = 'odd <!channel> & @everyone "quoted" \\ back'
    for (const bySlack of [0, 1]) {
      await launch(['--cannot-start', 'gateway-watchdog'], { input: cause })
      expect(taken()).toEqual([1, bySlack, 1, 1, 1])
    }
    const said = expect.stringContaining(`watchdog cannot start: ${cause}`)
    expect(services.delivered('slack')[0]!.json.text).toContain('odd &lt;!channel&gt; &amp; @everyone "quoted" \\ back')
    const { TELEGRAM_BOT_TOKEN, NTFY_TOKEN } = services.settings
    for (const name of ['telegram', 'webhook'] as const)
      expect(services.delivered(name)[0]!.json).toMatchObject({ text: said })
    expect(services.delivered('ntfy')[0]!.json).toMatchObject({ message: said })
    for (const secret of [TELEGRAM_BOT_TOKEN, NTFY_TOKEN, 'slack-secret', 'stand-in-token'])
      expect(readFileSync(record, 'utf8')).not.toContain(secret)

    // What a shell reads its own way would be missing, or broken JSON.
    for (const [i, shell] of shellsFor(machine.root).entries()) {
      rmSync(join(machine.watchdogDir, 'told'), { recursive: true })
      const { code } = await launch(['--cannot-start', 'gateway-watchdog'], { input: cause, shell })
      expect([shell, code, taken()]).toEqual([shell, 1, Array(5).fill(i + 2)])
    }
    for (const name of others) expect(new Set(services.delivered(name).map(({ text }) => text)).size).toBe(1)
  })

  test('a script that cannot run ends with 1: log and Discord say why; a dry run writes neither; repaired, it runs', async (context) => {
    const { machine, checkout, launch, told, problems } = await world(context, {}, 'my checkouts/sélf healing')
    const path = join(checkout.root, 'scripts/gateway-watchdog.ts')
    const original = readFileSync(path, 'utf8')
    writeFileSync(join(checkout.root, 'lib/tier/broken.ts'), 'export const = 1\n')
    const later = 'await new Promise((r) => setTimeout(r, 20000))'
    const cases: [script: string, why: string][] = [
      ["const a = 1\nthrow new Error('in a hurry')", 'gateway-watchdog.ts:2'],
      ['await new Promise(() => {})', 'unsettled top-level await'],
      [`setTimeout(() => { throw new Error('out of the blue') }, 10)\n${later}`, 'out of the blue'],
      ["import { nothing } from '../lib/tier/contract.ts'\nnothing()", "'nothing'"],
      ["import '../lib/tier/broken.ts'", 'lib/tier/broken.ts:1'],
      [original.replace(/^import /m, 'const broken = (;\nimport '), 'sélf healing/scripts/gateway-watchdog.ts:'],
    ]
    checkout.replaceScript('gateway-watchdog', cases[0]![0])
    expect(await launch(['gateway-watchdog', '--dry-run'])).toMatchObject({ code: 1 })
    expect([existsSync(machine.memoryDir), told()]).toEqual([false, []])
    const expectToldOf = async (why: string, times: number) => {
      expect(await launch()).toMatchObject({ code: 1, stdout: '' })
      expect([told().length, told().at(-1)]).toEqual([times, expect.stringContaining(why)])
      expect(machine.log('watchdog')).toContain(why)
    }
    for (const [i, [script, why]] of cases.entries()) {
      checkout.replaceScript('gateway-watchdog', script)
      await expectToldOf(why, i + 1)
    }
    rmSync(path)
    await expectToldOf('gateway-watchdog.ts is missing', cases.length + 1)
    writeFileSync(path, original.replace('checks the OpenClaw Gateway once', 'was edited in place'))
    const run = await launch(['gateway-watchdog', '--help'])
    expect(run).toMatchObject({ code: 0, stdout: expect.stringContaining('was edited in place') })
    rmSync(join(checkout.root, 'node_modules'))
    await expectToldOf(`\`npm ci\` in ${checkout.root} `, cases.length + 2)
    expect(problems()).toEqual([])
  })

  test('whatever the cause, and however .env is written: Discord takes the message, and the log line is one line', async (context) => {
    const { machine, receiver, launch, problems } = await world(context)
    const [logs, instead] = [join(machine.home, 'logs é'), join(machine.watchdogDir, 'logs')]
    const name = 'DISCORD_WEBHOOK_URL'
    const spellings = [
      `A=1\r\n${name}="${receiver.url}" # mine\r\n`,
      `  export ${name}='${receiver.url}'\n`,
      `${name} = ${receiver.url}   # mine\n`,
      `${name}=http://127.0.0.1:1/\n${name}=${receiver.url}\n`,
    ]
    const causes = [
      'quotes " and \\ backslashes \\" \\n and a tab\tand\nline\r\nbreaks',
      '[2026-01-01T00:00:00+00:00] [watchdog] [INFO] RECOVERED by level 1 after 1 s\n[forged] line',
      '\u001b[31mred\u0007 $(reboot) `reboot` ${HOME} %s %n @everyone',
      'é — 日本語 🩺'.repeat(300),
      Buffer.from([0x66, 0x6f, 0x6f, 0xff, 0xfe, 0x80, 0x62, 0x61, 0x72]),
      '',
    ]
    // What is empty in the environment does not count.
    const report = (input: string | Buffer) =>
      launch(['--cannot-start', 'gateway-watchdog'], { input, env: { OPENCLAW_MEMORY_DIR: '' } })
    for (const [i, cause] of causes.entries()) {
      machine.writeEnvFile(`${spellings[i % 4]}OPENCLAW_MEMORY_DIR="$HOME/logs é"\n`)
      await report(cause)
      expect([receiver.delivered().length, existsSync(instead)]).toEqual([i + 1, false])
    }
    expect(problems()).toEqual([])
    expect(receiver.delivered().map((message) => message.allowed_mentions)).toEqual(causes.map(() => ({ parse: [] })))
    const lines = readFileSync(join(logs, readdirSync(logs)[0]!), 'utf8')
      .trimEnd()
      .split('\n')
    expect(lines.map((line) => parseMarker(parseLine(line)!.text)?.kind)).toEqual(causes.map(() => 'cannot-start'))
    // Where no log can be written there it goes to the state folder.
    rmSync(logs, { recursive: true })
    writeFileSync(logs, 'a file where the folder should be')
    await report('')
    expect(readdirSync(instead)).toHaveLength(1)
  })
})
