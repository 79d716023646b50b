/** `npm run status -- --fleet`: several HOMEs behind a stand-in for ssh, which hands its command to a shell of that HOME. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { expect } from 'vitest'
import { test } from '../support/boxes.ts'
import { copyCheckout } from '../support/checkout.ts'
import { installIn, writeReceipt } from '../support/fleet.ts'
import { projectDir, type Sandbox, waitFor } from '../support/sandbox.ts'
import { typescriptLoader } from '../support/script-process.ts'

/** At a desk with an ssh that knows the hosts which the test plans. */
function desk(box: Sandbox) {
  const [plans, calls] = ['plans', 'ssh-calls'].map((name) => join(box.root, name)) as [string, string]
  mkdirSync(plans)
  const find = 'while [ "$1" != -- ]; do shift; done; host=$2; shift 2'
  box.addTool('ssh', `printf '%s\\n' "$*" >>'${calls}'\n${find}\n. '${plans}'/"$host"`)
  return {
    fleet: (...args: string[]) => box.runScript('status', ['--fleet', ...args]),
    /** What ssh does for this host: a shell script; the words to be run there are "$@". */
    plan: (host: string, script: string) => writeFileSync(join(plans, host), `${script}\n`),
    calls: () => (existsSync(calls) ? readFileSync(calls, 'utf8').trim().split('\n') : []),
  }
}

const runIn = ({ home, env }: Sandbox) => `exec env -i HOME='${home}' PATH='${env.PATH}' sh -c "$*"`
/** In the place of the other machine's status. */
const says = (text: string) => `cat >/dev/null
cat <<'TEXT'

openclaw-self-healing: status begins
${text}

openclaw-self-healing: status ends
TEXT`
const row = (host: string, ...cells: (string | RegExp)[]) =>
  new RegExp(`^${[host, ...cells.map((cell) => (typeof cell === 'string' ? cell : cell.source))].join(' {2,}')}`, 'm')
const tooWide = (text: string, columns = 80) => text.split('\n').filter((line) => [...line].length > columns)

test('one table of all machines; what is wrong and what to do follows; exit 0 only when all are well', async ({
  sandbox,
  onTestFinished,
}) => {
  const [here, alpha, beta] = await Promise.all([sandbox({ absent: ['openclaw'] }), sandbox(), sandbox()])
  const { fleet, plan, calls } = desk(here!)
  await alpha!.startGateway()
  await Promise.all([alpha!, beta!].map(installIn))
  await beta!.endProcesses()
  beta!.writeConfig('{ "gateway": ')
  plan('alpha', runIn(alpha!))
  plan('me@beta', runIn(beta!))
  plan('gone', 'echo "ssh: connect to host gone port 22: Connection refused" >&2; exit 255')
  plan('new', 'echo "No ED25519 host key is known for new." >&2; echo "Host key verification failed." >&2; exit 255')
  plan('locked', "printf 'me@locked: Permission denied (publickey).\\r\\n' >&2; exit 255")

  const well = await fleet('alpha', 'alpha')
  expect(well, well.stdout).toMatchObject({ code: 0, stderr: '' })
  expect(well.stdout).toMatch(row('alpha', '● healthy', /\d+ (?:s|min)/, /\d+\.\d\d %/, '0 of 6', '-'))
  // Asked once, without a question to anybody; whether host keys are trusted is for the user's own ssh to say.
  expect(calls()).toEqual([expect.stringMatching(/-o BatchMode=yes .*-- alpha sh -s$/)])
  expect(calls().join()).not.toMatch(/StrictHostKey|UserKnownHosts/)

  const all = await fleet('alpha', 'me@beta', 'gone', 'new', 'locked')
  expect(all.code).toBe(1)
  expect(all.stdout).toMatch(row('alpha', '● healthy'))
  expect(all.stdout).toMatch(row('me@beta', '○ misconfigured'))
  expect(all.stdout).toMatch(row('gone', '✕ unknown'))
  expect(all.stdout).toMatch(/\nme@beta: the gateway is not up \(misconfigured\)[^➜]*\n➜ /)
  const inOneLine = all.stdout.replace(/\n {2}/g, ' ')
  expect(inOneLine).toMatch(/\ngone: .*Connection refused/)
  expect(inOneLine).toMatch(/\nnew: .*Host key verification failed/)
  expect(inOneLine).toMatch(/\nlocked: .*Permission denied/)
  expect(all.stdout).not.toMatch(/\nalpha: |[\u001b\r]/)
  expect(tooWide(all.stdout)).toEqual([])
  // In a narrow terminal the columns that matter least are left out.
  const tmux = async (...args: string[]) => {
    const argv = ['-u', '-L', `fleet-${process.pid}`, '-f', '/dev/null', ...args]
    return (await execa('tmux', argv, { env: here!.env, extendEnv: false })).stdout
  }
  onTestFinished(async () => void (await tmux('kill-server')))
  const command = [process.execPath, ...typescriptLoader(), join(projectDir, 'scripts', 'status.ts'), '--fleet']
  await tmux('new-session', '-d', '-x', '40', '-y', '60', `${[...command, 'me@beta', 'gone'].join(' ')}; read _`)
  await waitFor(async () => (await tmux('capture-pane', '-p')).includes('Well: 0 of 2'), 'the table')
  const shown = (await tmux('capture-pane', '-p')).split('\n')
  const rows = shown.slice(shown.findIndex((line) => /^machine +gateway/.test(line)) + 1)
  expect(shown.join('\n')).not.toContain('incident')
  expect(rows.slice(0, 2)).toEqual([
    expect.stringMatching(row('me@beta', '○ misconfigured')),
    expect.stringMatching(row('gone', '✕ unknown')),
  ])

  const asJson = JSON.parse((await fleet('--json', 'me@beta', 'alpha', 'gone')).stdout)
  expect(asJson).toMatchObject([
    { host: 'me@beta', isWell: false, status: { isWell: false, gateway: { verdict: 'misconfigured' } } },
    { host: 'alpha', isWell: true, status: { isWell: true, gateway: { verdict: 'healthy', isUp: true } } },
    { host: 'gone', isWell: false, problem: expect.stringContaining('Connection refused') },
  ])
})

