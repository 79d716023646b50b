/**
 * The tiers' numbers as a file for node_exporter's textfile collector
 * (https://prometheus.io/docs/instrumenting/exposition_formats). The file is also the memory of the counters.
 */
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { TierName } from './contract.ts'
import {
  type Labels,
  METRICS,
  type Meter,
  type Metric,
  type MetricKey,
  RECOVERY_BUCKETS_SEC,
  recoveryLevels,
} from './metrics.ts'
import type { Settings } from './settings.ts'
import { readWhole, writeFileAtomic } from './state.ts'

/** Values by series, e.g. `openclaw_self_healing_gateway_up{profile="default",tier="watchdog"}`. */
export type Series = Map<string, number>

/** The folder for node_exporter: the one that the settings name, else one of our own. */
export function metricsFolder(settings: Settings): string {
  return settings.prometheusTextfileDir || join(settings.watchdogDir, 'metrics')
}

export function metricsPath(settings: Settings, tier: TierName): string {
  return join(metricsFolder(settings), `openclaw-self-healing-${settings.profile}-${tier}.prom`)
}

/**
 * Opens the tier's numbers for a run. What is noted is kept until `flush`, and then added to what the file says: so a
 * run that was overtaken by another one takes nothing away from it.
 * @param warn says what is wrong with the file, once per trouble
 */
export function openMeter(settings: Settings, tier: TierName, warn: (text: string) => void, dryRun: boolean): Meter {
  let changes: ((series: Series) => void)[] = []
  const whose = `profile="${escaped(settings.profile)}",tier="${tier}"`
  const key = (name: string, labels: Labels) => {
    let one = `${name}{${whose}`
    for (const label in labels) one += `,${label}="${escaped(labels[label]!)}"`
    return `${one}}`
  }
  const increase = (name: string, labels: Labels, by: number) => {
    const one = key(name, labels)
    changes.push((series) => series.set(one, (series.get(one) ?? 0) + by))
  }
  const nameOf = (metric: MetricKey) => METRICS[metric].name
  return {
    add: (metric, labels = {}, by = 1) => increase(nameOf(metric), labels, by),
    set: (metric, value, labels = {}) => {
      const one = key(nameOf(metric), labels)
      changes.push((series) => series.set(one, value))
    },
    setOnly: (metric, labels) => {
      changes.push((series) => {
        for (const one of series.keys()) if (nameIn(one) === nameOf(metric)) series.delete(one)
        series.set(key(nameOf(metric), labels), 1)
      })
    },
    recovered: (level, seconds) => {
      const labels = { level: level === undefined ? 'none' : String(level) }
      for (const le of bucketsAbove(seconds)) increase(`${nameOf('recovery')}_bucket`, { ...labels, le }, 1)
      increase(`${nameOf('recovery')}_sum`, labels, seconds)
      increase(`${nameOf('recovery')}_count`, labels, 1)
    },
    flush: () => {
      if (dryRun) return
      const path = metricsPath(settings, tier)
      try {
        const { series, problem } = readMetrics(path)
        begin(series, tier, key)
        for (const change of changes) change(series)
        writeMetrics(path, series)
        changes = []
        if (problem) warn(`${path} ${problem}; its numbers begin anew`)
        troubleIsOver(settings, tier)
      } catch (error) {
        sayOnce(settings, tier, `${path} cannot be written (${(error as NodeJS.ErrnoException).code ?? error})`, warn)
      }
    },
  }
}

/** Puts every counter of the tier that is not there yet at 0. */
function begin(series: Series, tier: TierName, key: (name: string, labels: Labels) => string): void {
  const known = new Set<string>()
  for (const one of series.keys()) known.add(nameIn(one))
  const zero = (name: string, labels: Labels) => void series.set(key(name, labels), 0)
  for (const { name, by, begins } of Object.values<Metric>(METRICS))
    if (begins && by.includes(tier) && !known.has(name)) for (const labels of begins) zero(name, labels)
  const { name, by } = METRICS.recovery
  if (known.has(`${name}_count`) || !by.some((one) => one === tier)) return
  for (const level of recoveryLevels(tier)) {
    for (const le of bucketsAbove(0)) zero(`${name}_bucket`, { level, le })
    zero(`${name}_sum`, { level })
    zero(`${name}_count`, { level })
  }
}

function bucketsAbove(seconds: number): string[] {
  return [...RECOVERY_BUCKETS_SEC.filter((le) => le >= seconds).map(String), '+Inf']
}

function escaped(value: string): string {
  return /["\\\n]/.test(value) ? value.replace(/[\\"]/g, '\\$&').replaceAll('\n', '\\n') : value
}

function nameIn(series: string): string {
  return series.slice(0, series.indexOf('{'))
}

/** The last line; a file that was cut off has none. Prometheus's parser takes it for a comment. */
const LAST_LINE = '# EOF'

/** Reads a file of ours; `problem` says what is wrong with one that is of no use. */
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

const HISTOGRAM = ['_bucket', '_sum', '_count']

/** Writes the file whole or not at all, for everybody to read: node_exporter is another user. */
function writeMetrics(path: string, series: Series): void {
  const samples: Record<string, string[]> = {}
  for (const [one, value] of series) (samples[nameIn(one)] ??= []).push(`${one} ${value}`)
  const lines: string[] = []
  // What an older version counted and this one does not know is left out.
  for (const { name, type, help } of Object.values<Metric>(METRICS)) {
    const own = type === 'histogram' ? HISTOGRAM.flatMap((part) => samples[name + part] ?? []) : samples[name]
    // The same words in every file, or node_exporter refuses the second one (prometheus/node_exporter#1885).
    if (own?.length) lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...own)
  }
  const folder = dirname(path)
  if (!existsSync(folder)) {
    mkdirSync(folder, { recursive: true })
    chmodSync(folder, 0o755)
  }
  writeFileAtomic(path, `${[...lines, LAST_LINE].join('\n')}\n`, 0o644)
}

function troublePath(settings: Settings, tier: TierName): string {
  return join(settings.watchdogDir, `metrics-trouble-${tier}`)
}

/** Says a trouble that was not said before. */
function sayOnce(settings: Settings, tier: TierName, trouble: string, warn: (text: string) => void): void {
  const path = troublePath(settings, tier)
  try {
    if (existsSync(path) && readFileSync(path, 'utf8') === trouble) return
    writeFileSync(path, trouble, { mode: 0o600 })
  } catch {
    // Where our own state cannot be written either, the tier speaks of that, and this would be said at every run.
    return
  }
  warn(`no numbers for Prometheus: ${trouble}; the tier goes on without`)
}

function troubleIsOver(settings: Settings, tier: TierName): void {
  const path = troublePath(settings, tier)
  if (existsSync(path)) rmSync(path, { force: true })
}
