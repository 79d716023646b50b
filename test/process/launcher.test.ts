/** The launcher, as launchd, systemd and cron call it: from `/`, in a poor environment; also when a tier cannot start. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, type TestContext, test } from 'vitest'
import { parseLine, parseMarker } from '../../lib/tier/contract.ts'
import { startAlertServices } from '../support/alert-services.ts'
import { copyCheckout, moveSystemFolders } from '../support/checkout.ts'
import { createMachine } from '../support/machine.ts'
import { startWebhookReceiver } from '../support/webhook-receiver.ts'

interface Options {
  settings?: Record<string, string>
  withoutPackages?: boolean
  folder?: string
}

/** A machine with a webhook, and a checkout to break. */
async function world({ onTestFinished }: TestContext, { settings, folder = 'checkout', ...options }: Options = {}) {
  const receiver = await startWebhookReceiver()
  const machine = await createMachine('linux', { settings: { DISCORD_WEBHOOK_URL: receiver.url, ...settings } })
  onTestFinished(machine.close)
  onTestFinished(receiver.close)
  mkdirSync(machine.watchdogDir)
  const checkout = copyCheckout(join(machine.root, folder), options)
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

/** No Node on the PATH, and a launcher that sees none of this machine's own. */
async function worldWithoutNode(context: TestContext, options: Options = {}) {
  const all = await world(context, options)
  rmSync(join(all.machine.binDir, 'node'))
  moveSystemFolders(all.checkout, join(all.machine.root, 'system'))
  all.checkout.replaceScript('gateway-watchdog', 'console.log(process.env.PATH)')
  return all
}

describe.concurrent('the launcher', () => {
  const shells = ['/bin/sh', '/bin/dash', '/bin/bash', '/bin/zsh', '/usr/bin/mksh'].filter((path) => existsSync(path))

  test.for(shells)('%s becomes the tier: pid, flags and exit code are its own', async (shell, context) => {
    const { checkout, launch } = await world(context)
    checkout.replaceScript('gateway-watchdog', 'console.log(process.pid, process.argv.slice(2)); process.exitCode = 3')
    const run = await launch(['gateway-watchdog', '--dry-run', 'a  b'], { shell })
    expect(run).toMatchObject({ code: 3, stderr: '', stdout: `${run.pid} [ '--dry-run', 'a  b' ]\n` })
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

  test('an unknown script or profile is refused with 2', async (context) => {
    const { launch } = await world(context)
    for (const args of [[], ['gateway'], ['../../etc/passwd'], ['--help'], ['--cannot-start', 'x']])
      expect(await launch(args)).toMatchObject({ code: 2, stderr: expect.stringContaining('usage: ') })
    expect((await launch(undefined, { env: { OPENCLAW_PROFILE: '../x' } })).code).toBe(2)
  })

  test('where Node does not run TypeScript by itself, tsx is found from any folder', async (context) => {
    const { launch } = await world(context)
    // Nodes that have the option do run it; the others have no way but tsx anyway.
    const hasOption = process.allowedNodeEnvironmentFlags.has('--experimental-strip-types')
    const env: Record<string, string> = hasOption ? { NODE_OPTIONS: '--no-experimental-strip-types' } : {}
    expect(await launch(['gateway-watchdog', '--help'], { env })).toMatchObject({ code: 0, stderr: '' })
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
    const lines = machine.log('watchdog-').trim().split('\n').map(parseLine)
    expect(lines).toHaveLength(2)
    expect(lines[0]).toMatchObject({ tier: 'watchdog', severity: 'ERROR' })
    expect(Math.abs(lines[0]!.at.getTime() - Date.now())).toBeLessThan(60_000)
    for (const tier of ['watchdog', 'healthcheck', 'guardian', 'monitor'])
      expect(parseMarker(parseLine(machine.log(tier).split('\n')[0]!)!.text)?.kind).toBe('cannot-start')
    // When Level 3 cannot start no other tier leaves the mark that Level 4 looks for.
    const [level3] = machine.log('emergency-recovery-').split('\n')
    expect(parseMarker(parseLine(level3!)!.text)?.kind).toBe('manual')
    expect([told(), problems()]).toEqual([[expect.stringMatching(/cannot start: no Node/)], []])

    const folder = join(machine.watchdogDir, 'told')
    const age = (minutes: number) => {
      const at = Date.now() / 1000 - minutes * 60
      for (const name of readdirSync(folder)) utimesSync(join(folder, name), at, at)
    }
    for (const [minutes, times] of [
      [50, 1],
      [61, 2],
      [0, 2],
    ] as const) {
      age(minutes)
      await launch()
      expect(told()).toHaveLength(times)
    }
  })

  test('every channel receives it, one that fails gets it later, and no secret stands on a command line', async (context) => {
    const services = await startAlertServices()
    context.onTestFinished(services.close)
    const { machine, launch, told } = await worldWithoutNode(context, { settings: services.settings })
    const record = join(machine.controlDir, 'curl-argv')
    const curl = ['/usr/bin/curl', '/bin/curl', '/usr/local/bin/curl', '/opt/homebrew/bin/curl'].find(existsSync)
    machine.addTool('curl', `printf '%s\\n' "$*" >>'${record}'\nexec ${curl} "$@"`)
    services.answerNext('slack', { status: 500, body: '' })
    const others = ['slack', 'telegram', 'ntfy', 'webhook'] as const
    const taken = () => [told().length, ...others.map((one) => services.delivered(one).length)]
    // It would ring every phone of the channel, and break JSON that is made by hand.
    const cause = 'odd <!channel> & @everyone "quoted" \\ back'
    for (const expected of [
      [1, 0, 1, 1, 1],
      [1, 1, 1, 1, 1],
    ]) {
      await launch(['--cannot-start', 'gateway-watchdog'], { input: cause })
      expect(taken()).toEqual(expected)
    }
    const said = expect.stringContaining(`watchdog cannot start: ${cause}`)
    expect(services.delivered('slack')[0]!.json.text).toContain('odd &lt;!channel&gt; &amp; @everyone "quoted" \\ back')
    const { TELEGRAM_CHAT_ID: chat_id, TELEGRAM_BOT_TOKEN, NTFY_TOKEN } = services.settings
    expect(services.delivered('telegram')[0]!.json).toMatchObject({ chat_id, text: said })
    expect(services.delivered('ntfy')[0]!.json).toMatchObject({ topic: 'openclaw-alerts', message: said })
    expect(services.delivered('webhook')[0]!.json).toMatchObject({ text: said })
    for (const secret of [TELEGRAM_BOT_TOKEN, NTFY_TOKEN, 'slack-secret', 'stand-in-token'])
      expect(readFileSync(record, 'utf8')).not.toContain(secret)
  })

  test('node_modules deleted: the log says what brings them back', async (context) => {
    const { machine, launch, told, problems } = await world(context, { withoutPackages: true })
    expect((await launch()).code).toBe(1)
    expect(machine.log('watchdog')).toMatch(/cannot start: .*`npm ci` in .*\/checkout /)
    expect([told().length, problems()]).toEqual([1, []])
  })

  test('a script edited into a syntax error: file and line are named; edited back, it runs from the next start', async (context) => {
    const { machine, checkout, launch, told } = await world(context, { folder: 'my checkouts/sélf healing' })
    const help = ['gateway-watchdog', '--help']
    checkout.edit('scripts/gateway-watchdog.ts', (text) => text.replace(/^import /m, 'const broken = (;\nimport '))
    for (let i = 0; i < 2; i++) expect(await launch(help)).toMatchObject({ code: 1, stdout: '' })
    const place = 'my checkouts/sélf healing/scripts/gateway-watchdog.ts:'
    expect(machine.log('watchdog')).toContain(place)
    expect(told()).toEqual([expect.stringContaining(place)])
    checkout.edit('scripts/gateway-watchdog.ts', (text) =>
      text.replace('const broken = (;\n', '').replace('checks the OpenClaw Gateway once', 'was edited in place'),
    )
    expect(await launch(help)).toMatchObject({ code: 0, stdout: expect.stringContaining('was edited in place') })
  })

  test.for<[what: string, script: string | undefined, why: string]>([
    ['throws while it is loaded', "const a = 1\nthrow new Error('in a hurry')", 'gateway-watchdog.ts:2'],
    ['waits for what never comes', 'await new Promise(() => {})', 'unsettled top-level await'],
    [
      'fails outside of any await',
      "setTimeout(() => { throw new Error('out of the blue') }, 10)\nawait new Promise((r) => setTimeout(r, 20000))",
      'out of the blue',
    ],
    ['imports what is not there', "import { nothing } from '../lib/tier/contract.ts'\nnothing()", "'nothing'"],
    ['imports what is broken', "import '../lib/tier/broken.ts'", 'lib/tier/broken.ts:1'],
    ['is gone', undefined, 'gateway-watchdog.ts is missing'],
  ])('a script that %s ends with 1, and its log says why', async ([, script, why], context) => {
    const { machine, checkout, launch, told } = await world(context)
    writeFileSync(join(checkout.root, 'lib/tier/broken.ts'), 'export const = 1\n')
    if (script) checkout.replaceScript('gateway-watchdog', script)
    else rmSync(join(checkout.root, 'scripts/gateway-watchdog.ts'))
    // A dry run changes nothing, neither the log nor the memory of what was sent.
    expect(await launch(['gateway-watchdog', '--dry-run'])).toMatchObject({ code: 1 })
    expect([existsSync(machine.memoryDir), told()]).toEqual([false, []])
    expect((await launch()).code).toBe(1)
    expect(machine.log('watchdog')).toContain(why)
    expect(told()).toHaveLength(1)
  })

  test.for<[what: string, text: (url: string) => string]>([
    ['in double quotes, CRLF, a comment behind', (url) => `A=1\r\nDISCORD_WEBHOOK_URL="${url}" # mine\r\n`],
    ['in single quotes, exported', (url) => `  export DISCORD_WEBHOOK_URL='${url}'\n`],
    ['bare, blanks around =', (url) => `DISCORD_WEBHOOK_URL = ${url}   # mine\n`],
    ['given twice', (url) => `DISCORD_WEBHOOK_URL=http://127.0.0.1:1/\nDISCORD_WEBHOOK_URL=${url}\n`],
  ])('the settings in .env are read: %s', async ([, envFile], context) => {
    const { machine, receiver, launch, told } = await world(context)
    machine.writeEnvFile(`${envFile(receiver.url)}OPENCLAW_MEMORY_DIR="$HOME/logs é"\n`)
    const [logs, instead] = [join(machine.home, 'logs é'), join(machine.watchdogDir, 'logs')]
    // What stands in the environment counts more, and what is empty does not count.
    const report = () => launch(['--cannot-start', 'gateway-watchdog'], { env: { OPENCLAW_MEMORY_DIR: '' } })
    await report()
    expect([told().length, readdirSync(logs).length, existsSync(instead)]).toEqual([1, 1, false])
    // Where no log can be written there it goes to the state folder.
    rmSync(logs, { recursive: true })
    writeFileSync(logs, 'a file where the folder should be')
    await report()
    expect(readdirSync(instead)).toHaveLength(1)
  })

  test('whatever the cause, Discord takes the message, and the log line is one line', async (context) => {
    const { machine, receiver, launch, problems } = await world(context)
    const causes = [
      'quotes " and \\ backslashes \\" \\n and a tab\tand\nline\r\nbreaks',
      '[2026-01-01T00:00:00+00:00] [watchdog] [INFO] RECOVERED by level 1 after 1 s\n[forged] line',
      '\u001b[31mred\u0007 $(reboot) `reboot` ${HOME} %s %n @everyone',
      'é — 日本語 🩺'.repeat(300),
      Buffer.from([0x66, 0x6f, 0x6f, 0xff, 0xfe, 0x80, 0x62, 0x61, 0x72]),
      '',
    ]
    for (const input of causes) await launch(['--cannot-start', 'gateway-watchdog'], { input })
    expect(problems()).toEqual([])
    expect(receiver.delivered().map((message) => message.allowed_mentions)).toEqual(causes.map(() => ({ parse: [] })))
    const lines = machine.log('watchdog').trimEnd().split('\n')
    expect(lines.map((line) => parseMarker(parseLine(line)!.text)?.kind)).toEqual(causes.map(() => 'cannot-start'))
  })
})
