/**
 * The demo (`npm run demo`): four faults of test/faults, four levels. The real tier scripts, with shortened intervals, heal
 * a stand-in gateway; a scripted doctor sits in a real tmux in place of Claude Code; a local webhook receiver stands for
 * Discord. Everything happens in temporary folders and on the loopback interface, and nothing is left behind.
 *
 * Exit 0 only if every act ended as it should.
 */
import { ok } from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { chalk } from 'zx'
import { parseLine, TIERS } from '../../lib/tier/contract.ts'
import type { Fault } from '../faults/fault.ts'
import { faults } from '../faults/library.ts'
import { openStandIn } from '../faults/stand-in-stage.ts'
import type { Sandbox } from '../support/sandbox.ts'
import type { DiscordMessage } from '../support/webhook-receiver.ts'

const ACTS = [
  ['17', 'the gateway crashes', 'killed with SIGKILL; nothing answers on its port'],
  ['1', 'the config is broken', 'killed, and openclaw.json has lost its end: it would exit with 78'],
  ['16', 'a fault that only the doctor can fix', 'killed, and a file of its package is gone'],
  ['5', 'a stranger on the port', 'gone, and a development server answers 200 on its port'],
] as const

const TICKS = {
  'gateway-watchdog': 'The watchdog ticks (in life every 180 s).',
  'gateway-healthcheck': 'The health check ticks (in life every 300 s, and at once when the watchdog escalates).',
  'emergency-recovery-monitor': 'The monitor ticks (in life every 5 minutes, from cron).',
}
const LEVELS = new Map(Object.entries(TIERS).map(([tier, { level }]) => [tier, `level ${level}`]))
const WIDTH = 80
const INDENT = ' '.repeat(20)
type Colour = 'reset' | 'dim' | 'red' | 'green' | 'yellow'

let isStopped = false
let close = async () => {}
let actBeganMs = 0

function print(text: string): void {
  if (!isStopped) process.stdout.write(`${text}\n`)
}

const tell = (text: string) =>
  print(
    wrap(text, WIDTH - 2)
      .map((line) => `  ${line}`)
      .join('\n'),
  )

function heading(text: string, line: '═' | '─'): void {
  print(`\n${chalk.bold(text)}\n${line.repeat(text.length)}`)
  actBeganMs = performance.now()
}

/** What happens or is said, with the seconds since the act began. */
function say(speaker: string, text: string, colour: Colour = 'reset'): void {
  const seconds = `+${((performance.now() - actBeganMs) / 1000).toFixed(1)}s`.padStart(7)
  const beginning = chalk.dim(`${seconds}  ${speaker.padEnd(9)}  `)
  for (const [i, line] of wrap(text, WIDTH - 20).entries()) print((i === 0 ? beginning : INDENT) + chalk[colour](line))
}

const quote = (text: string) =>
  print(
    wrap(text.trim(), WIDTH - 8)
      .map((line) => chalk.dim(`      │ ${line}`.trimEnd()))
      .join('\n'),
  )

function asShown({ username = 'Webhook', content = '', embeds = [] }: DiscordMessage): string {
  const parts = embeds.flatMap(({ title, description, fields = [], footer }) => [
    ...[title, description, ...fields.map((field) => `${field.name}: ${field.value}`), footer?.text],
  ])
  const embedded = wrap(parts.filter((part) => part !== undefined).join('\n'), WIDTH - 10)
  return [`${username}  [APP]`, content, ...embedded.map((line) => `▎ ${line}`)].join('\n')
}

function wrap(text: string, width: number): string[] {
  // A path or an address that is longer stays in one piece.
  const fitting = new RegExp(`.{1,${width}}(?= |$)|\\S+`, 'gu')
  return text
    .split('\n')
    .flatMap((line) => (line.match(fitting) ?? ['']).map((one, i) => (i > 0 ? one.trimStart() : one)))
}

