/** Who supervises the gateway's process, written down while it is healthy: when it is down, no process tells. */
import { readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { type ListedProcess, lineage } from '../tier/process-table.ts'
import type { Settings } from '../tier/settings.ts'
import { findOnPath, shell } from '../tier/shell.ts'
import { readState, shaped, tried, writeState } from '../tier/state.ts'
import { type SystemdScope, systemdUnit } from './systemd.ts'

export interface Supervision {
  kind: 'launchd' | 'systemd' | 'elsewhere'
  name: string
  scope: SystemdScope
  /** What a person runs to start it again. */
  command?: string
}

const pathOf = (settings: Settings) => join(settings.watchdogDir, 'supervision.json')

export function readSupervision(settings: Settings): Supervision | undefined {
  const check = shaped<Supervision>({ kind: 'elsewhere', name: '', scope: '--user' })
  return readState<Supervision | undefined>(pathOf(settings), check, undefined, false).value
}

/** Notes who supervises it; a gateway without a supervisor leaves what was noted before, and a human is alerted to that. In words. */
export async function noteSupervision(settings: Settings, pid: number | undefined) {
  const found = pid === undefined ? UNSEEN : await supervisionOf(settings, pid)
  if (found) writeState(pathOf(settings), found)
  const lost = found ? undefined : readSupervision(settings)
  return { supervisor: found ? inWords(found) : 'none', lostSupervisor: lost && inWords(lost) }
}

function inWords({ kind, name, scope }: Supervision): string {
  if (kind === 'elsewhere') return name
  return kind === 'launchd' ? `launchd: ${name}` : `systemd (${scope.slice(2)}): ${name}`
}

const elsewhere = (name: string, command?: string): Supervision => ({
  ...{ kind: 'elsewhere', name, scope: '--user', command },
})

/** It answers, and this account is not shown its process: it is another account's, or a container's. */
const UNSEEN = elsewhere('another account or a container')

async function supervisionOf(settings: Settings, pid: number): Promise<Supervision | undefined> {
  const line = await lineage(settings, pid)
  const container = containerOf(pid)
  // Inside a container the restarter is the container's affair.
  const restarter = container ? undefined : restarterAmong(line.slice(1), pid)
  const found = restarter ?? (await unitOf(settings, pid, line)) ?? container
  if (found || !findOnPath('launchctl', settings.childEnv.PATH))
    return found ?? (environmentOf(pid, 'OPENCLAW_SUPERVISOR_MODE') === 'external' ? EXTERNAL : undefined)
  const { stdout } = await shell(settings)`launchctl list`
  // A shell gives what is started in it by hand a process group of its own.
  const own = line.filter(({ group }) => group === line[0]?.group)
  const label = own.map(({ pid }) => new RegExp(`^${pid}\\t\\S+\\t(.+)$`, 'm').exec(stdout)?.[1]).find(Boolean)
  return label === undefined ? undefined : { kind: 'launchd', name: label, scope: '--user' }
}

export const EXTERNAL = elsewhere('an external supervisor')

/** By its cgroup: `0::/user.slice/user-1000.slice/user@1000.service/app.slice/claw.service`, `0::/system.slice/claw.service`. */
async function unitOf(settings: Settings, pid: number, line: readonly ListedProcess[]) {
  const units = [...cgroupOf(pid).matchAll(/[^/\n]+\.service(?=\/|$)/gm)].map(([name]) => name)
  const name = units.at(-1)
  if (name === undefined || name.startsWith('user@')) return undefined
  const scope: SystemdScope = units.some((one) => one.startsWith('user@')) ? '--user' : '--system'
  const pidOfUnit = (await systemdUnit(settings, name, scope))?.pid
  const main = line.find((one) => one.pid === pidOfUnit)
  const isOfUnit = main && (main.group === line[0]?.group || CHANGES_ACCOUNT.test(main.command))
  return isOfUnit ? { kind: 'systemd' as const, name, scope } : undefined
}

/** It begins a process group for what it runs, as a terminal does. */
const CHANGES_ACCOUNT = /^(?:\S*\/)?(?:su|sudo|runuser|setsid) /

const CONTAINER = /\/(docker|libpod|cri-containerd|crio|lxc\.payload)[-./]([\w.-]+?)(?:\.scope)?(?:\/|$)/m

function containerOf(pid: number): Supervision | undefined {
  const [, engine, name = ''] = CONTAINER.exec(cgroupOf(pid)) ?? []
  const id = engine === 'lxc.payload' ? name : name.slice(0, 12)
  const numbering = (of: number | 'self') => tried(() => readlinkSync(`/proc/${of}/ns/pid`))
  if (!engine || cgroupOf('self').includes(id))
    return (numbering(pid) ?? numbering('self')) === numbering('self') ? undefined : elsewhere('a container')
  return elsewhere(`the container ${id}`, `${START[engine] ?? 'crictl stop'} ${id}`)
}

/** For the others: Kubernetes starts a container again that was stopped. */
const START: Record<string, string> = {
  docker: 'docker restart',
  libpod: 'podman restart',
  'lxc.payload': 'lxc restart',
}

const cgroupOf = (pid: number | 'self'): string => tried(() => readFileSync(`/proc/${pid}/cgroup`, 'utf8')) ?? ''

function environmentOf(pid: number, name: string): string | undefined {
  const text = tried(() => readFileSync(`/proc/${pid}/environ`, 'utf8')) ?? ''
  return new RegExp(`(?:^|\\0)${name}=([^\\0]*)`).exec(text)?.[1]?.trim()
}

const RESTARTERS: readonly (readonly [pattern: RegExp, name: string, command?: string])[] = [
  [/^PM2 v|God Daemon|\/pm2-runtime\b/, 'pm2', 'pm2 restart'],
  [/\bsupervisord\b/, 'supervisord', 'supervisorctl restart'],
  [/^(?:\S*\/)?runsv\b/, 'runit', 'sv restart'],
  [/^(?:\S*\/)?s6-supervise\b/, 's6', 's6-svc -r'],
  [/^(?:\S*\/)?(?:supervise(?:-daemon)?|circusd)\b|\b(?:nodemon|forever)\b/, 'its service supervisor'],
  [/^(?:\S*\/)?(?:ba|da|z|k)?sh -\w*c .*\b(?:while|until|for)\b/s, 'a loop of a shell'],
]

/** What stands between a restarter and the gateway: OpenClaw's launcher, a script, a change of the account. */
const LEADS_TO_IT =
  /^(?:\S*\/)?(?:(?:ba|da|z|k)?sh \S|(?:su|sudo|runuser|setsid|env|nice|npm|npx) )|(?:^|\/)openclaw(?:\.mjs)?(?: |$)/

function restarterAmong(parents: readonly ListedProcess[], pid: number): Supervision | undefined {
  // A restarter of something else (a web terminal, a test) is no restarter of what was started below it.
  const other = parents.findIndex(({ command }) => !LEADS_TO_IT.test(command))
  const near = other === -1 ? parents : parents.slice(0, other + 1)
  const restarter = RESTARTERS.find(([pattern]) => near.some(({ command }) => pattern.test(command)))
  if (!restarter) return undefined
  // pm2 and supervisord tell their child what they call it.
  const name = environmentOf(pid, 'pm_id') ? environmentOf(pid, 'name') : environmentOf(pid, 'SUPERVISOR_PROCESS_NAME')
  return elsewhere(restarter[1], restarter[2] && `${restarter[2]} ${name ?? '<its name>'}`)
}
