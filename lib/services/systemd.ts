/** systemd's user manager, through `systemctl --user`. */
import type { Settings } from '../tier/settings.ts'
import { shell } from '../tier/shell.ts'

export interface SystemdUnit {
  loaded: boolean
  masked: boolean
  /** `active`, `inactive`, `failed`, `activating`, `deactivating`. */
  activeState: string
  subState: string
  /** `success`, `exit-code`, `signal`, `start-limit-hit`, `oom-kill`, … */
  result: string
  pid?: number
  lastExitCode?: number
  lastSignal?: number
  restarts: number
  /** A disabled unit is forgotten as soon as it stops. */
  everRan: boolean
  enabled: boolean
}

/** TimeoutStopSec=330 in the gateway's unit. */
export const SYSTEMD_ACTION_TIMEOUT_SEC = 400

export async function systemdUnit(settings: Settings, unit: string): Promise<SystemdUnit | undefined> {
  const names =
    'LoadState,ActiveState,SubState,Result,MainPID,ExecMainCode,ExecMainStatus,ExecMainStartTimestampMonotonic,NRestarts,UnitFileState'
  const result = await shell(settings)`systemctl --user show ${unit} --property=${names}`
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
    // CLD_EXITED, CLD_KILLED and CLD_DUMPED of waitid(2).
    lastExitCode: code === 1 ? status : undefined,
    lastSignal: code === 2 || code === 3 ? status : undefined,
    restarts: number('NRestarts'),
    everRan: number('ExecMainStartTimestampMonotonic') > 0,
    enabled: /^(enabled|static|linked|generated|alias)/.test(fields.get('UnitFileState') ?? ''),
  }
}

function readFields(block: string): Map<string, string> {
  return new Map(block.split('\n').map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]))
}

export function readUnits(stdout: string): Map<string, Map<string, string>> {
  return new Map(
    stdout.split(/\n\n+/).flatMap((block) => {
      const fields = readFields(block.trim())
      const id = fields.get('Id')
      return id === undefined ? [] : [[id, fields] as const]
    }),
  )
}
