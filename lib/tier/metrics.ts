/**
 * The numbers for Prometheus, for node_exporter's textfile collector. A file is also the memory of its counters.
 * node_exporter reads all files as one page: every series names its tier, and a tier writes its own file only.
 */
import { chmodSync, existsSync, mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ABOUT_WATCHERS, ALL_TIERS as ALL, EXIT, type ExitCode, type Marker, TIERS, type TierName } from './contract.ts'
import { type Journal, readTail } from './journal.ts'
import type { Settings } from './settings.ts'
import { readWhole, writeFileAtomic } from './state.ts'

type Labels = Record<string, string>

interface Metric {
  name: string
  type: 'gauge' | 'counter' | 'histogram'
  help: string
  /** A counter of these tiers stands at 0 before the first event, or that one could not be seen. */
  by: readonly TierName[]
  begins: readonly Labels[]
}

const LADDER = ['watchdog', 'healthcheck', 'emergency-recovery'] as const
const DOCTOR = ['emergency-recovery'] as const

function metric(type: Metric['type'], name: string, by: readonly TierName[], help: string, begins: Labels[]): Metric {
  // Not `openclaw_`: the gateway has metrics of its own.
  return { name: `openclaw_self_healing_${name}`, type, by, help, begins }
}
const gauge = (name: string, by: readonly TierName[], help: string) => metric('gauge', name, by, help, [])
const counter = (name: string, by: readonly TierName[], help: string, begins: Labels[] = [{}]) =>
  metric('counter', name, by, help, begins)
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
  recovery: metric(
    'histogram',
    'recovery_seconds',
    LADDER,
    'How long outages lasted, by the level that ended them (none: by itself or from outside).',
    [],
  ),
  doctorVisits: counter(
    'doctor_visits_total',
    DOCTOR,
    'Sessions of the doctor, by how the gateway was afterwards.',
    labelled('result', ['recovered', 'down']),
  ),
  doctorRefused: counter('doctor_refused_total', DOCTOR, 'Times that no doctor could or might be called.'),
  doctorToolCalls: counter(
    'doctor_tool_calls_total',
    DOCTOR,
    'Calls of instruments by the doctor, by whether they were allowed.',
    labelled('decision', ['allowed', 'refused']),
  ),
  doctorDailyLimit: gauge('doctor_daily_limit', DOCTOR, 'How many sessions of the doctor 24 hours may see.'),
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

type MetricKey = keyof typeof METRICS

const RECOVERY_BUCKETS_SEC = [5, 15, 30, 60, 120, 300, 600, 1800, 3600]

/** The verdicts of lib/gateway/treat.ts. */
export const GATEWAY_VERDICTS = (
  'healthy starting draining hung absent unloaded parked misconfigured impostor orphan broken-install blocked ' +
  'unusable-state disk-full stopped-on-purpose'
).split(' ')

export type Meter = ReturnType<typeof openMeter>

/** Ignores what is no verdict about the gateway. */
function noteVerdict(meter: Meter, verdict: string): void {
  if (!GATEWAY_VERDICTS.includes(verdict)) return
  meter.set('gatewayUp', verdict === 'healthy' || verdict === 'orphan' ? 1 : 0)
  for (const one of GATEWAY_VERDICTS) meter.set('gatewayVerdict', one === verdict ? 1 : 0, { verdict: one })
  meter.set('gatewaySeen', Date.now() / 1000)
}

/** Counts a line of the tier's log, at once: the run may be killed. `isNew`: no log knew of this outage before. */
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

export function metricsPath(settings: Settings, tier: TierName): string {
  const folder = settings.prometheusTextfileDir || join(settings.watchdogDir, 'metrics')
  return join(folder, `openclaw-self-healing-${settings.profile}-${tier}.prom`)
}

type Series = Map<string, number>

