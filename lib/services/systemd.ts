import type { Settings } from '../tier/settings.ts'
import { howItEnded, shell } from '../tier/shell.ts'

const PROPERTIES =
  'LoadState,ActiveState,SubState,Result,MainPID,ExecMainCode,ExecMainStatus,ExecMainStartTimestampMonotonic,NRestarts,UnitFileState,Restart'

/** The user's manager, or the machine's. */
export type SystemdScope = '--user' | '--system'

export async function systemdUnit(settings: Settings, unit: string, scope: SystemdScope = '--user') {
  const { code, stdout } = await shell(settings)`systemctl ${scope} show ${unit} --property=${PROPERTIES}`
  if (code !== 0) return undefined
  const text = (name: string) => new RegExp(`^${name}=(.*)$`, 'm').exec(stdout)?.[1] ?? ''
  const number = (name: string) => Number.parseInt(text(name), 10) || 0
  const [loadState, activeState, subState] = [text('LoadState'), text('ActiveState'), text('SubState')]
  const [result, unitFile, starts] = [text('Result'), text('UnitFileState'), number('NRestarts')]
  // CLD_EXITED, CLD_KILLED and CLD_DUMPED of waitid(2).
  const [how, status] = [number('ExecMainCode'), number('ExecMainStatus')]
  const lastExitCode = how === 1 ? status : undefined
  const ended = howItEnded(lastExitCode, how > 1 ? status : undefined)
  const enabled = /^(enabled|static|linked|generated|alias)/.test(unitFile)
  const startedMs = number('ExecMainStartTimestampMonotonic') / 1000
  const wasStarted = startedMs > 0
  const isOff = loadState === 'masked' || (activeState === 'inactive' && !wasStarted && !enabled)
  // A unit that was killed at its stop failed with `timeout`.
  const isOut = activeState === 'inactive' ? wasStarted : activeState === 'failed' && result === 'timeout'
  const stopped = isOff ? ('for good' as const) : isOut ? ('by someone' as const) : undefined
  const words = [
    `${activeState} (${subState})`,
    unitFile === 'disabled' && unitFile,
    result !== 'success' && result && `result ${result}`,
    ended,
    starts > 0 && `${starts} restarts`,
  ]
  const loaded = loadState === 'loaded'
  return {
    ...{ loaded, enabled, activeState, lastExitCode, ended, starts, stopped, pended: false, cannotStart: undefined },
    // `bad-setting`: a unit whose file has an error, and which runs on until it is restarted.
    isThere: !['', 'not-found'].includes(loadState),
    // `elapsed`: a timer that is active and will never fire again.
    isOn: loaded && activeState === 'active' && subState !== 'elapsed',
    pid: number('MainPID') || undefined,
    alwaysRestarts: text('Restart') === 'always',
    startedMs: wasStarted ? Date.now() - (Number(process.hrtime.bigint()) / 1e6 - startedMs) : undefined,
    restarting: activeState === 'activating',
    stopping: activeState === 'deactivating',
    parked: activeState === 'failed' && !stopped,
    detail: `systemd: ${loaded ? words.filter(Boolean).join(', ') : loadState}`,
  }
}
