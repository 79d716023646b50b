/**
 * A machine without systemd, where a real cron starts all tiers with its own poor environment (no login, no session, a
 * PATH without openclaw and without the Node that it needs), against the real OpenClaw gateway as a bare process.
 */
import { appendFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { formatLine, MARKER } from '../../lib/tier/contract.ts'
import { USER } from '../support/container.ts'
import { waitFor } from '../support/wait-for.ts'
import { bootPatientMachine, type PatientMachine } from './patient-machine.ts'

const RECEIVER_PORT = 18999
let machine: PatientMachine

beforeAll(async () => {
  machine = await bootPatientMachine('cron', { DISCORD_WEBHOOK_URL: `http://127.0.0.1:${RECEIVER_PORT}/webhook` })
})
afterAll(() => machine?.stop())

test('setup finds neither launchd nor systemd and lets cron start all tiers', async () => {
  const user = '# mine\nMAILTO=otto\n* * * * * /usr/bin/env >/home/otto/environment-of-cron\n'
  writeFileSync(join(machine.home, 'crontab'), user)
  await machine.must('crontab', `${USER.home}/crontab`)
  const { code, stdout, stderr } = await machine.setup('--yes')
  expect(`${code} ${stderr}`).toBe('0 ')
  expect(stdout).toMatch(/cron/)
  const crontab = await machine.must('crontab', '-l')
  for (const script of ['gateway-watchdog', 'gateway-healthcheck', 'emergency-recovery-monitor', 'watchdog-guardian'])
    expect(crontab).toMatch(new RegExp(`^\\*(?:/5)? \\* \\* \\* \\* .*run-tier\\.sh'? ${script}`, 'm'))
  expect(crontab.endsWith(user)).toBe(true)
  await machine.hurryCron()
})

test('the watchdog that cron runs starts the gateway, which outlives it', async () => {
  await waitFor(() => /RECOVERED by level 1/.test(machine.log('watchdog')), 'Level 1', 600_000)
  await machine.waitUntilRun('watchdog')
  expect(machine.log('watchdog')).toMatch(/restart: .*openclaw gateway run/)
  const environment = readFileSync(join(machine.home, 'environment-of-cron'), 'utf8')
  expect(environment).toContain('PATH=/usr/bin:/bin\n')
  expect(environment).not.toContain('XDG_RUNTIME_DIR')
})

test('killed -9, it is back with the next run', async () => {
  // In a hurry cron starts Levels 1 and 2 in the same minute, and Level 1 stands down while Level 2 is at work.
  await machine.hurryCron('gateway-healthcheck')
  await waitFor(() => /^$|RUN ended.*\n$/.test(machine.log('healthcheck')), 'the end of a Level 2', 300_000)
  const recoveries = () => machine.log('watchdog').match(/RECOVERED by level 1/g)?.length ?? 0
  const earlier = recoveries()
  await machine.must('pkill', '-9', '-x', 'openclaw-gatewa')
  expect(await machine.isHealthy()).toBe(false)
  await waitFor(() => recoveries() > earlier, 'Level 1', 400_000)
  expect(await machine.isHealthy()).toBe(true)
  await machine.hurryCron()
})

test('the monitor that cron runs calls the human, once; the guardian finds both watchers alive', async () => {
  const received = `${USER.home}/received`
  const receiver = `const { appendFileSync } = require('node:fs')
    require('node:http').createServer((request, response) => {
      let body = ''
      request.on('data', (part) => { body += part }).on('end', () => {
        appendFileSync('${received}', body + '\\n')
        response.writeHead(204).end()
      })
    }).listen(${RECEIVER_PORT}, '127.0.0.1')`
  await machine.must('touch', received)
  const serving = machine.tries('timeout', '300', 'node', '-e', receiver)
  const why = 'the test says so'
  const bodies = () => readFileSync(join(machine.root, received), 'utf8').split('\n')
  const calls = () => bodies().filter((body) => body.includes(why)).length
  const [log] = readdirSync(machine.memoryDir).filter((name) => name.startsWith('healthcheck-')) as [string]
  const marker = formatLine(new Date(), 'healthcheck', 'ERROR', MARKER.manual(why))
  appendFileSync(join(machine.memoryDir, log), `${marker}\n`)
  await waitFor(() => calls() > 0, "the monitor's call", 180_000)
  const runs = machine.runs('monitor').length
  await waitFor(() => machine.runs('monitor').length > runs + 1, 'two more runs of the monitor', 200_000)
  expect(calls()).toBe(1)
  await machine.runAsRoot(['pkill', '-f', 'createServer'])
  await serving
  await machine.waitUntilRun('guardian', 'all alive')
  expect(machine.log('guardian')).not.toMatch(/ERROR|WARN/)
})

test('uninstall gives the crontab back as the user had it', async () => {
  expect(await machine.setup('--uninstall', '--purge')).toMatchObject({ code: 0 })
  expect(await machine.must('crontab', '-l')).toBe(readFileSync(join(machine.home, 'crontab'), 'utf8'))
  expect(await machine.isHealthy()).toBe(true)
})
