/** systemd's user manager, through `systemctl --user`. */
import { type CommandResult, runCommand } from '../tier/command.ts'
import type { Settings } from '../tier/settings.ts'

export interface SystemdUnit {
  /** The manager knows the unit file, and may start it. */
  loaded: boolean
  /** Somebody forbade every start (`systemctl mask`). */
  masked: boolean
  /** `active`, `inactive`, `failed`, `activating`, `deactivating`. */
  activeState: string
  /** `running`, `dead`, `auto-restart`, `stop-sigterm`, … */
  subState: string
  /** `success`, `exit-code`, `signal`, `start-limit-hit`, `oom-kill`, … */
  result: string
  pid?: number
  /** How the main process's last run ended; neither while it runs or never ran. */
  lastExitCode?: number
  lastSignal?: number
  restarts: number
  /** True when it ever ran since the manager loaded it: one that is disabled is forgotten as soon as it stops. */
  everRan: boolean
  enabled: boolean
}

/** An ordinary answer takes milliseconds; a manager that is itself stuck is not waited for. */
const QUERY_TIMEOUT_MS = 15_000
/** The gateway's unit has TimeoutStopSec=330: a restart under systemd waits for its work to drain. */
const ACTION_TIMEOUT_MS = 400_000

/** The unit's state; undefined when there is no systemctl or no user manager to ask. */
export async function systemdUnit(settings: Settings, unit: string): Promise<SystemdUnit | undefined> {
  const names =
    'LoadState,ActiveState,SubState,Result,MainPID,ExecMainCode,ExecMainStatus,ExecMainStartTimestampMonotonic,NRestarts,UnitFileState'
  const result = await systemctl(settings, ['show', unit, `--property=${names}`], QUERY_TIMEOUT_MS)
  if (result.code !== 0) return undefined
  const fields = readFields(result.stdout)
  const number = (name: string) => Number.parseInt(fields.get(name) ?? '', 10) || 0
  const [code, status] = [number('ExecMainCode'), number('ExecMainStatus')]
  return {
    loaded: fields.get('LoadState') === 'loaded',
    masked: fields.get('LoadState') === 'masked',
    activeState: fields.get('ActiveState') ?? '',
    subState: fields.get('SubState') ?? '',
    result: fields.get('Result') ?? '',
    pid: number('MainPID') || undefined,
    // CLD_EXITED, CLD_KILLED and CLD_DUMPED of waitid(2): for the latter two the status is the signal's number.
    lastExitCode: code === 1 ? status : undefined,
    lastSignal: code === 2 || code === 3 ? status : undefined,
    restarts: number('NRestarts'),
    everRan: number('ExecMainStartTimestampMonotonic') > 0,
    enabled: /^(enabled|static|linked|generated|alias)/.test(fields.get('UnitFileState') ?? ''),
  }
}

/** `Name=value` lines of one unit, as `systemctl show` prints them. */
function readFields(block: string): Map<string, string> {
  return new Map(block.split('\n').map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]))
}

/** What `systemctl show` printed of several units, by their `Id`; the blocks are parted by an empty line. */
export function readUnits(stdout: string): Map<string, Map<string, string>> {
  return new Map(
    stdout.split(/\n\n+/).flatMap((block) => {
      const fields = readFields(block.trim())
      const id = fields.get('Id')
      return id === undefined ? [] : [[id, fields] as const]
    }),
  )
}

/** `start`, `restart` or `stop`, waiting for it to be done. */
export async function systemdAction(
  settings: Settings,
  action: 'start' | 'restart' | 'stop',
  unit: string,
): Promise<CommandResult> {
  return systemctl(settings, [action, unit], ACTION_TIMEOUT_MS)
}

/** Lets a unit start again that systemd had given up on ("Start request repeated too quickly"). */
export async function resetFailed(settings: Settings, unit: string): Promise<CommandResult> {
  return systemctl(settings, ['reset-failed', unit], QUERY_TIMEOUT_MS)
}

export function systemctl(settings: Settings, args: string[], timeoutMs = QUERY_TIMEOUT_MS): Promise<CommandResult> {
  return runCommand('systemctl', ['--user', ...args], { timeoutMs, env: settings.childEnv })
}
