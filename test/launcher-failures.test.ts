/** The launcher when a tier cannot even start: what is logged, what Discord is told and how often, the exit code. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseLine, parseMarker } from '../lib/tier/contract.ts'
import { startAlertServices } from './support/alert-services.ts'
import { copyCheckout } from './support/checkout.ts'
import { editScript, machineWithoutNode, machineWithWebhook } from './support/launcher-machines.ts'

describe.concurrent('a tier that cannot start', () => {
  test('without any Node: the log says so, and Discord is told once for all tiers within the hour', async ({
    onTestFinished,
  }) => {
    const { machine, receiver, checkout } = await machineWithoutNode(onTestFinished)
    const launch = (script: string) => machine.launch([script], { checkout: checkout.root })
    expect(await launch('gateway-watchdog')).toMatchObject({ code: 1, stdout: '' })
    for (const script of ['gateway-watchdog', 'gateway-healthcheck', 'watchdog-guardian', 'emergency-recovery-monitor'])
      expect((await launch(script)).code).toBe(1)

    const lines = machine.log('watchdog').trim().split('\n').map(parseLine)
    expect(lines).toHaveLength(2)
    expect(lines[0]).toMatchObject({
      tier: 'watchdog',
      severity: 'ERROR',
      text: expect.stringMatching(/^cannot start: no Node\.js that works \(>= 20\.19\) was found: looked at PATH/),
    })
    expect(Math.abs(lines[0]!.at.getTime() - Date.now())).toBeLessThan(60_000)
    for (const tier of ['healthcheck', 'guardian', 'monitor'])
      expect(machine.log(tier)).toContain('cannot start: no Node')
    expect(receiver.requests.map(({ problems }) => problems)).toEqual([[]])
    expect(receiver.delivered()[0]!.content).toMatch(/watchdog cannot start: no Node/)

    const told = join(machine.watchdogDir, 'told')
    for (const name of readdirSync(told)) writeFileSync(join(told, name), `${Math.floor(Date.now() / 1000) - 3601}\n`)
    await launch('gateway-watchdog')
    expect(receiver.delivered()).toHaveLength(2)
  })

  test('what Discord did not take is told at the next start', async ({ onTestFinished }) => {
    const { machine, receiver, checkout } = await machineWithoutNode(onTestFinished)
    receiver.answerNext({ status: 500, body: '' }, 'reset')
    for (let i = 0; i < 4; i++) await machine.launch(['gateway-watchdog'], { checkout: checkout.root })
    expect(receiver.delivered()).toHaveLength(1)
    expect(receiver.requests).toHaveLength(3)
    expect(machine.log('watchdog').match(/Discord was not told: curl: \(\d+\)/g)).toHaveLength(2)
  })

  test('five tiers that fail in the same second tell Discord once', async ({ onTestFinished }) => {
    const { machine, receiver, checkout } = await machineWithoutNode(onTestFinished)
    const scripts = ['gateway-watchdog', 'gateway-healthcheck', 'watchdog-guardian', 'emergency-recovery-monitor']
    const runs = await Promise.all(
      [...scripts, ...scripts].map((name) => machine.launch([name], { checkout: checkout.root })),
    )
    expect(runs.map(({ code }) => code)).toEqual(Array(8).fill(1))
    expect(receiver.delivered()).toHaveLength(1)
  })

  test('the webhook address stands on no command line', async ({ onTestFinished }) => {
    const { machine, receiver, checkout } = await machineWithoutNode(onTestFinished)
    const record = join(machine.controlDir, 'curl-argv')
    const curl = ['/usr/bin/curl', '/bin/curl', '/usr/local/bin/curl', '/opt/homebrew/bin/curl'].find((path) =>
      existsSync(path),
    )
    machine.addTool('curl', `printf '%s\\n' "$*" >>'${record}'\nexec ${curl} "$@"`)
    await machine.launch(['gateway-watchdog'], { checkout: checkout.root })
    expect(receiver.delivered()).toHaveLength(1)
    expect(readFileSync(record, 'utf8')).toContain('--config -')
    expect(readFileSync(record, 'utf8')).not.toContain('stand-in-token')
  })

  test('every configured channel is told, and one that fails holds none of the others', async ({ onTestFinished }) => {
    const services = await startAlertServices()
    onTestFinished(services.close)
    const { machine, receiver, checkout } = await machineWithoutNode(onTestFinished, services.settings)
    const record = join(machine.controlDir, 'curl-argv')
    const curl = ['/usr/bin/curl', '/bin/curl', '/usr/local/bin/curl', '/opt/homebrew/bin/curl'].find((path) =>
      existsSync(path),
    )
    machine.addTool('curl', `printf '%s\\n' "$*" >>'${record}'\nexec ${curl} "$@"`)
    services.answerNext('slack', { status: 500, body: '' })
    const channels = ['slack', 'telegram', 'ntfy', 'webhook'] as const
    const taken = () => channels.map((name) => services.delivered(name).length)
    // A script named like this would ring everybody's phone, and break JSON made by hand.
    const cause = 'odd <!channel> & @everyone "quoted" \\ back'
    const launch = () =>
      machine.launch(['--cannot-start', 'gateway-watchdog'], { checkout: checkout.root, input: cause })

    await launch()
    expect(receiver.delivered()).toHaveLength(1)
    expect(taken()).toEqual([0, 1, 1, 1])
    expect(machine.log('watchdog')).toMatch(/Slack was not told: curl: \(22\)/)
    await launch()
    expect(receiver.delivered()).toHaveLength(1)
    expect(taken()).toEqual([1, 1, 1, 1])

    const said = `watchdog cannot start: ${cause}`
    expect(services.delivered('slack')[0]!.json.text).toContain('odd &lt;!channel&gt; &amp; @everyone "quoted" \\ back')
    expect(services.delivered('telegram')[0]!.json).toMatchObject({
      chat_id: services.settings.TELEGRAM_CHAT_ID,
      text: expect.stringContaining(said),
    })
    expect(services.delivered('ntfy')[0]!.json).toMatchObject({
      topic: 'openclaw-alerts',
      message: expect.stringContaining(said),
    })
    expect(services.delivered('webhook')[0]!.json.text).toContain(said)
    const argv = readFileSync(record, 'utf8')
    for (const secret of [services.settings.TELEGRAM_BOT_TOKEN, services.settings.NTFY_TOKEN, 'slack-secret'])
      expect(argv).not.toContain(secret)
  })

  test('node_modules deleted: the log says what brings them back, Discord is told, exit 1', async ({
    onTestFinished,
  }) => {
    const { machine, receiver } = await machineWithWebhook(onTestFinished)
    const checkout = copyCheckout(join(machine.root, 'checkout'), { withoutPackages: true })
    for (const name of ['gateway-watchdog', 'watchdog-guardian'])
      expect((await machine.launch([name], { checkout: checkout.root })).code).toBe(1)
    expect(machine.log('watchdog')).toMatch(/cannot start: Cannot find package .*`npm ci` in .*\/checkout brings/)
    expect(receiver.requests.flatMap(({ problems }) => problems)).toEqual([])
    expect(receiver.delivered().length).toBeGreaterThan(0)
  })

  test('a script edited into a syntax error: file and line are told; edited back, it runs from the next start', async ({
    onTestFinished,
  }) => {
    const { machine, receiver } = await machineWithWebhook(onTestFinished)
    const checkout = copyCheckout(join(machine.root, 'checkout'))
    const launch = () => machine.launch(['gateway-watchdog', '--help'], { checkout: checkout.root })
    editScript(checkout, 'gateway-watchdog', 'const broken = (;')
    expect(await launch()).toMatchObject({ code: 1, stdout: '' })
    expect(await launch()).toMatchObject({ code: 1 })
    expect(machine.log('watchdog')).toMatch(/\[ERROR\] cannot start: .*scripts\/gateway-watchdog\.ts:\d+/)
    expect(receiver.delivered()).toHaveLength(1)
    expect(receiver.delivered()[0]!.content).toContain('gateway-watchdog.ts:')

    checkout.edit('scripts/gateway-watchdog.ts', (text) =>
      text.replace('const broken = (;\n', '').replace('looks at the OpenClaw Gateway once', 'was edited in place'),
    )
    expect(await launch()).toMatchObject({ code: 0, stdout: expect.stringContaining('was edited in place') })
  })

  test('a broken file that all tiers share is one cause', async ({ onTestFinished }) => {
    const { machine, receiver } = await machineWithWebhook(onTestFinished)
    const checkout = copyCheckout(join(machine.root, 'checkout'))
    checkout.edit('lib/tier/contract.ts', (text) => `export const = 1\n${text}`)
    writeFileSync(join(checkout.root, 'scripts', 'emergency-recovery.ts'), "import '../lib/tier/contract.ts'\n")
    for (const name of ['gateway-watchdog', 'gateway-healthcheck', 'emergency-recovery'])
      expect((await machine.launch([name], { checkout: checkout.root })).code).toBe(1)
    expect(receiver.delivered().map(({ content }) => content)).toEqual([
      expect.stringContaining('lib/tier/contract.ts:1'),
    ])
    // For Level 3 nobody else could leave the mark that Level 4 looks for.
    const [line] = machine.log('emergency-recovery-').trim().split('\n')
    expect(parseMarker(parseLine(line!)!.text)).toMatchObject({ kind: 'manual' })
  })

  test.for<[what: string, beginning: string, why: string]>([
    ['throws while it is loaded', "throw new Error('edited in a hurry')", 'edited in a hurry'],
    [
      'waits for something that never comes',
      'await new Promise(() => {})',
      'it waits for something that can never happen',
    ],
    [
      'fails behind the tier’s back',
      "setTimeout(() => { throw new Error('out of the blue') }, 10)\nawait new Promise((r) => setTimeout(r, 20000))",
      'out of the blue',
    ],
    [
      'imports what is not there',
      "import { nothing } from '../lib/tier/contract.ts'\nnothing()",
      "does not provide an export named 'nothing'",
    ],
  ])('a script that %s ends with 1, and its log says why', async ([, beginning, why], { onTestFinished }) => {
    const { machine } = await machineWithWebhook(onTestFinished)
    const checkout = copyCheckout(join(machine.root, 'checkout'))
    editScript(checkout, 'gateway-watchdog', beginning)
    expect((await machine.launch(['gateway-watchdog', '--help'], { checkout: checkout.root })).code).toBe(1)
    expect(machine.log('watchdog')).toContain(why)
  })

  test('a script that was deleted is told like any other cause', async ({ onTestFinished }) => {
    const { machine, receiver } = await machineWithWebhook(onTestFinished)
    const checkout = copyCheckout(join(machine.root, 'checkout'))
    rmSync(join(checkout.root, 'scripts', 'gateway-watchdog.ts'))
    expect((await machine.launch(['gateway-watchdog'], { checkout: checkout.root })).code).toBe(1)
    expect(receiver.delivered()[0]!.content).toContain('gateway-watchdog.ts is missing')
  })

  test('a checkout whose path has a blank and an é', async ({ onTestFinished }) => {
    const { machine, receiver } = await machineWithWebhook(onTestFinished)
    const checkout = copyCheckout(join(machine.root, 'my checkouts', 'sélf healing'))
    expect(await machine.launch(['gateway-watchdog', '--help'], { checkout: checkout.root })).toMatchObject({
      code: 0,
      stderr: '',
    })
    editScript(checkout, 'gateway-watchdog', 'const broken = (;')
    expect((await machine.launch(['gateway-watchdog'], { checkout: checkout.root })).code).toBe(1)
    expect(receiver.requests.flatMap(({ problems }) => problems)).toEqual([])
    expect(receiver.delivered()[0]!.content).toContain('my checkouts/sélf healing/scripts/gateway-watchdog.ts:')
  })

  test.for<[what: string, text: (url: string) => string]>([
    ['in double quotes, CRLF, a comment behind', (url: string) => `A=1\r\nDISCORD_WEBHOOK_URL="${url}" # mine\r\n`],
    ['in single quotes, exported', (url: string) => `  export DISCORD_WEBHOOK_URL='${url}'\n`],
    ['bare, blanks around =', (url: string) => `DISCORD_WEBHOOK_URL = ${url}   # mine\n`],
    [
      'given twice: the last counts',
      (url: string) => `DISCORD_WEBHOOK_URL=http://127.0.0.1:1/\nDISCORD_WEBHOOK_URL=${url}\n`,
    ],
  ])('the webhook of .env is read: %s', async ([, envFile], { onTestFinished }) => {
    const { machine, receiver, checkout } = await machineWithoutNode(onTestFinished)
    machine.writeEnvFile(`${envFile(receiver.url)}OPENCLAW_MEMORY_DIR="$HOME/logs é"\n`)
    await machine.launch(['gateway-watchdog'], { checkout: checkout.root })
    expect(receiver.delivered()).toHaveLength(1)
    expect(readdirSync(join(machine.home, 'logs é'))).toEqual([
      expect.stringMatching(/^watchdog-\d{4}-\d\d-\d\d\.log$/),
    ])
  })

  test('an environment setting counts more than .env, and an empty one does not count', async ({ onTestFinished }) => {
    const { machine, receiver, checkout } = await machineWithoutNode(onTestFinished)
    machine.writeEnvFile('DISCORD_WEBHOOK_URL=http://127.0.0.1:1/\nOPENCLAW_MEMORY_DIR=~/from-file\n')
    const env = { DISCORD_WEBHOOK_URL: receiver.url, OPENCLAW_MEMORY_DIR: '' }
    await machine.launch(['gateway-watchdog'], { checkout: checkout.root, env })
    expect(receiver.delivered()).toHaveLength(1)
    expect(existsSync(join(machine.home, 'from-file'))).toBe(true)
  })

  test('whatever stands in the cause, the message is one that Discord takes and the log line is one line', async ({
    onTestFinished,
  }) => {
    const { machine, receiver } = await machineWithWebhook(onTestFinished)
    const causes = [
      'quotes " and \\ backslashes \\" \\n and a tab\tand\nline\r\nbreaks',
      '[2026-01-01T00:00:00+00:00] [watchdog] [INFO] RECOVERED by level 1 after 1 s\n[forged] line',
      '\u001b[31mred\u0007 $(reboot) `reboot` ${HOME} %s %n @everyone',
      'é — 日本語 🩺'.repeat(300),
      Buffer.from([0x66, 0x6f, 0x6f, 0xff, 0xfe, 0x80, 0x62, 0x61, 0x72]),
      '',
    ]
    for (const cause of causes) await machine.launch(['--cannot-start', 'gateway-watchdog'], { input: cause })
    expect(receiver.requests.flatMap(({ problems }) => problems)).toEqual([])
    expect(receiver.delivered()).toHaveLength(causes.length)
    for (const message of receiver.delivered()) expect(message.allowed_mentions).toEqual({ parse: [] })
    const lines = machine.log('watchdog').trimEnd().split('\n')
    expect(lines).toHaveLength(causes.length)
    for (const line of lines) expect(parseLine(line)?.text).toMatch(/^cannot start: /)
  })

  test('a log folder that cannot be written: the log goes to the state folder', async ({ onTestFinished }) => {
    const { machine, checkout } = await machineWithoutNode(onTestFinished)
    mkdirSync(join(machine.home, 'openclaw'))
    writeFileSync(machine.memoryDir, 'a file where the folder should be')
    expect((await machine.launch(['gateway-watchdog'], { checkout: checkout.root })).code).toBe(1)
    expect(readdirSync(join(machine.watchdogDir, 'logs'))).toHaveLength(1)
  })

  test('a claim of an earlier version of the clock does not silence it for ever', async ({ onTestFinished }) => {
    const { machine, receiver, checkout } = await machineWithoutNode(onTestFinished)
    const launch = () => machine.launch(['gateway-watchdog'], { checkout: checkout.root })
    await launch()
    const told = join(machine.watchdogDir, 'told')
    const [claim] = readdirSync(told)
    // Told "in two days": the clock was set back since.
    writeFileSync(join(told, claim!), `${Math.floor(Date.now() / 1000) + 2 * 86_400}\n`)
    await launch()
    expect(receiver.delivered()).toHaveLength(2)
    // Its writer was killed before it could write the time: then the file's own time counts.
    writeFileSync(join(told, claim!), '')
    await launch()
    expect(receiver.delivered()).toHaveLength(2)
    const old = new Date(Date.now() - 2 * 3_600_000)
    utimesSync(join(told, claim!), old, old)
    await launch()
    expect(receiver.delivered()).toHaveLength(3)
  })

  test('of two runs that find a claim of an hour ago, the slower one does not take the new claim for it', async ({
    onTestFinished,
  }) => {
    const { machine, receiver, checkout } = await machineWithoutNode(onTestFinished)
    const launch = () => machine.launch(['gateway-watchdog'], { checkout: checkout.root })
    await launch()
    const told = join(machine.watchdogDir, 'told')
    const [claim] = readdirSync(told)
    const now = Math.floor(Date.now() / 1000)
    writeFileSync(join(told, claim!), `${now - 3601}\n`)
    // The quicker one comes between this one's look and its taking away.
    machine.addTool('mv', `case $1 in *-Discord) echo ${now} >"$1" ;; esac; exec /bin/mv "$@"`)
    await launch()
    expect(receiver.delivered()).toHaveLength(1)
    expect(readdirSync(told)).toEqual([claim])
    expect(readFileSync(join(told, claim!), 'utf8')).toBe(`${now}\n`)
  })
})
