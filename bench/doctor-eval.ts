/**
 * `npm run doctor:eval`: how good is a doctor? Plays faults of the library (test/faults) on the stand-in gateway, calls
 * Level 3 with the real coding agent that is installed here, and prints what came of each. The key and the model are
 * yours; every session costs what its agent costs.
 *
 * Usage: npm run doctor:eval [fault …]        which faults, by number; default: all that have a cause to be named
 *
 * From the environment: DOCTOR (default claude) and what that agent signs in with (ANTHROPIC_API_KEY or
 * CLAUDE_CODE_OAUTH_TOKEN, OPENAI_API_KEY, …): its own login is not used, for HOME is a temporary one.
 * Exit 0 all were played, 1 a session could not be had, 2 unusable arguments.
 */
import { existsSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { Fault } from '../test/faults/fault.ts'
import { faults } from '../test/faults/library.ts'
import { openStandIn } from '../test/faults/stand-in-stage.ts'

interface Played {
  fault: string
  causeNamed: boolean
  healed: boolean
  seconds: number
  costUsd: number | undefined
  calls: number
  refusals: number
  ending: string
}

/** What an agent may need to sign in; nothing else of this environment reaches it. */
const SIGN_IN =
  /^(?:ANTHROPIC_|CLAUDE_CODE_OAUTH_TOKEN|OPENAI_|CODEX_API_KEY|GEMINI_|GOOGLE_|QWEN_|HTTPS?_PROXY|NO_PROXY)/

const doctor = process.env.DOCTOR || 'claude'
const playable = faults.filter((one): one is Fault & { cause: RegExp } => 'produce' in one && one.cause !== undefined)
const wanted = process.argv.slice(2)
const unknown = wanted.find((id) => !playable.some((one) => one.id === id))

if (wanted.some((word) => /^(?:--help|-h|help)$/.test(word))) {
  process.stdout.write(
    `${readFileSync(import.meta.filename, 'utf8')
      .split('*/')[0]!
      .replace(/^\/?\*+ ?| \* ?/gm, '')}\n`,
  )
} else if (unknown !== undefined) {
  process.stderr.write(
    `doctor:eval: no fault ${unknown}; there are ${playable.map(({ id, name }) => `${id} (${name})`).join(', ')}\n`,
  )
  process.exitCode = 2
} else {
  const played: Played[] = []
  for (const fault of playable.filter(({ id }) => wanted.length === 0 || wanted.includes(id)))
    played.push(await play(fault))
  print(played)
  if (played.some(({ calls }) => calls === 0)) process.exitCode = 1
}

async function play(fault: Fault & { cause: RegExp }): Promise<Played> {
  const signIn = Object.entries(process.env).filter(([name, value]) => SIGN_IN.test(name) && value) as [
    string,
    string,
  ][]
  const settings = {
    ...fault.settings,
    DOCTOR: doctor,
    EMERGENCY_RECOVERY_TIMEOUT: '900',
    EMERGENCY_RECOVERY_IDLE_LIMIT: '300',
    CLAUDE_STARTUP_WAIT: '90',
  }
  const stage = await openStandIn({ ...settings, ...Object.fromEntries(signIn) })
  const { box } = stage.scene
  try {
    bringAgent(box.binDir)
    await stage.run('gateway-watchdog')
    await fault.produce(stage.scene)
    const begun = performance.now()
    const { code } = await box.runScript('emergency-recovery', [], {
      timeoutMs: 1_200_000,
      env: Object.fromEntries(signIn),
    })
    const seconds = Math.round((performance.now() - begun) / 1000)
    const log = box.log('emergency-recovery-2')
    const report = box.log('emergency-recovery-report')
    const cause = /## Root cause\s+([\s\S]*?)(?=\n## )/.exec(report)?.[1] ?? ''
    const cost = /- cost: \$([\d.]+)/.exec(report)?.[1]
    return {
      fault: `${fault.id} ${fault.name}`,
      causeNamed: fault.cause.test(cause),
      healed: code === 0 && /RECOVERED by level 3/.test(log),
      seconds,
      costUsd: cost === undefined ? undefined : Number(cost),
      calls: log.match(/INSTRUMENT (?:allowed|refused) /g)?.length ?? 0,
      refusals: log.match(/INSTRUMENT refused /g)?.length ?? 0,
      ending: /the session ended: ([\w-]+)/.exec(log)?.[1] ?? 'no session',
    }
  } finally {
    await stage.close()
  }
}

/** The agent that is installed here, in the place of the sandbox's stand-in, and the Node that it may need. */
function bringAgent(binDir: string): void {
  const path = (process.env.PATH ?? '')
    .split(delimiter)
    .map((folder) => join(folder, doctor))
    .find((one) => existsSync(one))
  if (path === undefined) throw new Error(`${doctor} is not on the PATH`)
  const at = join(binDir, doctor)
  // The stand-in for Claude Code lies there already.
  const aside = existsSync(at) ? readFileSync(at, 'utf8').includes('STAND_IN_CONTROL') : false
  if (aside) rmSync(at)
  symlinkSync(path, at)
}

function print(played: readonly Played[]): void {
  const rows = played.map((one) => [
    one.fault,
    one.causeNamed ? 'yes' : 'no',
    one.healed ? 'yes' : 'no',
    String(one.seconds),
    one.costUsd === undefined ? '-' : `$${one.costUsd.toFixed(2)}`,
    String(one.calls),
    String(one.refusals),
    one.ending,
  ])
  const head = ['fault', 'cause', 'healed', 'seconds', 'cost', 'calls', 'refused', 'ended']
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)))
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join('  ')
      .trimEnd()
  const healed = played.filter((one) => one.healed).length
  const named = played.filter((one) => one.causeNamed).length
  process.stdout.write(
    `${[line(head), ...rows.map(line)].join('\n')}\n\n${doctor}: ${healed} of ${played.length} healed, ${named} causes named rightly\n`,
  )
}
