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

type Playable = Fault & { cause: RegExp }

/** What an agent may need to sign in; nothing else of this environment reaches it. */
const SIGN_IN =
  /^(?:ANTHROPIC_|CLAUDE_CODE_OAUTH_TOKEN|OPENAI_|CODEX_API_KEY|GEMINI_|GOOGLE_|QWEN_|HTTPS?_PROXY|NO_PROXY)/
const HEAD = ['fault', 'cause', 'healed', 'seconds', 'cost', 'calls', 'refused', 'ended']

const doctor = process.env.DOCTOR || 'claude'
const playable = faults.filter((one): one is Playable => 'produce' in one && one.cause !== undefined)
const wanted = process.argv.slice(2)
const unknown = wanted.find((id) => !playable.some((one) => one.id === id))

if (wanted.some((word) => /^(?:--help|-h|help)$/.test(word))) {
  const [header = ''] = readFileSync(import.meta.filename, 'utf8').split('*/')
  console.log(header.replace(/^\/?\*+ ?| \* ?/gm, ''))
} else if (unknown !== undefined) {
  const known = playable.map(({ id, name }) => `${id} (${name})`)
  console.error(`doctor:eval: no fault ${unknown}; there are ${known.join(', ')}`)
  process.exitCode = 2
} else {
  const rows: string[][] = []
  for (const fault of playable.filter(({ id }) => wanted.length === 0 || wanted.includes(id)))
    rows.push(await play(fault))
  const widths = HEAD.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]!.length)))
  for (const row of [HEAD, ...rows])
    console.log(
      row
        .map((cell, i) => cell.padEnd(widths[i]!))
        .join('  ')
        .trimEnd(),
    )
  const count = (column: string, value = 'yes') => rows.filter((row) => row[HEAD.indexOf(column)] === value).length
  console.log(`\n${doctor}: ${count('healed')} of ${rows.length} healed, ${count('cause')} causes named rightly`)
  if (count('calls', '0') > 0) process.exitCode = 1
}

async function play(fault: Playable): Promise<string[]> {
  const signIn = Object.fromEntries(Object.entries(process.env).filter(([name, value]) => SIGN_IN.test(name) && value))
  const limits = { EMERGENCY_RECOVERY_TIMEOUT: '900', EMERGENCY_RECOVERY_IDLE_LIMIT: '300', CLAUDE_STARTUP_WAIT: '90' }
  const settings = { ...fault.settings, ...limits, ...signIn, DOCTOR: doctor } as Record<string, string>
  const stage = await openStandIn(settings)
  const { box } = stage.scene
  try {
    bringAgent(box.binDir)
    await stage.run('gateway-watchdog')
    await fault.produce(stage.scene)
    const begun = performance.now()
    const { code } = await box.runScript('emergency-recovery', [], { timeoutMs: 1_200_000, env: signIn })
    const seconds = Math.round((performance.now() - begun) / 1000)
    const [log, report] = [box.log('emergency-recovery-2'), box.log('emergency-recovery-report')]
    const cause = /## Root cause\s+([\s\S]*?)(?=\n## )/.exec(report)?.[1] ?? ''
    const cost = /- cost: \$([\d.]+)/.exec(report)?.[1]
    const calls = (decision: string) => String(log.match(new RegExp(`INSTRUMENT (?:${decision}) `, 'g'))?.length ?? 0)
    return [
      `${fault.id} ${fault.name}`,
      fault.cause.test(cause) ? 'yes' : 'no',
      code === 0 && /RECOVERED by level 3/.test(log) ? 'yes' : 'no',
      String(seconds),
      cost === undefined ? '-' : `$${Number(cost).toFixed(2)}`,
      calls('allowed|refused'),
      calls('refused'),
      /the session ended: ([\w-]+)/.exec(log)?.[1] ?? 'no session',
    ]
  } finally {
    await stage.close()
  }
}

function bringAgent(binDir: string): void {
  const paths = (process.env.PATH ?? '').split(delimiter).map((folder) => join(folder, doctor))
  const path = paths.find((one) => existsSync(one))
  if (path === undefined) throw new Error(`${doctor} is not on the PATH`)
  rmSync(join(binDir, doctor), { force: true })
  symlinkSync(path, join(binDir, doctor))
}