/** What is noted is added to the file by `flush`: a run that was overtaken takes nothing away from another. */
export function openMeter(settings: Settings, tier: TierName, log: Pick<Journal, 'path' | 'warn'>, dryRun: boolean) {
  let changes: ((series: Series) => void)[] = []
  const path = metricsPath(settings, tier)
  const key = (name: string, labels: Labels) =>
    `${name}{${Object.entries({ profile: settings.profile, tier, ...labels })
      .map(([label, value]) => `${label}="${value.replace(/[\\"]/g, '\\$&').replaceAll('\n', '\\n')}"`)
      .join()}}`
  const add = (name: string, labels: Labels, by: number) => {
    const one = key(name, labels)
    changes.push((series) => series.set(one, (series.get(one) ?? 0) + by))
  }
  const addRecovery = (level: string, seconds: number, by: number) => {
    const { name } = METRICS.recovery
    for (const le of [...RECOVERY_BUCKETS_SEC, '+Inf'])
      if (le === '+Inf' || Number(le) >= seconds) add(`${name}_bucket`, { level, le: String(le) }, by)
    add(`${name}_sum`, { level }, seconds)
    add(`${name}_count`, { level }, by)
  }
  const begin = () => {
    for (const { name, by, begins } of Object.values<Metric>(METRICS))
      if (by.includes(tier)) for (const labels of begins) add(name, labels, 0)
    const { level } = TIERS[tier]
    if (level !== undefined && level <= 3) for (const one of [String(level), 'none']) addRecovery(one, 0, 0)
  }
  return {
    add: (metric: MetricKey, labels: Labels = {}) => add(METRICS[metric].name, labels, 1),
    set: (metric: MetricKey, value: number, labels: Labels = {}) => {
      const one = key(METRICS[metric].name, labels)
      changes.push((series) => series.set(one, value))
    },
    /** Removes the series with other labels. */
    setOnly: (metric: MetricKey, labels: Labels) => {
      const { name } = METRICS[metric]
      changes.push((series) => {
        for (const one of series.keys()) if (one.startsWith(`${name}{`)) series.delete(one)
        series.set(key(name, labels), 1)
      })
    },
    recovered: (level: number | undefined, seconds: number) => addRecovery(String(level ?? 'none'), seconds, 1),
    flush: () => {
      if (dryRun) return
      try {
        const { series, problem } = readMetrics(path)
        begin()
        for (const change of changes) change(series)
        writeMetrics(path, series)
        changes = []
        if (problem) log.warn(`${path} ${problem}; its numbers start again`)
      } catch (error) {
        const trouble = `no numbers for Prometheus: ${path} cannot be written (${(error as NodeJS.ErrnoException).code ?? error})`
        // Once in a day's log; a tier that cannot write its log says that instead.
        if (existsSync(log.path) && !readTail(log.path, 256 * 1024).includes(trouble)) log.warn(trouble)
      }
    },
  }
}

/** The last line; a file that was cut off has none. Prometheus's parser takes it for a comment. */
const LAST_LINE = '# EOF'

export function readMetrics(path: string): { series: Series; problem?: string } {
  const series: Series = new Map()
  let text: string
  try {
    text = readWhole(path)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return code === 'ENOENT' ? { series } : { series, problem: `cannot be read (${code})` }
  }
  const damaged = { series: new Map<string, number>(), problem: 'was damaged' }
  if (!text.endsWith(`\n${LAST_LINE}\n`)) return damaged
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue
    const m = /^(\w+\{(?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)+\}) (\S+)$/.exec(line)
    const value = Number(m?.[2] ?? Number.NaN)
    if (!m || !Number.isFinite(value) || value < 0) return damaged
    series.set(m[1]!, value)
  }
  return { series }
}

/** Readable for all: node_exporter is another user. */
function writeMetrics(path: string, series: Series): void {
  const samples: Record<string, string[]> = {}
  for (const [one, value] of series) (samples[one.slice(0, one.indexOf('{'))] ??= []).push(`${one} ${value}`)
  const lines: string[] = []
  for (const { name, type, help } of Object.values<Metric>(METRICS)) {
    const parts = type === 'histogram' ? ['_bucket', '_sum', '_count'] : ['']
    const own = parts.flatMap((part) => samples[name + part] ?? [])
    // The same words in every file, or node_exporter refuses the second one (prometheus/node_exporter#1885).
    if (own.length > 0) lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...own)
  }
  if (!existsSync(dirname(path))) {
    mkdirSync(dirname(path), { recursive: true })
    chmodSync(dirname(path), 0o755)
  }
  writeFileAtomic(path, `${[...lines, LAST_LINE].join('\n')}\n`, 0o644, false)
}
