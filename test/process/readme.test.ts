/** The README's commands, as they stand there: those of the installation, and those for somebody who was woken up. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { execa } from 'execa'
import { expect } from 'vitest'
import { which } from 'zx'
import { test } from '../support/boxes.ts'
import { createMachine } from '../support/machine.ts'
import { projectDir, type Sandbox } from '../support/sandbox.ts'
import { startWebhookReceiver } from '../support/webhook-receiver.ts'

const README = readFileSync(join(projectDir, 'README.md'), 'utf8')
const SECTIONS = {
  tryIt: 'Try it',
  install: 'Install, update, uninstall',
  woken: 'It called you at 2 AM: now what',
}
/** What is run elsewhere: it takes minutes, changes packages, or is OpenClaw's own. */
const ELSEWHERE: Record<string, string> = {
  'npm test': '.ci/run',
  'npm run setup -- --update': 'test/process/install-answers.test.ts',
  'npm run report': 'test/process/report-report.test.ts',
  'openclaw gateway status': 'test/support/openclaw-cli.mjs',
  'openclaw gateway stop': 'test/process/deliberate-stop.test.ts',
  'openclaw logs': 'lib/gateway/treat.ts',
}

/** A line without what is said about it. */
const commandOf = (line: string) => line.split(/ {2,}/)[0]!

/** The blocks of commands below a heading. */
function commandsOf(heading: string): string[] {
  const section = README.split(`\n## ${heading}\n`)[1]?.split('\n## ')[0]
  return [...section!.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, text]) => text!)
}

/** As pasted into a shell in the project's folder. */
async function paste(box: Pick<Sandbox, 'addTool' | 'env'>, commands: string) {
  for (const tool of ['npm', 'diff']) box.addTool(tool, `exec '${which.sync(tool)}' "$@"`)
  const env = { ...box.env, npm_config_update_notifier: 'false' }
  return await execa('sh', ['-c', commands], { cwd: projectDir, env, extendEnv: false, all: true, reject: false })
}

const BROKEN = '{ "gateway": { "mode": "local", } '

test('woken at 2 AM: looked and paused, the config that was put back edited and used, the pause ended', async ({
  known,
}) => {
  const { box, pid } = await known({ settings: { CONFIG_KNOWN_GOOD_AFTER: '0' } })
  await box.runScript('gateway-watchdog')
  process.kill(pid, 'SIGKILL')
  box.writeConfig(BROKEN)
  expect((await box.runScript('gateway-watchdog')).code).toBe(1)
  expect((await box.runScript('gateway-healthcheck')).code).toBe(0)
  const config = () => readFileSync(box.configPath, 'utf8')
  const putBack = config()
  expect(putBack).not.toContain(BROKEN)
  const [look, compare, use, goOn, ...others] = commandsOf(SECTIONS.woken)
  expect(others).toEqual([])

  const looked = await paste(box, look!)
  expect(looked.exitCode, looked.all).toBe(0)
  expect(looked.all).toMatch(/NOTICE /)
  expect((await box.runScript('gateway-watchdog')).code).toBe(3)

  expect((await paste(box, compare!)).stdout).toContain(`< ${BROKEN}`)
  // They mend it where it lies.
  const path = (await paste(box, 'ls ~/.openclaw/openclaw.json.broken-*')).stdout
  const mended = putBack.replace('{', '{\n  // mended')
  execFileSync('sh', ['-c', 'cat >"$0"', path], { input: mended })
  const used = await paste(box, use!)
  expect(used.exitCode, used.all).toBe(0)
  expect(config()).toBe(mended)

  const wentOn = await paste(box, goOn!)
  expect(wentOn.exitCode, wentOn.all).toBe(0)
  expect((await paste(box, 'npm run --silent status -- --json')).stdout).toMatch(/"verdict": ?"healthy"/)
  expect(config()).toBe(mended)
})

