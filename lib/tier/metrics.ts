/**
 * The numbers for Prometheus, for node_exporter's textfile collector. A file is also the memory of its counters.
 * node_exporter reads all files as one page: every series names its tier, and a tier writes its own file only.
 */
import { chmodSync, existsSync, mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ABOUT_WATCHERS, ALL_TIERS as ALL, type ExitCode, type Marker, TIERS, type TierName } from './contract.ts'
import { type Journal, readTail } from './journal.ts'
import type { Settings } from './settings.ts'
import { readWhole, tried, writeFileAtomic } from './state.ts'

type Labels = Record<string, string>

const LADDER: readonly TierName[] = ['watchdog', 'healthcheck', 'emergency-recovery']
const L1_L2 = LADDER.slice(0, 2)
const [L1, L3, L4] = [['watchdog'], ['emergency-recovery'], ['monitor']] as const

/** A counter of the tiers `by` stands at 0 before the first event, or that one could not be seen. */
function metric(type: string, name: string, by: readonly TierName[], help: string, label = '', ...values: string[]) {
  // Not `openclaw_`: the gateway has metrics of its own.
  return { name: `openclaw_self_healing_${name}`, type, by, help, label, values }
}
const gauge = metric.bind(undefined, 'gauge')
const counter = metric.bind(undefined, 'counter')

const LASTED = 'How long outages lasted, by the level that ended them (none: by itself or from outside).'
const CALLED = 'Lines that say MANUAL INTERVENTION REQUIRED, by what they are about.'

export const METRICS = {
  gatewayUp: gauge('gateway_up', LADDER, 'Whether the gateway was up when this tier last looked (1) or not (0).'),
  gatewayVerdict: gauge('gateway_verdict', LADDER, "1 for the verdict of this tier's last check, 0 for the others."),
  gatewaySeen: gauge('gateway_seen_timestamp_seconds', LADDER, 'When this tier last looked at the gateway.'),
  gatewayInfo: gauge('gateway_info', L1, 'Always 1; the version of the running gateway.'),
  gatewayMemory: gauge('gateway_memory_bytes', L1, "Resident memory of the gateway's process."),
  gatewayMemoryLimit: gauge('gateway_memory_limit_bytes', L1, 'The memory thresholds of the settings.'),
  gatewayWarnings: gauge('gateway_warnings', L1, 'Things that are wrong with a gateway that is up.'),
  gatewaySilent: gauge('gateway_silent', ['healthcheck'], 'Reasons why a gateway that is up may give no answers.'),
  processDeaths: counter('gateway_process_deaths_total', LADDER, 'Processes of the gateway that ended, also unseen.'),
  incidents: counter('incidents_total', LADDER, 'Outages of the gateway that this tier was the first to see.'),
  restarts: counter('restarts_total', L1_L2, 'Starts and restarts, by result.', 'result', 'done', 'failed'),
  configRollbacks: counter('config_rollbacks_total', ['healthcheck'], 'Known-good configs that were put back.'),
  escalations: counter('escalations_total', L1_L2, 'Outages escalated to the next level.'),
  humanCalls: counter('human_calls_total', ALL, CALLED, 'about', 'gateway', 'watchers'),
  recovery: metric('histogram', 'recovery_seconds', LADDER, LASTED),
  doctorVisits: counter('doctor_visits_total', L3, 'Sessions of the doctor, by result.', 'result', 'recovered', 'down'),
  doctorRefused: counter('doctor_refused_total', L3, 'Times that no doctor could or might be called.'),
  doctorToolCalls: counter('doctor_tool_calls_total', L3, 'Calls of instruments.', 'decision', 'allowed', 'refused'),
  doctorDailyLimit: gauge('doctor_daily_limit', L3, 'How many sessions of the doctor 24 hours may see.'),
  alertDeliveries: counter('alert_deliveries_total', L4, 'Messages to a human, by channel and its answer.', 'channel'),
  alertsWaiting: gauge('alerts_waiting', L4, 'Alerts that could not be delivered yet.'),
  paused: gauge('paused', ALL, 'Whether the pause switch was set at the last run.'),
  atWork: gauge('at_work', ALL, 'Whether this tier treats the gateway right now.'),
  runs: counter('runs_total', ALL, 'Runs, by exit code.', 'exit_code', '0', '1', '3'),
  lastRun: gauge('last_run_timestamp_seconds', ALL, 'When the last run ended.'),
  lastRunExitCode: gauge('last_run_exit_code', ALL, 'Exit code of the last run.'),
  lastRunDuration: gauge('last_run_duration_seconds', ALL, 'How long the last run took.'),
  interval: gauge('interval_seconds', ALL, 'How often this tier is started; Level 3 has no schedule.'),
  longestRun: gauge('longest_run_seconds', ALL, 'The longest that a run may take by its settings.'),
}

type MetricKey = keyof typeof METRICS

const RECOVERY_BUCKETS_SEC = [5, 15, 30, 60, 120, 300, 600, 1800, 3600]

/** The verdicts of lib/gateway/treat.ts. */
export const GATEWAY_VERDICTS = (
  'healthy starting draining hung absent unloaded parked misconfigured impostor orphan broken-install blocked ' +
  'unusable-state disk-full stopped-on-purpose crash-looping unknown needs-migration refused-by-another-gateway ' +
  'supervised-elsewhere'
).split(' ')

export type Meter = ReturnType<typeof openMeter>

export function metricsPath(settings: Settings, tier: TierName): string {
  const folder = settings.prometheusTextfileDir || join(settings.watchdogDir, 'metrics')
  return join(folder, `openclaw-self-healing-${settings.profile}-${tier}.prom`)
}

