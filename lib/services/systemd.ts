import type { Settings } from '../tier/settings.ts'
import { shell } from '../tier/shell.ts'

export type SystemdUnit = NonNullable<Awaited<ReturnType<typeof systemdUnit>>>

/** TimeoutStopSec=330 in the gateway's unit. */
export const SYSTEMD_ACTION_TIMEOUT_SEC = 400

const PROPERTIES =
  'LoadState,ActiveState,SubState,Result,MainPID,ExecMainCode,ExecMainStatus,ExecMainStartTimestampMonotonic,NRestarts,UnitFileState'

export async function systemdUnit(settings: Settings, unit: string) {
  const { code, stdout } = await shell(settings)`systemctl --user show ${unit} --property=${PROPERTIES}`
  if (code !== 0) return undefined
  const text = (name: string) => new RegExp(`^${name}=(.*)$`, 'm').exec(stdout)?.[1] ?? ''
  const number = (name: string) => Number.parseInt(text(name), 10) || 0
  const [how, status] = [number('ExecMainCode'), number('ExecMainStatus')]
  return {
    loaded: text('LoadState') === 'loaded',
    masked: text('LoadState') === 'masked',
    activeState: text('ActiveState'),
    subState: text('SubState'),
    result: text('Result'),
    pid: number('MainPID') || undefined,
    // CLD_EXITED, CLD_KILLED and CLD_DUMPED of waitid(2).
    lastExitCode: how === 1 ? status : undefined,
    lastSignal: how === 2 || how === 3 ? status : undefined,
    restarts: number('NRestarts'),
    everRan: number('ExecMainStartTimestampMonotonic') > 0,
    enabled: /^(enabled|static|linked|generated|alias)/.test(text('UnitFileState')),
  }
}