test('installed, updated and uninstalled', async ({ onTestFinished }) => {
  const receiver = await startWebhookReceiver()
  onTestFinished(receiver.close)
  const machine = await createMachine('linux', { settings: { DISCORD_WEBHOOK_URL: receiver.url } })
  onTestFinished(machine.close)
  const lines = commandsOf(SECTIONS.install).flatMap((block) => block.trim().split('\n'))
  const ran: [string, number | undefined][] = []
  for (const line of lines.filter((one) => !(commandOf(one) in ELSEWHERE)))
    ran.push([commandOf(line), (await paste(machine, line)).exitCode])
  expect(ran).toEqual([
    ['npm run setup -- --dry-run', 0],
    ['npm run setup', 0],
    // The gateway is down: nobody has started one.
    ['npm run status', 1],
    ['sh scripts/run-tier.sh emergency-recovery-monitor --test-alert', 0],
    ['npm run setup -- --uninstall', 0],
  ])
  expect(receiver.delivered()).toHaveLength(1)
  expect(machine.cronLines()).toEqual([])
})

test('every command is run, here or in the file that is named', () => {
  const blocks = [...README.matchAll(/^```sh\n([\s\S]*?)^```$/gm)].map(([, text]) => text!)
  const known = Object.values(SECTIONS).flatMap(commandsOf)
  expect(blocks.filter((block) => !known.includes(block))).toEqual([])
  const [change, ...runs] = commandsOf(SECTIONS.tryIt).flatMap((block) => block.trim().split('\n').map(commandOf))
  expect([change, runs]).toEqual(['cd ~/openclaw-self-healing', ['npm run demo', 'npm test']])
  const console = [...README.matchAll(/^\$ (.*)$/gm)].map(([, command]) => command!)
  expect(console).toEqual(['npm run status'])
  const prose = README.replace(/^```[\s\S]*?^```$/gm, '')
  const inline = [...prose.matchAll(/`((?:npm|openclaw|sh|node|npx|cp|rm) [^`]+)`/g)].map(([, command]) => command!)
  const inBlocks = blocks.flatMap((block) => block.split('\n').map(commandOf))
  expect(inline.filter((command) => !inBlocks.includes(command) && !(command in ELSEWHERE))).toEqual([])
  for (const [command, path] of Object.entries(ELSEWHERE)) {
    const text = readFileSync(join(projectDir, path), 'utf8')
    // As one string, or as arguments.
    expect(text, `${command} in ${path}`).toMatch(new RegExp(command.split(' ').at(-1)!))
  }
})

const transcriptOf = (beginning: string) => /[\s\S]*?^```$/m.exec(README.slice(README.indexOf(beginning)))![0]

test('the demo ends as the README shows it, but for the seconds', async ({ sandbox }) => {
  const box = await sandbox()
  const { all, exitCode } = await paste(box, 'npm run --silent demo')
  expect(exitCode, all).toBe(0)
  const rows = (text: string) =>
    [...text.matchAll(/^ {2}(\S.*?) +(level \d|a human) +[\d.]+ {2}(\w+)$/gm)].map(([, ...cells]) => cells)
  expect(rows(all)).toEqual(rows(transcriptOf('  fault ')))
  expect(rows(all)).toHaveLength(4)
  // In characters, not in bytes; what is longer is a path or an address.
  const long = all.split('\n').filter((line) => [...line].length > 80 && !/^\s*(?:│ |▎ )*\S+$/.test(line))
  expect(long).toEqual([])
}, 600_000)

test('the status that the README shows has the lines of a real one', async ({ sandbox }) => {
  const box = await sandbox()
  const { stdout } = await box.runScript('status')
  const names = (text: string) => [...text.matchAll(/^([a-z]+) {2,}(?=\S)/gm)].map(([, name]) => name)
  const real = names(stdout)
  expect(names(transcriptOf('$ npm run status')).filter((name) => !real.includes(name))).toEqual([])
  for (const text of [stdout, transcriptOf('$ npm run status')]) expect(text).toMatch(/^Not well: .*[\s\S]*^➜ /m)
})