/** Numbers are kept in memory until `flush`: only the run that holds its tier's lock calls it. */
export function openMeter(settings: Settings, tier: TierName, log: Pick<Journal, 'path' | 'warn'>, dryRun: boolean) {
  const path = metricsPath(settings, tier)
  const known = readMetrics(path)
  const series = known ?? new Map<string, number>()
  let isDamaged = known === undefined
  const key = (name: string, labels: Labels) =>
    `${name}{${Object.entries({ profile: settings.profile, tier, ...labels })
      .map(([label, value]) => `${label}="${value.replace(/[\\"]/g, '\\$&').replaceAll('\n', '\\n')}"`)
      .join()}}`
  const increase = (name: string, labels: Labels, by: number) => {
    const one = key(name, labels)
    series.set(one, (series.get(one) ?? 0) + by)
  }
  const addRecovery = (level: string, seconds: number, by: number) => {
    const { name } = METRICS.recovery
    for (const le of [...RECOVERY_BUCKETS_SEC, Number.POSITIVE_INFINITY])
      if (le >= seconds) increase(`${name}_bucket`, { level, le: String(le).replace('Infinity', '+Inf') }, by)
    increase(`${name}_sum`, { level }, seconds)
    increase(`${name}_count`, { level }, by)
  }
  const add = (metric: MetricKey, labels: Labels = {}) => increase(METRICS[metric].name, labels, 1)
  const set = (metric: MetricKey, value: number, labels: Labels = {}) =>
    void series.set(key(METRICS[metric].name, labels), value)
  const noteVerdict = (verdict: string) => {
    if (!GATEWAY_VERDICTS.includes(verdict)) return
    set('gatewayUp', verdict === 'healthy' || verdict === 'orphan' ? 1 : 0)
    for (const one of GATEWAY_VERDICTS) set('gatewayVerdict', one === verdict ? 1 : 0, { verdict: one })
    set('gatewaySeen', Date.now() / 1000)
  }
  const flush = () => {
    if (dryRun) return
    try {
      writeMetrics(path, series)
      if (isDamaged) log.warn(`${path} was damaged; its numbers start again`)
      isDamaged = false
    } catch (error) {
      const trouble = `no numbers for Prometheus: ${path} cannot be written (${(error as NodeJS.ErrnoException).code ?? error})`
      // Once in a day's log; a tier that cannot write its log says that instead.
      if (existsSync(log.path) && !readTail(log.path, 256 * 1024).includes(trouble)) log.warn(trouble)
    }
  }

  for (const { type, name, by, label, values } of Object.values(METRICS))
    if (type === 'counter' && by.includes(tier))
      for (const labels of label ? values.map((value) => ({ [label]: value })) : [{}]) increase(name, labels, 0)
  if (LADDER.includes(tier)) for (const level of [String(TIERS[tier].level), 'none']) addRecovery(level, 0, 0)
  return {
    add,
    set,
    setOnly: (metric: MetricKey, labels: Labels) => {
      for (const one of series.keys()) if (one.startsWith(`${METRICS[metric].name}{`)) series.delete(one)
      set(metric, 1, labels)
    },
    /** Counts a line of the tier's log, at once: the run may be killed. `isNew`: no log knew of this outage before. */
    noteMarker: (marker: Marker, isNew: boolean) => {
      if (marker.kind === 'down') {
        noteVerdict(marker.verdict)
        if (isNew) add('incidents')
      } else if (marker.kind === 'recovered') {
        noteVerdict('healthy')
        addRecovery(String(marker.level ?? 'none'), marker.seconds, 1)
      } else if (marker.kind === 'escalate') add('escalations')
      else if (marker.kind === 'ended') increase(METRICS.processDeaths.name, {}, marker.times)
      else if (marker.kind === 'manual')
        add('humanCalls', { about: marker.why.startsWith(ABOUT_WATCHERS) ? 'watchers' : 'gateway' })
      else return
      flush()
    },
    noteRun: (run: { code: ExitCode; verdict: string; seconds: number; isPaused: boolean; longestSec: number }) => {
      noteVerdict(run.verdict)
      add('runs', { exit_code: String(run.code) })
      set('lastRun', Date.now() / 1000)
      set('lastRunExitCode', run.code)
      set('lastRunDuration', run.seconds)
      set('paused', run.isPaused ? 1 : 0)
      set('atWork', 0)
      set('longestRun', run.longestSec)
      const { intervalSec } = TIERS[tier]
      if (intervalSec) set('interval', intervalSec)
      flush()
    },
    flush,
  }
}

/** The last line; a file that was cut off has none. Prometheus's parser takes it for a comment. */
const LAST_LINE = '# EOF'

/** Undefined: it is damaged, or cannot be read. */
export function readMetrics(path: string): Map<string, number> | undefined {
  const series = new Map<string, number>()
  if (!existsSync(path)) return series
  const text = tried(() => readWhole(path))
  if (!text?.endsWith(`\n${LAST_LINE}\n`)) return undefined
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue
    const m = /^(\w+\{(?:[a-z_]+="(?:[^"\\\n]|\\.)*",?)+\}) (\S+)$/.exec(line)
    const value = Number(m?.[2] ?? Number.NaN)
    if (!m || !Number.isFinite(value) || value < 0) return undefined
    series.set(m[1]!, value)
  }
  return series
}

/** Readable for all: node_exporter is another user. */
function writeMetrics(path: string, series: Map<string, number>): void {
  const samples: Record<string, string[]> = {}
  for (const [one, value] of series) (samples[one.slice(0, one.indexOf('{'))] ??= []).push(`${one} ${value}`)
  const lines: string[] = []
  for (const { name, type, help } of Object.values(METRICS)) {
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
