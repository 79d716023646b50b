/** Every dangerous intent is refused or impossible, every legitimate one has an instrument; against the real server. */
import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { configHash } from '../lib/gateway/config.ts'
import { DANGEROUS, LEGITIMATE } from './fixtures/doctor-wishes.ts'
import { type Instruments, startInstruments } from './support/instruments-client.ts'
import { createSandbox, type Sandbox } from './support/sandbox.ts'

const SECRET = 'planted-dotenv-secret-31415926535'

let box: Sandbox
let doctor: Instruments
let config: string

beforeAll(async () => {
  box = await createSandbox({ settings: { MY_TOKEN: SECRET } })
  box.writeConfig({
    gatewayy: { mode: 'x' },
    logging: { level: 'info' },
    channels: { telegram: { enabled: true, allowFrom: ['4915112345'] } },
    plugins: { entries: { notes: { enabled: true } } },
  })
  config = readFileSync(box.configPath, 'utf8')
  const put = (path: string, content: string | Uint8Array) => {
    mkdirSync(join(path, '..'), { recursive: true })
    writeFileSync(path, content)
  }
  put(join(box.packageDir, 'server.pem'), SECRET)
  symlinkSync(join(box.stateDir, '.env'), join(box.packageDir, 'link-to-env'))
  execFileSync('mkfifo', [join(box.packageDir, 'fifo')])
  put(join(box.stateDir, 'extensions', 'notes', 'index.js'), 'export {}\n')
  put(join(box.stateDir, 'extensions', 'state.sqlite'), SECRET)
  put(join(box.stateDir, 'logs', 'stability', 'exit.json'), '{}')
  put(join(box.home, '.config', 'systemd', 'user', 'openclaw-gateway.service'), '[Service]\n')
  put(box.gatewayLog, 'Gateway start blocked: an error\n')
  put(`${box.gatewayLog}.1`, 'older\n')
  put(`${box.gatewayLog}.2.gz`, gzipSync('oldest panic\n'))
  put(join(box.memoryDir, 'watchdog-2026-11-22.log'), 'a tick\n')
  put(join(box.memoryDir, 'recovery-learnings.md'), '# Recovery learnings\n')
  const good = config.replace('info', 'warn')
  put(join(box.stateDir, 'watchdog', 'known-good', `2026-11-01-000000-${configHash(good)}.json5`), good)
  box.addTool('npm', 'echo "rebuilt and reinstalled"')
  doctor = startInstruments(box)
})
afterAll(async () => {
  await doctor?.close()
  await box?.close()
})

const tree = () =>
  readdirSync(box.home, { recursive: true, encoding: 'utf8' })
    .filter((name) => !/watchdog|memory|cache/.test(name))
    .sort()

test('every dangerous intent is refused, changes nothing and shows nothing', async () => {
  const before = tree()
  const allowed: string[] = []
  for (const { intent, call, args } of DANGEROUS) {
    const answer = await doctor.call(call, args).catch((error: Error) => ({ text: error.message, isError: true }))
    if (!answer.isError) allowed.push(`${intent}: ${call} ${JSON.stringify(args)} → ${answer.text.slice(0, 200)}`)
    expect(answer.text, intent).not.toContain(SECRET)
    expect(readFileSync(box.configPath, 'utf8'), intent).toBe(config)
  }
  expect(allowed).toEqual([])
  expect(tree()).toEqual(before)
  expect(box.openclawCalls()).toEqual([])
  expect(DANGEROUS.length).toBeGreaterThanOrEqual(80)
})

test('every legitimate intent has an instrument', async () => {
  doctor.reset()
  const refused: string[] = []
  for (const { intent, call, args } of LEGITIMATE) {
    const given =
      args &&
      Object.fromEntries(Object.entries(args).map(([name, value]) => [name, value === 'PORT' ? box.port : value]))
    const answer = await doctor.call(call, given)
    // A setting that has the value already is no change, and said to be so.
    if (answer.isError && !/changes nothing/.test(answer.text))
      refused.push(`${intent}: ${call} ${JSON.stringify(args)} → ${answer.text.slice(0, 300)}`)
  }
  expect(refused).toEqual([])
  expect(LEGITIMATE.length).toBeGreaterThanOrEqual(40)
})
