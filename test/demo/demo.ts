/**
 * The demo (`npm run demo`): four faults, four levels. The real tier scripts, with shortened intervals, heal a stand-in
 * gateway; a scripted doctor sits in a real tmux in place of Claude Code; a local webhook receiver stands for Discord.
 * Everything happens in one temporary folder and on the loopback interface, and nothing is left behind.
 *
 * Exit 0 only if every act ended as it should.
 */
import { spawnSync } from 'node:child_process'
import { createSandbox } from '../support/sandbox.ts'
import { startWebhookReceiver } from '../support/webhook-receiver.ts'
import { brokenConfig, crash, damagedPackage, foreignProcess, prologue } from './acts.ts'
import { type ActResult, fallSilent, narrate, table, title } from './stage.ts'

const SHORT_INTERVALS = {
  CONFIG_KNOWN_GOOD_AFTER: '1',
  HEALTH_CHECK_ESCALATION_WAIT: '4',
  HEALTH_CHECK_RETRY_DELAY: '1',
}

if (spawnSync('tmux', ['-V']).error) {
  process.stderr.write('demo: tmux is not on the PATH; the doctor needs it (brew install tmux, apt install tmux)\n')
  process.exitCode = 1
} else {
  process.exitCode = await play()
}

async function play(): Promise<number> {
  const started = performance.now()
  const closers: (() => Promise<void>)[] = []
  let over = false
  const tidyUp = async () => {
    if (over) return
    over = true
    const closed = await Promise.allSettled(closers.map((close) => close()))
    for (const one of closed) if (one.status === 'rejected') throw one.reason
  }
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)
    process.once(signal, () => {
      fallSilent()
      process.stdout.write('\nStopped; tidying up.\n')
      void tidyUp().finally(() => process.exit(code))
    })

  // `… | head` closes the pipe early; the acts go on and everything is tidied up all the same.
  process.stdout.on('error', fallSilent)

  try {
    const receiver = await startWebhookReceiver()
    closers.push(receiver.close)
    const newMachine = async () => {
      const settings = { ...SHORT_INTERVALS, DISCORD_WEBHOOK_URL: receiver.url }
      const sandbox = await createSandbox({ settings })
      closers.push(sandbox.close)
      return { sandbox, receiver }
    }
    title('openclaw-self-healing: four faults, four levels')
    const machine = await newMachine()
    await prologue(machine)
    const results: ActResult[] = []
    for (const perform of [crash, brokenConfig, damagedPackage]) results.push(await perform(machine))
    // Three incidents within a minute are a story of their own, which Level 4 would tell: the stranger gets a machine
    // without a history.
    results.push(await foreignProcess(await newMachine()))
    table(results)
    const seconds = Math.round((performance.now() - started) / 1000)
    const good = results.filter((result) => result.problem === undefined).length
    narrate(`${good} of ${results.length} acts ended as they should, in ${seconds} s.`)
    return good === results.length ? 0 : 1
  } finally {
    await tidyUp()
  }
}
