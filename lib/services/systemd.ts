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
  // CLD_EXITED, CLD_KILLED and CLD_DUMPED of waitid(2).
  const [how, status] = [number('ExecMainCode'), number('ExecMainStatus')]
  const unitFile = text('UnitFileState')
  const read = {
    loaded: text('LoadState') === 'loaded',
    masked: text('LoadState') === 'masked',
    activeState: text('ActiveState'),
    result: text('Result'),
    pid: number('MainPID') || undefined,
    lastExitCode: how === 1 ? status : undefined,
    everRan: number('ExecMainStartTimestampMonotonic') > 0,
    enabled: /^(enabled|static|linked|generated|alias)/.test(unitFile),
  }
  const words = [
    `${read.activeState} (${text('SubState')})`,
    unitFile === 'disabled' && unitFile,
    read.result !== 'success' && read.result && `result ${read.result}`,
    how === 1 && `last exit status ${status}`,
    how > 1 && `last ended by signal ${status}`,
    number('NRestarts') > 0 && `${number('NRestarts')} restarts`,
  ]
  const detail = read.loaded ? words.filter(Boolean).join(', ') : text('LoadState')
  // `elapsed`: a timer that is active and will never fire again.
  const isOn = read.loaded && read.activeState === 'active' && text('SubState') !== 'elapsed'
  return { ...read, isOn, detail: `systemd: ${detail}` }
}
