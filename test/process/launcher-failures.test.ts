/** The launcher when a tier cannot even start: what is logged, what the channels receive and how often, the exit code. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseLine, parseMarker } from '../../lib/tier/contract.ts'
import { startAlertServices } from '../support/alert-services.ts'
import { copyCheckout } from '../support/checkout.ts'
import { editScript, machineWithoutNode, machineWithWebhook } from '../support/launcher-machines.ts'

const SCRIPTS = ['gateway-watchdog', 'gateway-healthcheck', 'watchdog-guardian', 'emergency-recovery-monitor']

describe.concurrent('a tier that cannot start', () => {
  test('without any Node each log says so, and Discord hears of it once an hour', async ({ onTestFinished }) => {
    const { machine, receiver, checkout } = await machineWithoutNode(onTestFinished)
    const launch = (script = 'gateway-watchdog') => machine.launch([script], { checkout: checkout.root })
    const runs = await Promise.all([...SCRIPTS, ...SCRIPTS].map(launch))
    expect(runs.map(({ code }) => code)).toEqual(Array(8).fill(1))
    const lines = machine.log('watchdog-').trim().split('\n').map(parseLine)
    expect(lines).toHaveLength(2)
    const text = expect.stringMatching(/^cannot start: no Node\.js that works \(>= 20\.19\) was found: looked at PATH/)
    expect(lines[0]).toMatchObject({ tier: 'watchdog', severity: 'ERROR', text })
    expect(Math.abs(lines[0]!.at.getTime() - Date.now())).toBeLessThan(60_000)
    for (const tier of ['healthcheck', 'guardian', 'monitor'])
      expect(machine.log(tier)).toContain('cannot start: no Node')
    expect(receiver.requests.map(({ problems }) => problems)).toEqual([[]])
    expect(receiver.delivered()[0]!.content).toMatch(/cannot start: no Node/)

    // The hour of the clock is over, but not an hour.
    const told = join(machine.watchdogDir, 'told')
    const [claim] = readdirSync(told)
    const nowSec = Math.floor(Date.now() / 1000)
    const before = claim!.replace(/\d+$/, String(Math.floor(nowSec / 3600) - 1))
    renameSync(join(told, claim!), join(told, before))
    writeFileSync(join(told, before), `${nowSec - 1800}\n`)
    await launch()
    expect(receiver.delivered()).toHaveLength(1)
    // Now it is.
    writeFileSync(join(told, before), `${nowSec - 3601}\n`)
    await launch()
    expect(receiver.delivered()).toHaveLength(2)
  })

  test('what Discord did not take is sent at the next start', async ({ onTestFinished }) => {
    const { machine, receiver, checkout } = await machineWithoutNode(onTestFinished)
    receiver.answerNext({ status: 500, body: '' }, 'reset')
    for (let i = 0; i < 4; i++) await machine.launch(['gateway-watchdog'], { checkout: checkout.root })
    expect(receiver.delivered()).toHaveLength(1)
    expect(receiver.requests).toHaveLength(3)
  })

  test('every channel receives it, one that fails holds up no other, and no secret stands on a command line', async ({
    onTestFinished,
  }) => {
    const services = await startAlertServices()
    onTestFinished(services.close)
    const { machine, receiver, checkout } = await machineWithoutNode(onTestFinished, services.settings)
    const record = join(machine.controlDir, 'curl-argv')
    const curl = ['/usr/bin/curl', '/bin/curl', '/usr/local/bin/curl', '/opt/homebrew/bin/curl'].find(existsSync)
    machine.addTool('curl', `printf '%s\\n' "$*" >>'${record}'\nexec ${curl} "$@"`)
    services.answerNext('slack', { status: 500, body: '' })
    const taken = () =>
      [receiver, ...(['slack', 'telegram', 'ntfy', 'webhook'] as const)].map((one) =>
        typeof one === 'string' ? services.delivered(one).length : one.delivered().length,
      )
    // It would ring every phone of the channel, and break JSON that is made by hand.
    const cause = 'odd <!channel> & @everyone "quoted" \\ back'
    const launch = () =>
      machine.launch(['--cannot-start', 'gateway-watchdog'], { checkout: checkout.root, input: cause })
    await launch()
    expect(taken()).toEqual([1, 0, 1, 1, 1])
    await launch()
    expect(taken()).toEqual([1, 1, 1, 1, 1])

    const said = expect.stringContaining(`watchdog cannot start: ${cause}`)
    expect(services.delivered('slack')[0]!.json.text).toContain('odd &lt;!channel&gt; &amp; @everyone "quoted" \\ back')
    const { TELEGRAM_CHAT_ID: chat_id, TELEGRAM_BOT_TOKEN, NTFY_TOKEN } = services.settings
    expect(services.delivered('telegram')[0]!.json).toMatchObject({ chat_id, text: said })
    expect(services.delivered('ntfy')[0]!.json).toMatchObject({ topic: 'openclaw-alerts', message: said })
    expect(services.delivered('webhook')[0]!.json).toMatchObject({ text: said })
    for (const secret of [TELEGRAM_BOT_TOKEN, NTFY_TOKEN, 'slack-secret', 'stand-in-token'])
      expect(readFileSync(record, 'utf8')).not.toContain(secret)
  })

  test('node_modules deleted: the log says what brings them back', async ({ onTestFinished }) => {
    const { machine, receiver } = await machineWithWebhook(onTestFinished)
    const checkout = copyCheckout(join(machine.root, 'checkout'), { withoutPackages: true })
    for (const name of ['gateway-watchdog', 'watchdog-guardian'])
      expect((await machine.launch([name], { checkout: checkout.root })).code).toBe(1)
    expect(machine.log('watchdog')).toMatch(/cannot start: Cannot find package .*`npm ci` in .*\/checkout brings/)
    expect(receiver.requests.flatMap(({ problems }) => problems)).toEqual([])
    expect(receiver.delivered().length).toBeGreaterThan(0)
  })

  test('a script edited into a syntax error: file and line are named; edited back, it runs from the next start', async ({
    onTestFinished,
  }) => {
    const { machine, receiver } = await machineWithWebhook(onTestFinished)
    const checkout = copyCheckout(join(machine.root, 'my checkouts', 'sélf healing'))
    mkdirSync(machine.watchdogDir)
    const launch = () => machine.launch(['gateway-watchdog', '--help'], { checkout: checkout.root })
    editScript(checkout, 'gateway-watchdog', 'const broken = (;')
    for (let i = 0; i < 2; i++) expect(await launch()).toMatchObject({ code: 1, stdout: '' })
    const place = 'my checkouts/sélf healing/scripts/gateway-watchdog.ts:'
    expect(machine.log('watchdog')).toContain(place)
    expect(receiver.requests.flatMap(({ problems }) => problems)).toEqual([])
    expect(receiver.delivered().map(({ content }) => content)).toEqual([expect.stringContaining(place)])
    checkout.edit('scripts/gateway-watchdog.ts', (text) =>
      text.replace('const broken = (;\n', '').replace('checks the OpenClaw Gateway once', 'was edited in place'),
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
    const place = expect.stringContaining('lib/tier/contract.ts:1')
    expect(receiver.delivered().map(({ content }) => content)).toEqual([place])
    // When Level 3 cannot start no other tier leaves the mark that Level 4 looks for.
    const [line] = machine.log('emergency-recovery-').trim().split('\n')
    expect(parseMarker(parseLine(line!)!.text)).toMatchObject({ kind: 'manual' })
  })

  test.for<[what: string, beginning: string | undefined, why: string]>([
    ['throws while it is loaded', "throw new Error('edited in a hurry')", 'edited in a hurry'],
    ['waits for what never comes', 'await new Promise(() => {})', 'unsettled top-level await'],
    [
      'fails outside of any await',
      "setTimeout(() => { throw new Error('out of the blue') }, 10)\nawait new Promise((r) => setTimeout(r, 20000))",
      'out of the blue',
    ],
    ['imports what is not there', "import { nothing } from '../lib/tier/contract.ts'\nnothing()", "'nothing'"],
    ['is gone', undefined, 'gateway-watchdog.ts is missing'],
  ])('a script that %s ends with 1, and its log says why', async ([, beginning, why], { onTestFinished }) => {
    const { machine, receiver } = await machineWithWebhook(onTestFinished)
    const checkout = copyCheckout(join(machine.root, 'checkout'))
    if (beginning) editScript(checkout, 'gateway-watchdog', beginning)
    else rmSync(join(checkout.root, 'scripts', 'gateway-watchdog.ts'))
    const flags = beginning?.includes('import') ? ['--dry-run'] : []
    expect((await machine.launch(['gateway-watchdog', ...flags], { checkout: checkout.root })).code).toBe(1)
    // A dry run changes nothing, neither the log nor the memory of what was sent.
    if (flags.length === 0) expect(machine.log('watchdog')).toContain(why)
    else expect(existsSync(machine.memoryDir)).toBe(false)
    expect(receiver.delivered()).toHaveLength(flags.length === 0 ? 1 : 0)
  })

  test.for<[what: string, text: (url: string) => string]>([
    ['in double quotes, CRLF, a comment behind', (url) => `A=1\r\nDISCORD_WEBHOOK_URL="${url}" # mine\r\n`],
    ['in single quotes, exported', (url) => `  export DISCORD_WEBHOOK_URL='${url}'\n`],
    ['bare, blanks around =', (url) => `DISCORD_WEBHOOK_URL = ${url}   # mine\n`],
    ['given twice', (url) => `DISCORD_WEBHOOK_URL=http://127.0.0.1:1/\nDISCORD_WEBHOOK_URL=${url}\n`],
  ])('the settings in .env are read: %s', async ([, envFile], { onTestFinished }) => {
    const { machine, receiver, checkout } = await machineWithoutNode(onTestFinished)
    machine.writeEnvFile(`${envFile(receiver.url)}OPENCLAW_MEMORY_DIR="$HOME/logs é"\n`)
    // What stands in the environment counts more, and what is empty does not count.
    const env = { OPENCLAW_MEMORY_DIR: '' }
    await machine.launch(['gateway-watchdog'], { checkout: checkout.root, env })
    expect(receiver.delivered()).toHaveLength(1)
    const logs = [expect.stringMatching(/^watchdog-\d{4}-\d\d-\d\d\.log$/)]
    expect(readdirSync(join(machine.home, 'logs é'))).toEqual(logs)
  })

  test('whatever the cause, Discord takes the message, and the log line is one line', async ({ onTestFinished }) => {
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
})