test('without an installation, its scripts gone or damaged, an older one, settings that are unusable, a profile', async ({
  sandbox,
}) => {
  const make = () => Promise.all([sandbox(), sandbox(), sandbox(), sandbox()])
  const [[here, bare, moved, old], [work, damaged, unusable]] = await Promise.all([make(), make()])
  const { fleet, plan } = desk(here)
  for (const [host, box] of Object.entries({ bare, moved, old, work, damaged, unusable })) plan(host, runIn(box))
  const checkout = copyCheckout(join(damaged.root, 'checkout'))
  rmSync(join(checkout.root, 'scripts', 'status.ts'))
  writeReceipt(damaged, checkout.root)
  writeReceipt(unusable)
  unusable.writeEnvFile('HEALTH_CHECK_RETRY_DELAY=abc\n')
  writeReceipt(moved, "/srv/it's away")
  const root = join(old.root, 'old version')
  mkdirSync(join(root, 'scripts'), { recursive: true })
  const refuses = "printf '%s\\n' 'usage: sh run-tier.sh gateway-watchdog|gateway-healthcheck [flags]' >&2; exit 2\n"
  writeFileSync(join(root, 'scripts', 'run-tier.sh'), refuses)
  writeReceipt(old, root)
  writeReceipt(work, projectDir, 'work')

  const { code, stdout } = await fleet('bare', 'moved', 'old', 'work', 'damaged', 'unusable')
  expect(code).toBe(1)
  expect(stdout).toMatch(/\nbare: nothing is installed there/)
  expect(stdout).toMatch(/\nmoved: .*\(\/srv\/it's away\)/)
  expect(stdout).toMatch(/\nold: an older version/)
  expect(stdout).toMatch(/\nwork: nothing is installed there/)
  expect(stdout).toMatch(/\ndamaged: [^➜]*\/scripts\/status\.ts\s+is\s+missing/)
  expect(stdout).toMatch(/\nunusable: [^➜]*HEALTH_CHECK_RETRY_DELAY="abc"/)
  const ofProfile = JSON.parse((await fleet('work', 'bare', '--profile', 'work', '--json')).stdout)
  expect(ofProfile).toMatchObject([{ status: { profile: 'work' } }, { problem: expect.stringContaining('work') }])
  // Asking leaves nothing behind.
  expect(existsSync(join(bare.stateDir, 'watchdog'))).toBe(false)
  expect([damaged, unusable].flatMap(({ stateDir }) => readdirSync(join(stateDir, 'watchdog')))).toEqual([
    'receipt.json',
    'receipt.json',
  ])
  expect([...damaged.memoryFiles(), ...unusable.memoryFiles()]).toEqual([])
})

test('what a login prints is no status, and what a machine says is only text', async ({ sandbox }) => {
  const [here, loud] = await Promise.all([sandbox(), sandbox()])
  const { fleet, plan } = desk(here!)
  await loud!.startGateway()
  await installIn(loud!)
  const banner = 'echo "*** authorized use only ***" >&2; echo "{\\"gateway\\": 1}"; printf "Welcome "'
  plan('loud', `${banner}; env -i HOME='${loud!.home}' PATH='${loud!.env.PATH}' sh -c "$*"; echo Bye; exit 1`)
  expect(await fleet('loud')).toMatchObject({ code: 0, stdout: expect.stringMatching(row('loud', '● healthy')) })

  const odd = (gateway: unknown, more = {}) => says(JSON.stringify({ gateway, ...more }))
  const escapes = '\u001b]0;title\u0007\u001b[31m\u009b2J\u202e'
  const token = `ghp_${'a1'.repeat(18)}`
  plan('sparse', odd({ verdict: 'healthy' }))
  plan(
    'kinds',
    odd({ verdict: 'healthy', isUp: 'yes', since: {} }, { incidents: [7], doctor: { visits: { toString: 1 } } }),
  )
  plan('dates', odd({ verdict: 'hung', since: '+275760-09-13T00:00:00.000Z' }, { at: '-000009-01-01', todo: 'x' }))
  plan(
    'sly',
    odd({ verdict: `up${escapes}` }, { isWell: false, problems: [`${escapes}a\nforged: row ${token}`], [escapes]: 1 }),
  )
  plan('long', odd({ verdict: 'x'.repeat(100_000) }, { isWell: false, problems: ['y '.repeat(100_000)] }))
  plan('deep', says('{"gateway":{"verdict":"healthy"},"deep":'.concat('['.repeat(90_000), ']'.repeat(90_000), '}')))
  plan('many', says('["a"'.concat(',"a"'.repeat(900_000), ']')))
  plan('begins', "cat >/dev/null; yes 'openclaw-self-healing: status begins' | head -c 3000000")
  plan('half', says('{"gateway": {"verdict": "hea'))
  plan('list', says('[1, 2]'))
  plan('mute', 'cat >/dev/null')
  plan('endless', "exec tr '\\0' y </dev/zero")
  const names = ['sparse', 'kinds', 'dates', 'sly', 'long', 'deep', 'many', 'begins', 'half', 'list', 'mute', 'endless']
  const { code, stdout, stderr } = await fleet(...names)
  expect({ code, stderr }).toEqual({ code: 1, stderr: '' })
  for (const name of names) {
    expect(stdout).toMatch(row(name))
    expect(stdout).toMatch(new RegExp(`^${name}: `, 'm'))
  }
  expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]|^forged/m)
  expect(stdout).not.toContain(token)
  expect(stdout.length).toBeLessThan(10_000)
  const asJson = await fleet(...names, '--json')
  expect(asJson.stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/)
  expect(asJson.stdout).not.toContain(token)
  expect(JSON.parse(asJson.stdout).map(({ isWell }: { isWell: boolean }) => isWell)).not.toContain(true)
})