/** First and last lines of a run are left out: the commentary says when a tier runs. */
function tierSays(line: string): void {
  const { tier = '', text = '', severity } = parseLine(line) ?? {}
  const colour = text.startsWith('RECOVERED') ? 'green' : severity === 'INFO' ? 'reset' : 'yellow'
  if (tier === '' && line.trim())
    print(
      wrap(line.trim(), WIDTH - 20)
        .map((one) => INDENT + one)
        .join('\n'),
    )
  else if (!/^RUN (started|ended)|^$/.test(text))
    say(LEVELS.get(tier)!, text, /^(DOWN|MANUAL)/.test(text) ? 'red' : colour)
}

/** Runs a tier's script as it is installed, its lines live in the commentary, and holds it to its exit code. */
async function tick(box: Sandbox, tier: keyof typeof TICKS, expectedCode: 0 | 1): Promise<void> {
  tell(TICKS[tier])
  let seen = box.events().length
  const running = box.startScript(tier, [], { timeoutMs: 90_000 })
  let rest = ''
  running.child.stdout!.on('data', (text: string) => {
    const lines = (rest + text).replaceAll(box.home, '~').split('\n')
    rest = lines.pop()!
    lines.forEach(tierSays)
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
  say('gateway', `live on http://127.0.0.1:${box.port}/`, 'green')
  // The first tick gets to know the gateway, the second keeps its config as known-good.
  await tick(box, 'gateway-watchdog', 0)
  await box.runScript('gateway-watchdog')
  await fault.produce(scene)
  say('gateway', happens, 'red')

  const isForHuman = fault.healedBy === 'a human'
  await tick(box, 'gateway-watchdog', fault.healedBy === 'level 1' ? 0 : 1)
  if (fault.healedBy !== 'level 1') await tick(box, 'gateway-healthcheck', isForHuman ? 1 : 0)
  ok((await scene.isLive()) !== isForHuman, isForHuman ? 'it is live' : 'it is not live')
  await fault.check?.(scene)
  const [report] = box.memoryFiles('emergency-recovery-report-')
  if (report) {
    tell(`The doctor's report, ${report}:`)
    quote(readFileSync(join(box.memoryDir, report), 'utf8'))
  }
  if (!isForHuman) return

  await tick(box, 'emergency-recovery-monitor', 0)
  const [message] = stage.received().texts
  ok(message && fault.told?.test(message), 'no alert that says what is wrong')
  tell('What a human now sees in Discord:')
  quote(asShown(JSON.parse(message)))
  tell('A second tick of the monitor must not repeat it.')
  await tick(box, 'emergency-recovery-monitor', 0)
  ok(stage.received().texts.length === 1, 'the alert was sent twice')
}

for (const [signal, code] of Object.entries({ SIGINT: 130, SIGTERM: 143, SIGHUP: 129 }))
  process.once(signal, () => {
    print('\nStopped; cleaning up.')
    isStopped = true
    void close().finally(() => process.exit(code))
  })
// `… | head` closes the pipe early; the acts go on and everything is cleaned up all the same.
process.stdout.on('error', () => {})

heading('openclaw-self-healing: four faults, four levels', '═')
tell('The gateway is a stand-in with the title, endpoints, signals and exit codes of the real one.')
const rows: string[] = []
let [good, sum] = [0, 0]
for (const [i, [id, name, happens]] of ACTS.entries()) {
  if (isStopped) break
  heading(`Act ${i + 1}: ${name}`, '─')
  const fault = faults.find((one) => one.id === id) as Fault
  const problem: string = await play(fault, happens).then(
    () => '',
    (error: Error) => error.message,
  )
  const seconds = (performance.now() - actBeganMs) / 1000
  if (!isStopped) await close()
  sum += seconds
  if (!problem) good++
  const cells = [fault.name.padEnd(18), (problem ? '–' : fault.healedBy).padEnd(9), seconds.toFixed(1).padStart(7)]
  rows.push(`  ${cells.join('  ')}  ${problem ? chalk.red(problem) : chalk.green('ok')}`)
}
print(`\n  ${chalk.bold('fault               healed by  seconds')}\n${rows.join('\n')}`)
print(`\n  ${good} of ${ACTS.length} acts ended as they should, in ${Math.round(sum)} s.`)
process.exitCode = good === ACTS.length ? 0 : 1
