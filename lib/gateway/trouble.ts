/** The evidence about a gateway that does not say that it is live. */
import { bareEnd } from '../services/bare.ts'
import { gatewayService, type Service } from '../services/supervisor.ts'
import { listeners } from '../tier/process-table.ts'
import type { Settings } from '../tier/settings.ts'
import { configSyntaxProblem, isConfigWritable, readConfig, validateConfig } from './config.ts'
import { installedPackage, openclawCommand } from './host.ts'
import { type Absence, type ExamineOptions, FULL_DISK_MB, freeDiskMb, isForValidation } from './judge.ts'
import { knownGoods } from './known-good.ts'
import { hasBootedAfter, lastWords } from './last-words.ts'
import { readGatewayLogs, readUnits } from './logs.ts'
import { get, type Probe, probe } from './probe.ts'
import { findGateway, hiddenOwner, isStranger, type ProcessInfo, portOwners } from './processes.ts'
import { countDeaths, deathsWithin, type GatewayRecord, lastLifecycle, troubleSecOf } from './record.ts'
import { hiding } from './secrets.ts'

/** `there`: it is up, but at another address. */
export async function gatherTrouble(settings: Settings, options: ExamineOptions, answer: Probe) {
  const { record } = options
  const timeoutMs = options.httpTimeoutSec * 1000
  let service = await gatewayService(settings)
  const find = () => findGateway(settings, service.pid, [record.pid, record.startedPid])
  let process = await find()
  if (!process && service.pid !== undefined) {
    service = await gatewayService(settings)
    process = await find()
  }
  const wasHealthy = process !== undefined && record.pid === process.pid && record.lastHealthyMs > 0
  const end = service.kind === 'none' && !process && bareEnd(settings, record.startedPid, record.lastHealthyMs)
  if (end) service = { ...service, detail: `${service.detail}; the process that was started last ${end}` }
  const { record: counted } = await countDeaths(settings, record, { process, service })
  const recentDeaths = deathsWithin(counted, settings.crashLoopMin)
  const seen = { answer, process, service, wasHealthy, troubleSec: troubleSecOf(record), recentDeaths }
  const elsewhere = () => process && findElsewhere(settings, process, timeoutMs)

  if (answer.kind === 'refused' || answer.kind === 'broken') {
    const found = await elsewhere()
    if (found) return found
  }
  // Docker keeps the port of a container whose gateway is down.
  const isContainers = service.kind === 'elsewhere' && /container/.test(service.name) && answer.kind !== 'other'
  if (answer.kind !== 'refused' && !isContainers) {
    const owners = await portOwners(settings)
    const stranger = owners.find((owner) => owner.pid !== process?.pid && isStranger(settings, owner))
    if (stranger && !owners.some((owner) => owner.pid === process?.pid))
      return (await elsewhere()) ?? { ...seen, portOwner: stranger }
    if (!process && owners.length === 0 && answer.kind !== 'timeout') {
      // A gateway that dies under the question breaks the connection and frees the port.
      if ((await get(settings, '/health', timeoutMs)).kind === 'refused') return 'changed meanwhile'
      return { ...seen, portOwner: await hiddenOwner(settings) }
    }
  }
  if (process) {
    const isLooping = recentDeaths >= settings.crashLoopDeaths
    const wordsBefore = isLooping ? await wordsOf(settings, record, service, true) : undefined
    return { ...seen, wordsBefore, rootAnswers: await isOldButWell(settings, answer) }
  }
  return { ...seen, down: await gatherAbsence(settings, options, service) }
}

async function isOldButWell(settings: Settings, { kind, phase, status }: Probe): Promise<boolean> {
  if (kind !== 'other' || phase !== undefined || (status !== 404 && status !== 200)) return false
  const root = await get(settings, '/', 5000)
  return root.kind === 'answer' && root.status === 200
}