test('a machine that never answers is waited for half a minute, and the others are shown; Ctrl-C ends what was begun', async ({
  sandbox,
}) => {
  const here = await sandbox()
  const { fleet, plan, calls } = desk(here)
  plan('asleep', "trap '' TERM HUP; sleep 600; sleep 600")
  const gateway = { verdict: 'healthy', isUp: true, warnings: ['3 runs failed'] }
  plan('sure', says(JSON.stringify({ isWell: true, gateway, attention: ['the gateway has a warning'] })))
  const { code, stdout } = await fleet('asleep', 'sure')
  expect(code).toBe(1)
  expect(stdout).toMatch(row('sure', '● healthy'))
  expect(stdout).toMatch(/^sure: .*the gateway has a warning\.\n! 3 runs failed$/m)
  expect(stdout).toMatch(/^asleep: .*30 s/m)
  expect(here.processes()).toEqual([])

  const asking = here.startScript('status', ['--fleet', 'asleep'])
  await waitFor(() => calls().length === 3, 'ssh')
  asking.child.kill('SIGINT')
  expect((await asking.finished).code).toBe(1)
  await waitFor(() => here.processes().length === 0, 'the end of ssh')

  const watching = here.startScript('status', ['--fleet', 'sure', '--watch', '--json'])
  let text = ''
  watching.child.stdout!.on('data', (chunk) => (text += chunk))
  await waitFor(() => text.split('\n').length > 2, 'two checks')
  watching.child.kill('SIGTERM')
  expect((await watching.finished).code).toBe(0)
  expect(JSON.parse(text.split('\n')[1]!)).toMatchObject([{ host: 'sure', isWell: true }])
})

test('flags that cannot be used: exit 2, and nobody is asked; without ssh it is said', async ({ sandbox }) => {
  const [here, without] = await Promise.all([sandbox(), sandbox()])
  const { plan, calls } = desk(here!)
  plan('alpha', 'exit 255')
  for (const words of [
    ['--fleet'],
    ['alpha'],
    ['--fleet', '-oProxyCommand=touch x'],
    ['--fleet', 'alpha', '--', '-oProxyCommand=touch x'],
    ['--fleet', 'alpha', 'two words'],
    ['--fleet', 'alpha', ''],
    ['--fleet', 'alpha', 'new\nline'],
    ['--fleet', 'alpha', '--profile', '../x'],
  ])
    expect([words, await here!.runScript('status', words)]).toMatchObject([words, { code: 2, stdout: '' }])
  expect(calls()).toEqual([])
  // A shell on this side makes nothing of it.
  const name = '$(touch${IFS}x);`true`'
  plan(name, 'echo "hostname contains invalid characters" >&2; exit 255')
  const odd = await here!.runScript('status', ['--fleet', name, 'bücher'])
  expect(odd).toMatchObject({ code: 1, stdout: expect.stringContaining('invalid characters') })
  expect(calls().map((call) => call.replace(/^.* -- /, ''))).toEqual(
    expect.arrayContaining([`${name} sh -s`, 'bücher sh -s']),
  )
  const none = await without!.runScript('status', ['--fleet', 'alpha'])
  expect(none).toMatchObject({ code: 1, stdout: expect.stringMatching(/^alpha: .*ssh is not on the PATH/m) })
})
