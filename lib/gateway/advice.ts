/** What a person does next who was woken up: for status, alert and report, by the reason and by the verdict. Commands in backticks. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { pausePath } from '../tier/pause.ts'
import { DEFAULT_PROFILE } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'
import { namesIn } from '../tier/state.ts'
import { REASONS } from './reasons.ts'
import { readRecord } from './record.ts'
import { TREATMENTS, type Verdict } from './treat.ts'

export type Trouble = 'gateway' | 'watchers' | 'disk' | 'alerts' | 'pause' | 'warnings' | 'not installed'

/** At most three lines; the last says what not to do. A verdict that is not in the table (of a later version) is an unknown one. */
export function adviceFor(settings: Settings, trouble: Trouble, verdict = '', evidence = ''): string[] {
  const { memoryDir, watchdogDir, envFile, stateDir } = settings
  const show = (path: string) => inShell(settings, path)
  const flag = flagFor(settings)
  const pause = show(pausePath(settings))
  const lines = {
    gateway: () => forVerdict(settings, verdict in TREATMENTS ? (verdict as Verdict) : 'unknown', evidence, pause),
    watchers: () => [
      `register the jobs again with \`npm run setup${flag && ` --${flag}`}\` in the folder of this repository`,
      'the gateway itself may be well: see with `openclaw gateway status`',
      'do not leave it so: until then nobody may notice that the gateway is down',
    ],
    disk: () => [
      'see with `df -h ~` and `ls -ld` of the folders named; free some space, or give back the right to write',
      `do not delete \`${show(watchdogDir)}\`: until it can be written no tier restarts anything`,
    ],
    alerts: () => [
      `see why with \`grep -h "NOT delivered\\|no alert channel" ${show(memoryDir)}/monitor-*.log | tail -n 3\``,
      `correct the channel in \`${show(envFile ?? join(stateDir, '.env'))}\`, then try it with \`sh scripts/run-tier.sh emergency-recovery-monitor --test-alert${flag}\``,
      'do not delete `alerts.json`: what waits in it is sent when a channel takes it',
    ],
    pause: () => [`when you are done, end the pause with \`rm ${pause}\`; until then nothing is healed`],
    warnings: () => [
      'see what it is with `openclaw status`; do not restart the gateway for it: that mends none of these',
    ],
    'not installed': () => [
      `install self-healing with \`npm run setup${flag && ` --${flag}`}\`; until then nothing is healed`,
    ],
  }[trouble]()
  return lines.map((line) => ofProfile(settings, line))
}

const flagFor = ({ profile }: Settings) => (profile === DEFAULT_PROFILE ? '' : ` --profile ${profile}`)

/** With the flag of its profile in each command of OpenClaw's. */
export const ofProfile = (settings: Settings, line: string): string =>
  line.replaceAll('`openclaw ', `\`openclaw${flagFor(settings)} `)

function forVerdict(settings: Settings, verdict: Verdict, evidence: string, pause: string): string[] {
  const show = (path: string) => inShell(settings, path)
  const { configPath, stateDir, memoryDir, watchdogDir } = settings
  const knownGood = join(watchdogDir, 'known-good')
  const values: Record<string, () => string> = {
    config: () => `\`${show(configPath)}\``,
    knownGood: () => (namesIn(knownGood).length > 0 ? ` (configs that worked are in \`${show(knownGood)}\`)` : ''),
    owner: () => `\`${whoHasPort(settings, pidIn(evidence))}\``,
    pid: () => pidIn(evidence) ?? '<its pid>',
    version: () => /\d[\w.-]*/.exec(readRecord(settings, true).value.version ?? '')?.[0] ?? '<version>',
    folders: () => [stateDir, memoryDir].map(show).join(' '),
    state: () => `\`${show(stateDir)}\``,
    start: () => /a person can start it with (`[^`]+`)$/.exec(evidence)?.[1] ?? 'its own supervisor',
  }
  if (verdict === 'misconfigured' && !existsSync(configPath))
    return [`put its config back to ${values.config!()}${values.knownGood!()}, or let \`openclaw onboard\` write one`]
  const [first, ...others] = TREATMENTS[verdict].todo.map((line) =>
    line.replace(/\{(\w+)\}/g, (_, name) => values[name]!()),
  )
  const reason = REASONS.find(({ pattern, ...its }) => (its.verdict ?? verdict) === verdict && pattern.test(evidence))
  const [, command] = /(`[^`]+`)/.exec(reason?.advice ?? '') ?? []
  const isSaid = command !== undefined && first!.includes(command)
  const works = `while you work, pause self-healing with \`touch ${pause}\`, and remove it afterwards`
  const isAtWork = !['healthy', 'starting', 'draining', 'orphan', 'stopped-on-purpose'].includes(verdict)
  const last = others.map((line) => (isAtWork ? `${line}; ${works}` : line))
  return [...(reason && !isSaid ? [reason.advice] : []), first!, ...last]
}

const pidIn = (evidence: string) => /\bpid (\d+)/.exec(evidence)?.[1]

/** By what is there without a package more: /proc on Linux, ps and lsof on a Mac. */
function whoHasPort({ gatewayPort }: Settings, pid: string | undefined): string {
  if (process.platform !== 'linux')
    return pid ? `ps -o user,lstart,command -p ${pid}` : `sudo lsof -nP -iTCP:${gatewayPort} -sTCP:LISTEN`
  return pid ? `ls -l /proc/${pid}/exe /proc/${pid}/cwd` : `sudo ss -ltnp "sport = :${gatewayPort}"`
}

/** What a notice asks for: how to see what was put back, and how to undo it. `isOpen`: there is something left to be undone. */
export function rollbackOf(settings: Settings, notice: string): { todo: string[]; isOpen: boolean } | undefined {
  if (!notice.includes('config rolled back: ')) return undefined
  const flag = flagFor(settings)
  const path = /the broken one is kept as (.+?)(?: \(|$)/.exec(notice)?.[1]
  const kept = path
    ? inShell(settings, path)
    : `"$(ls -t ${inShell(settings, settings.configPath)}.broken-* | head -1)"`
  const config = inShell(settings, settings.configPath)
  return {
    todo: [
      `see what was taken back with \`diff ${kept} ${config}\``,
      `to undo it, correct the one that was taken back, then \`cp ${kept} ${config} && openclaw${flag} gateway restart\``,
      `do not put it back as it is: the gateway would refuse it again; when you are done with it, \`rm ${kept}\``,
    ],
    isOpen: path !== undefined && existsSync(path),
  }
}

/** As it is pasted into a shell. */
function inShell({ home }: Settings, path: string): string {
  const short = path.startsWith(`${home}/`) ? `~${path.slice(home.length)}` : path
  return /^[\w~/.@:+-]+$/.test(short) ? short : `'${path.replaceAll("'", "'\\''")}'`
}
