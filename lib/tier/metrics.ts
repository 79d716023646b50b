/**
 * The numbers that the tiers leave for Prometheus: one table, and what of a run becomes which number. Names and units
 * follow https://prometheus.io/docs/practices/naming (base units, `_total`, `_seconds`, `_info`).
 *
 * node_exporter reads all files as one page, on which no series may stand twice: every series carries the tier that
 * wrote it, and a tier writes its own file only (lib/tier/metrics-file.ts). The machine is Prometheus's `instance`.
 */
import { ABOUT_WATCHERS, EXIT, type ExitCode, type Marker, TIERS, type TierName } from './contract.ts'

export type Labels = Record<string, string>

export interface Metric {
  name: string
  type: 'gauge' | 'counter' | 'histogram'
  help: string
  /** The tiers that write it; a counter of theirs stands at 0 before the first event, or that one could not be seen. */
  by: readonly TierName[]
  /** The label sets with which a counter begins. */
  begins?: readonly Labels[]
}

/** Not `openclaw_`: the gateway has metrics of its own. */
const PREFIX = 'openclaw_self_healing_'

const LADDER = ['watchdog', 'healthcheck', 'emergency-recovery'] as const
const ALL = Object.keys(TIERS) as TierName[]

function gauge(name: string, by: readonly TierName[], help: string): Metric {
  return { name: PREFIX + name, type: 'gauge', by, help }
}

function counter(name: string, by: readonly TierName[], help: string, begins: readonly Labels[] = [{}]): Metric {
  return { name: PREFIX + name, type: 'counter', by, help, begins }
}

const labelled = (label: string, values: readonly unknown[]): Labels[] =>
  values.map((value) => ({ [label]: String(value) }))

export const METRICS = {
  gatewayUp: gauge('gateway_up', LADDER, 'Whether the gateway was up when this tier last looked (1) or not (0).'),
  gatewayVerdict: gauge('gateway_verdict', LADDER, "The verdict of this tier's last look: 1 for it, 0 for the others."),
  gatewaySeen: gauge('gateway_seen_timestamp_seconds', LADDER, 'When this tier last looked at the gateway.'),
  gatewayInfo: gauge('gateway_info', ['watchdog'], 'Always 1; the version of the running gateway.'),
  gatewayMemory: gauge('gateway_memory_bytes', ['watchdog'], "Resident memory of the gateway's process."),
  gatewayMemoryLimit: gauge('gateway_memory_limit_bytes', ['watchdog'], 'The memory thresholds of the settings.'),
  gatewayWarnings: gauge('gateway_warnings', ['watchdog'], 'Things that are wrong with a gateway that is up.'),
  incidents: counter('incidents_total', LADDER, 'Outages of the gateway that this tier was the first to see.'),
  restarts: counter(
    'restarts_total',
    ['watchdog', 'healthcheck'],
    'Restarts and starts of the gateway, by whether the command worked.',
    labelled('result', ['done', 'failed']),
  ),
  configRollbacks: counter('config_rollbacks_total', ['healthcheck'], 'Known-good configs that were put back.'),
  escalations: counter('escalations_total', ['watchdog', 'healthcheck'], 'Outages handed on to the next level.'),
  humanCalls: counter(
    'human_calls_total',
    ALL,
    'Lines that say MANUAL INTERVENTION REQUIRED, by what they are about.',
    labelled('about', ['gateway', 'watchers']),
  ),
  recovery: {
    name: `${PREFIX}recovery_seconds`,
    type: 'histogram',
    by: LADDER,
    help: 'How long outages lasted, by the level that ended them (none: by itself or from outside).',
  },
  doctorVisits: counter(
    'doctor_visits_total',
    ['emergency-recovery'],
    'Sessions of the doctor, by how the gateway was afterwards.',
    labelled('result', ['recovered', 'down']),
  ),
  doctorRefused: counter(
    'doctor_refused_total',
    ['emergency-recovery'],
    'Times that no doctor could or might be called.',
  ),
  doctorToolCalls: counter(
    'doctor_tool_calls_total',
    ['emergency-recovery'],
    'Calls of instruments by the doctor, by whether they were allowed.',
    labelled('decision', ['allowed', 'refused']),
  ),
  doctorDailyLimit: gauge(
    'doctor_daily_limit',
    ['emergency-recovery'],
    'How many sessions of the doctor 24 hours may see.',
  ),
  alertDeliveries: counter(
    'alert_deliveries_total',
    ['monitor'],
    'Messages to a human, by channel and by whether the channel took them.',
    [],
  ),
  alertsWaiting: gauge('alerts_waiting', ['monitor'], 'Alerts that could not be delivered yet.'),
  paused: gauge('paused', ALL, 'Whether the pause switch was set at the last run.'),
  atWork: gauge('at_work', ALL, 'Whether this tier treats the gateway right now.'),
  runs: counter('runs_total', ALL, 'Runs, by exit code.', labelled('exit_code', [0, 1, 3])),
  lastRun: gauge('last_run_timestamp_seconds', ALL, 'When the last run ended.'),
  lastRunExitCode: gauge('last_run_exit_code', ALL, 'Exit code of the last run.'),
  lastRunDuration: gauge('last_run_duration_seconds', ALL, 'How long the last run took.'),
  interval: gauge('interval_seconds', ALL, 'How often this tier is started; Level 3 has no schedule.'),
  longestRun: gauge('longest_run_seconds', ALL, 'The longest that a run may take by its settings.'),
} satisfies Record<string, Metric>

