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

/** The blocks of commands below a heading. */
function commandsOf(heading: string): string[] {
  const section = readFileSync(join(projectDir, 'README.md'), 'utf8').split(`\n## ${heading}\n`)[1]?.split('\n## ')[0]
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
  const [look, compare, use, goOn, ...others] = commandsOf('It called you at 2 AM: now what')
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
  const lines = commandsOf('Install, update, uninstall').flatMap((block) => block.trim().split('\n'))
  const ran: [string, number | undefined][] = []
  // npm itself is not tried here: it would change the packages under the running tests.
  for (const line of lines.filter((command) => !command.startsWith('npm install')))
    ran.push([line.split(/ {2,}/)[0]!, (await paste(machine, line)).exitCode])
  expect(ran).toEqual([
    ['npm run setup -- --dry-run', 0],
    ['npm run setup', 0],
    // The gateway is down: nobody has started one.
    ['npm run status', 1],
    ['sh scripts/run-tier.sh emergency-recovery-monitor --test-alert', 0],
    ['npm run setup -- --yes', 0],
    ['npm run setup -- --uninstall', 0],
  ])
  expect(receiver.delivered()).toHaveLength(1)
  expect(machine.cronLines()).toEqual([])
})