async function gatherAbsence(settings: Settings, options: ExamineOptions, service: Service): Promise<Absence> {
  const { record, deep } = options
  const stop = await deliberateStop(settings, service, record)
  const freeMb = freeDiskMb(settings.stateDir)
  const problem = await configSyntaxProblem(settings)
  const words = stop ? undefined : await wordsOf(settings, record, service, false)
  // It takes seconds, and is asked only where its answer can count.
  const isDecided = stop || problem || (freeMb ?? FULL_DISK_MB) < FULL_DISK_MB
  const isAsked = deep && !isDecided && (!words?.reason?.verdict || isForValidation(words))
  const validation = isAsked ? await validateConfig(settings, await openclawCommand(settings, service)) : undefined
  const config = readConfig(settings)
  const isNewerThanWords = words !== undefined && (config?.placedMs ?? 0) > words.ms
  // One that was edited while it ran is not what it runs on; and a file that it includes may have been changed.
  const isUnchanged =
    config?.text.includes('$include') === false && knownGoods(settings).some(({ hash }) => hash === config.hash)
  const isPackageNewer =
    words?.reason?.verdict !== undefined && (await installedPackage(settings, service)).changedMs > words.ms
  const isWritable = isConfigWritable(settings)
  // The words may be those of a later process, which a person started.
  const ended =
    service.kind === 'none' ? bareEnd(settings, record.startedPid, (words?.ms ?? Date.now()) - 50) : service.ended
  return {
    stop,
    freeMb,
    words,
    ended,
    isPackageNewer,
    config: { problem, validation, isNewerThanWords, isUnchanged, isWritable },
  }
}

async function wordsOf(settings: Settings, { lastHealthyMs }: GatewayRecord, service: Service, isBooting: boolean) {
  const hide = await hiding(settings)
  return lastWords(await readGatewayLogs(settings, lastHealthyMs, service), lastHealthyMs, isBooting, hide)
}

const MAX_ADDRESSES = 12

/** Asks the process at every address at which it listens: its port may differ from `.env`'s, or it speaks TLS. */
export async function findElsewhere(settings: Settings, { pid }: ProcessInfo, timeoutMs: number) {
  const addresses = (await listeningAddresses(settings, pid)).slice(0, MAX_ADDRESSES)
  return Promise.any(addresses.map((at) => askAt(settings, at, timeoutMs))).catch(() => undefined)
}

async function askAt(settings: Settings, address: string, timeoutMs: number) {
  for (const scheme of ['http', 'https']) {
    const gatewayUrl = `${scheme}://${address}/`
    if (gatewayUrl === new URL(settings.gatewayUrl).href) continue
    const there = { ...settings, gatewayUrl, gatewayPort: Number(/\d+$/.exec(address)![0]) }
    const answer = await probe(there, timeoutMs)
    if (answer.kind === 'live') return { there, answer }
    if (answer.kind !== 'broken') break
  }
  throw new Error(`no gateway at ${address}`)
}

async function listeningAddresses(settings: Settings, pid: number): Promise<string[]> {
  const own = (await listeners(settings)).filter((one) => one.pid === pid)
  const local = own.map(({ address }) => address.replace('*', '127.0.0.1'))
  return [...new Set(local)].filter((address) => /^(?:[\d.]+|\[[\da-f:.]+\]):\d+$/i.test(address))
}

/** OpenClaw waits 30 s for launchd to let go of the job (2026.9.6). */
const STILL_STOPPING_MS = 60_000

