/**
 * The demo (`npm run demo`): four faults of test/faults, four levels. The real tier scripts, with shortened intervals, heal
 * a stand-in gateway; a scripted doctor sits in a real tmux in place of Claude Code; a local webhook receiver stands for
 * Discord. Everything happens in temporary folders and on the loopback interface, and nothing is left behind.
 *
 * Exit 0 only if every act ended as it should.
 */
import { ok } from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Fault } from '../faults/fault.ts'
import { faults } from '../faults/library.ts'
import { openStandIn } from '../faults/stand-in-stage.ts'
import type { Sandbox } from '../support/sandbox.ts'
import { type ActResult, discord, excerpt, fallSilent, heading, narrate, say, table, tierSays } from './commentary.ts'

const ACTS = [
  { id: '17', name: 'the gateway crashes', happens: 'killed with SIGKILL; nothing answers on its port' },
  {
    id: '1',
    name: 'the config is broken',
    happens: 'killed, and openclaw.json has lost its end: it would exit with 78',
  },
  { id: '16', name: 'a fault that only the doctor can fix', happens: 'killed, and a file of its package is gone' },
  { id: '5', name: 'a stranger on the port', happens: 'gone, and a development server answers 200 on its port' },
]

const TICKS = {
  'gateway-watchdog': 'The watchdog ticks (in life every 180 s).',
  'gateway-healthcheck': 'The health check ticks (in life every 300 s, and at once when the watchdog escalates).',
  'emergency-recovery-monitor': 'The monitor ticks (in life every 5 minutes, from cron).',
}

/** Runs a tier's script as it is installed, its lines live in the commentary, and holds it to its exit code. */
async function tick(box: Sandbox, tier: keyof typeof TICKS, expectedCode: 0 | 1): Promise<void> {
  narrate(TICKS[tier])
  let seen = box.events().length
  const running = box.startScript(tier, [], { timeoutMs: 90_000 })
  let rest = ''
  running.child.stdout!.on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop()!
    for (const line of lines) tierSays(line.replaceAll(box.home, '~'))
  })
  const tellOfDoctor = () => {
    const events = box.events().slice(seen)
    seen += events.length
    for (const { what } of events) {
      const [, call] = /^doctor (?:called|was refused) (\w+: [^\n]*)/.exec(what) ?? []
      if (call) say('doctor', call.replaceAll(box.home, '~'))
    }
  }
  const timer = setInterval(tellOfDoctor, 100)
  const { code, signal, stderr } = await running.finished
  clearInterval(timer)
  tellOfDoctor()
  if (stderr.trim()) say('stderr', stderr.trim(), 'red')
  ok(code === expectedCode, `${tier} ended with ${code ?? signal} instead of ${expectedCode}`)
}

async function play(fault: Fault, happens: string): Promise<void> {
  const stage = await openStandIn(fault.settings)
  close = stage.close
  const { scene } = stage
  const { box } = scene
  const boots = () => box.events().filter(({ what }) => what === 'boot').length
  say('gateway', `live on http://127.0.0.1:${box.port}/`, 'green')
  // The first tick gets to know the gateway, the second keeps its config as known-good.
  await tick(box, 'gateway-watchdog', 0)
  await box.runScript('gateway-watchdog')
  await fault.produce(scene)
  say('gateway', happens, 'red')

  const before = boots()
  const isForHuman = fault.healedBy === 'a human'
  await tick(box, 'gateway-watchdog', fault.healedBy === 'level 1' ? 0 : 1)
  if (fault.healedBy !== 'level 1') await tick(box, 'gateway-healthcheck', isForHuman ? 1 : 0)
  const starts = boots() - before
  ok(starts === (isForHuman ? 0 : 1), `${starts} starts of the gateway`)
  ok((await scene.isLive()) !== isForHuman, isForHuman ? 'it is live' : 'it is not live')
  await fault.check?.(scene)
  const [report] = box.memoryFiles('emergency-recovery-report-')
  if (report) {
    narrate(`The doctor's report, ${report}:`)
    excerpt(readFileSync(join(box.memoryDir, report), 'utf8'))
  }
  if (!isForHuman) return

  await tick(box, 'emergency-recovery-monitor', 0)
  const [message, ...more] = stage.received().texts
  ok(message && fault.told?.test(message), 'no alert that says what is wrong')
  narrate('What a human now sees in Discord:')
  discord(JSON.parse(message))
  narrate('A second tick of the monitor must not repeat it.')
  await tick(box, 'emergency-recovery-monitor', 0)
  ok(more.length === 0 && stage.received().texts.length === 1, 'the alert was sent twice')
}

let close = async () => {}
let isStopped = false
for (const [signal, code] of Object.entries({ SIGINT: 130, SIGTERM: 143, SIGHUP: 129 }))
  process.once(signal, () => {
    isStopped = true
    fallSilent()
    process.stdout.write('\nStopped; cleaning up.\n')
    void close().finally(() => process.exit(code))
  })
// `… | head` closes the pipe early; the acts go on and everything is cleaned up all the same.
process.stdout.on('error', fallSilent)

if (spawnSync('tmux', ['-V']).error) {
  process.stderr.write('demo: tmux is not on the PATH; the doctor needs it (brew install tmux, apt install tmux)\n')
  process.exit(1)
}
heading('openclaw-self-healing: four faults, four levels', '═')
narrate('The gateway is a stand-in with the title, endpoints, signals and exit codes of the real one.')
const results: ActResult[] = []
for (const [i, { id, name, happens }] of ACTS.entries()) {
  if (isStopped) break
  heading(`Act ${i + 1}: ${name}`, '─')
  const fault = faults.find((one) => one.id === id) as Fault
  const began = performance.now()
  const problem = await play(fault, happens).then(
    () => undefined,
    (error: Error) => error.message,
  )
  const seconds = (performance.now() - began) / 1000
  if (!isStopped) await close()
  results.push({ fault: fault.name, healedBy: problem ? '–' : fault.healedBy, seconds, problem })
}
table(results)
process.exitCode = results.length === ACTS.length && results.every(({ problem }) => !problem) ? 0 : 1