export type MetricKey = keyof typeof METRICS

/** Upper bounds of the recovery histogram: from one tick's work to a doctor's whole visit. */
export const RECOVERY_BUCKETS_SEC = [5, 15, 30, 60, 120, 300, 600, 1800, 3600]

/** Levels that may end an outage in a tier's log. */
export function recoveryLevels(tier: TierName): string[] {
  const { level } = TIERS[tier]
  return level === undefined ? [] : [String(level), 'none']
}

/** What a run may end with that is a verdict about the gateway (lib/gateway/examine.ts has their meanings). */
export const GATEWAY_VERDICTS = [
  'healthy',
  'starting',
  'draining',
  'hung',
  'absent',
  'unloaded',
  'parked',
  'misconfigured',
  'impostor',
  'orphan',
  'broken-install',
  'blocked',
  'unusable-state',
  'disk-full',
  'stopped-on-purpose',
] as const

/** Where a run notes its numbers. */
export interface Meter {
  add(metric: MetricKey, labels?: Labels, by?: number): void
  set(metric: MetricKey, value: number, labels?: Labels): void
  /** Sets the metric to 1 for these labels, and takes away what it had with others. */
  setOnly(metric: MetricKey, labels: Labels): void
  /** An outage that ended. */
  recovered(level: number | undefined, seconds: number): void
  /** Writes what was noted so far. Never throws: numbers are not worth a tier. */
  flush(): void
}

/** A look at the gateway; anything but a verdict about it (`stood down`) is passed over. */
export function noteVerdict(meter: Meter, verdict: string, now = Date.now()): void {
  if (!GATEWAY_VERDICTS.some((one) => one === verdict)) return
  meter.set('gatewayUp', verdict === 'healthy' || verdict === 'orphan' ? 1 : 0)
  for (const one of GATEWAY_VERDICTS) meter.set('gatewayVerdict', one === verdict ? 1 : 0, { verdict: one })
  meter.set('gatewaySeen', now / 1000)
}

/**
 * What a line of the tier's log means for the numbers. They are written at once: the next line may be half an hour
 * away, and a run that is killed until then shall not have happened in vain.
 * @param isNew for DOWN: no tier's log knew of this outage before
 */
export function noteMarker(meter: Meter, marker: Marker, isNew: boolean): void {
  if (marker.kind === 'down') {
    noteVerdict(meter, marker.verdict)
    if (isNew) meter.add('incidents')
  } else if (marker.kind === 'recovered') {
    noteVerdict(meter, 'healthy')
    meter.recovered(marker.level, marker.seconds)
  } else if (marker.kind === 'escalate') meter.add('escalations')
  else if (marker.kind === 'manual')
    meter.add('humanCalls', { about: marker.why.startsWith(ABOUT_WATCHERS) ? 'watchers' : 'gateway' })
  else return
  meter.flush()
}

/** The end of a run. */
export function noteRun(
  meter: Meter,
  tier: TierName,
  run: { code: ExitCode; verdict: string; seconds: number; isPaused: boolean; longestSec: number },
): void {
  if (run.code !== EXIT.unusable) noteVerdict(meter, run.verdict)
  meter.add('runs', { exit_code: String(run.code) })
  meter.set('lastRun', Date.now() / 1000)
  meter.set('lastRunExitCode', run.code)
  meter.set('lastRunDuration', run.seconds)
  meter.set('paused', run.isPaused ? 1 : 0)
  meter.set('atWork', 0)
  const { intervalSec } = TIERS[tier]
  if (intervalSec !== undefined) meter.set('interval', intervalSec)
  meter.set('longestRun', run.longestSec)
}