/** How it was stopped on purpose, and not started since: by the line of `openclaw gateway stop`, or by its supervisor. */
async function deliberateStop(settings: Settings, service: Service, record: GatewayRecord) {
  const last = lastLifecycle(settings)
  // A gateway that was seen healthy after that stop was started again in some other way.
  const stop =
    last?.action === 'stop' && last.ms >= record.lastHealthyMs - 5000 && service.pid === undefined ? last : undefined
  const stopped = stop && `\`openclaw gateway stop\` was run at ${stop.at}`
  if (stopped && service.stopped) return stopped
  if (service.stopped === 'for good') return `it was stopped (${service.detail})`
  if (service.stopped) return stopByPerson(settings, service, record)
  if (!stop) return undefined
  if (service.kind === 'none' || service.kind === 'elsewhere')
    return hasBootedAfter(await readGatewayLogs(settings, stop.ms, undefined), stop.ms) ? undefined : stopped
  const isUnloadedJob = service.kind === 'launchd' && !service.loaded
  const sinceMs = Date.now() - stop.ms
  const isStillStopping = sinceMs >= 0 && sinceMs < STILL_STOPPING_MS
  return isUnloadedJob || isStillStopping ? stopped : undefined
}

const UPDATE_AROUND_MS = 1_800_000

/** `systemctl stop` by a person, as the journal shows it. A clean exit has neither `Stopping` nor `Stopped`, a unit that waits
 * for its restart only `Stopped`; an update that stopped it and died leaves a changed package, or a unit around the stop.
 * Or `openclaw gateway stop` of April to July 2026 under launchd, which disabled the job and wrote no lifecycle log
 * (openclaw/openclaw#64447, #110323): then a disabled job was stopped if it has ended well. */
async function stopByPerson(settings: Settings, service: Service, record: GatewayRecord): Promise<string | undefined> {
  const stoppedAt = (ms: number) => `it was stopped at ${new Date(ms).toISOString()} (${service.detail})`
  // By then every update is over, and the journal forgets.
  if (record.stoppedSinceMs > 0 && Date.now() - record.stoppedSinceMs > UPDATE_AROUND_MS)
    return stoppedAt(record.stoppedSinceMs)
  const logs = await readGatewayLogs(settings, Math.max(0, record.lastHealthyMs - STILL_STOPPING_MS), service)
  const said = logs.flatMap(({ lines }) => lines).filter(({ from }) => from === 'systemd')
  const last = said.findLast(({ text }) => /^(?:Start(?:ed|ing)|Stopp(?:ed|ing)) /.test(text))
  const isOldStop = service.loaded && !lastLifecycle(settings) && /code 0$|SIGTERM/.test(service.ended ?? '')
  // Not every account may read its journal; Restart=always leaves a unit inactive only after a stop.
  const isUnseen = said.length === 0 && { launchd: isOldStop, systemd: service.alwaysRestarts }[String(service.kind)]
  const someMs = record.lastHealthyMs || service.startedMs || Date.now()
  const stopMs = last?.text.startsWith('Stopp') ? last.ms : isUnseen ? someMs : undefined
  if (stopMs === undefined) return undefined
  return (await hasUpdateAround(settings, service, stopMs)) ? undefined : stoppedAt(stopMs)
}

/** Since its last start an update began, and died: `run-u12.service`, or `openclaw-update-….scope`, OpenClaw's own (2026.9.6). */
async function hasUpdateAround(settings: Settings, service: Service, stopMs: number): Promise<boolean> {
  const sinceMs = Math.max(service.startedMs ?? stopMs, stopMs - UPDATE_AROUND_MS)
  if ((await installedPackage(settings, service)).changedMs > sinceMs) return true
  const all = await readUnits(settings, service.scope, stopMs - UPDATE_AROUND_MS, stopMs + UPDATE_AROUND_MS)
  const begun = all.filter(({ ms, text }) => ms <= stopMs && text.startsWith('Started '))
  return begun.some(({ unit, ms: beganMs }) => {
    // A scope has no exit status; one that did its work has started the gateway again.
    if (/^openclaw-update.*\.scope$/.test(unit)) return beganMs > sinceMs
    const hasFailed = ({ text }: { text: string }) => /Failed with result|status=[^0]/.test(text)
    return (
      /^(?:run-|openclaw-update)/.test(unit) &&
      all.some((one) => one.unit === unit && one.ms >= stopMs && hasFailed(one))
    )
  })
}
