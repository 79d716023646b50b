/** Instruments that read: the gateway, its machine, the logs, and what may be read of the package, the service and the reports. */
import { readdirSync, readFileSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { readConfig, validateConfig } from '../gateway/config.ts'
import { leavesOf, parseOrNothing, valueAt } from '../gateway/config-tree.ts'
import type { Examination } from '../gateway/examine.ts'
import { askOpenclaw, hostFacts, installedPackage, openclawCommand, withoutEnvironment } from '../gateway/host.ts'
import { knownGoods } from '../gateway/known-good.ts'
import { gatewayLogs } from '../gateway/logs.ts'
import { describeProcess, portOwners } from '../gateway/processes.ts'
import { currentIncident, restartsSince } from '../incidents/history.ts'
import { learningsPath } from '../incidents/learnings.ts'
import { lineOf } from '../incidents/words.ts'
import { gatewayPlist, gatewayUnit } from '../services/supervisor.ts'
import { isOurLog, logFolders, readTail, wholeLines } from '../tier/journal.ts'
import { listProcesses } from '../tier/process-table.ts'
import { isForeignLog, rollingLogName } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'
import { outputOf, shell } from '../tier/shell.ts'
import { filesIn, isRecord, tried } from '../tier/state.ts'
import { shownBrokenConfig, shownConfig } from './config-policy.ts'
import { asData, type Instrument, integer, optional, Refused, reads, text } from './instrument.ts'
import type { Session } from './session.ts'

const LARGEST_FILE_BYTES = 2 * 1024 * 1024
const MOST_SEARCHED_FILES = 6000
const MOST_HITS = 80
const LOG_BYTES = 8 * 1024 * 1024
/** The shell takes no more than 4 MB. */
const PACKED_LOG_BYTES = 3 * 1024 * 1024

const LINES = optional(integer('how many lines, 1 to 400 (default 100)'))
const SEARCH = optional(text('only lines that hold this plain text (no pattern), in any case', 100))

const PLACE = { ...text('which place'), choices: ['package', 'plugins', 'service', 'fatal-exits', 'reports'] }
const LOG = text('its name, as list_logs gives it')
const BELOW = optional(text('the path below that place'))
const FROM_LINE = optional(integer('the first line (default 1)'))
const WANTED = text('what is searched; a plain text, no pattern', 100)

export const READ_INSTRUMENTS: Readonly<Record<string, Instrument>> = {
  // A refusal is in the gateway's own words.
  gateway_status: reads(90, {}, async (session) =>
    asData('the gateway', describeExamination(await session.examine(), session.settings)),
  ),
  read_journal: reads(30, { lines: LINES, search: SEARCH }, async (session, { lines, search }) =>
    asData('journal', lastLines(await session.hide(readableLog(await journal(session))), lines, search)),
  ),
  read_config: reads(20, { path: optional(text('a part of it, e.g. agents.defaults')) }, (session, { path }) =>
    describeConfig(session.settings, path as string | undefined),
  ),
  validate_config: reads(90, {}, async (session) => {
    const program = await openclawCommand(session.settings, await session.service())
    const validation = await validateConfig(session.settings, program)
    if (validation === undefined) return 'OpenClaw gave no verdict.'
    return validation.valid ? 'valid (which does not mean that it boots)' : `not valid: ${validation.issues}`
  }),
  openclaw_doctor_lint: reads(120, {}, (session) => ask(session, ['doctor', '--lint', '--json'], 110)),
  openclaw_stability: reads(70, {}, (session) => ask(session, ['gateway', 'stability', '--bundle', 'latest'], 60)),
  openclaw_status: reads(70, {}, (session) => ask(session, ['status'], 60)),
  past_incidents: reads(20, {}, async (session) => {
    const learned = readTail(learningsPath(session.settings), 12_000)
    const now = asData('this incident', await session.hide(whatWasTried(session.settings)))
    return `${now}\n${asData('earlier ones', await session.hide(learned))}`
  }),
  processes_and_ports: reads(30, {}, async (session) => {
    const { settings } = session
    const rows = (await listProcesses(settings)).map(({ command, ...one }) =>
      [one.pid, one.parentPid, one.uid, one.state, one.memoryMb, one.ageSec, command.split(' ')[0]].join(' '),
    )
    const owners = (await portOwners(settings)).map((one) => `pid ${one.pid}`).join(', ')
    return [
      `port ${settings.gatewayPort}: ${owners || 'no listener, or a process of another user'}`,
      asData('PID PPID UID STATE MB AGE-SEC PROGRAM', await session.hide(rows.join('\n'))),
    ].join('\n')
  }),
  host_facts: reads(60, {}, async (session) => hostFacts(session.settings, await session.service())),
  list_logs: reads(20, {}, (session) =>
    [...namedLogs(session.settings)]
      .map(([name, path]) => ({ name, stats: statOf(path) }))
      .sort((a, b) => (b.stats?.mtimeMs ?? 0) - (a.stats?.mtimeMs ?? 0))
      .map(({ name, stats }) => `${name}  ${stats?.size ?? 0} bytes  ${stats?.mtime.toISOString() ?? ''}`)
      .join('\n'),
  ),
  read_log: reads(60, { log: LOG, lines: LINES, search: SEARCH }, async (session, { log, lines, search }) => {
    const path = namedLogs(session.settings).get(String(log))
    if (path === undefined) throw new Refused(`There is no log ${log}; list_logs names them.`)
    const tail = path.endsWith('.gz') ? await unpackedTail(session, path) : readTail(path, LOG_BYTES)
    return asData(`${log}`, lastLines(await session.hide(readableLog(tail)), lines, search))
  }),
  list_files: reads(20, { place: PLACE, path: BELOW }, async (session, { place, path }) => {
    const at = await resolved(session, place, path)
    if (!statOf(at)?.isDirectory()) return describeFile(at)
    const isShown = (name: string) => place !== 'reports' || isReport(name)
    const names = readdirSync(at).filter(isShown).sort()
    const described = names.slice(0, 500).map((name) => describeFile(join(at, name)))
    if (names.length > 500) described.push(`(${names.length - 500} more)`)
    return asData(`${names.length} names`, await session.hide(described.join('\n')))
  }),
  read_file: reads(20, { place: PLACE, path: BELOW, from_line: FROM_LINE, lines: LINES }, async (session, args) => {
    const { place, path, from_line: from, lines } = args
    const whole = textOf(await resolved(session, place, path))
    const all = (await shownText(session, place, whole)).split('\n')
    const first = Math.max(1, Number(from ?? 1))
    const part = all.slice(first - 1, first - 1 + lineCount(lines))
    const range = `lines ${first} to ${first + part.length - 1} of ${all.length}`
    return asData(`${place}/${path ?? ''}, ${range}`, part.join('\n'))
  }),
  search_files: reads(60, { place: PLACE, path: BELOW, text: WANTED }, async (session, { place, path, text: wanted }) =>
    searchBelow(session, place, await resolved(session, place, path), String(wanted).toLowerCase()),
  ),
}

async function journal(session: Session): Promise<string> {
  const service = await session.service()
  if (service.kind !== 'systemd')
    throw new Refused('No systemd unit supervises the gateway; read its logs with read_log.')
  const $ = shell(session.settings, { timeoutSec: 25 })
  const { stdout, failure } = await $`journalctl ${service.scope} -u ${service.name} -n 2000 -o short-iso --no-pager`
  return stdout || (failure ?? '')
}

async function ask(session: Session, words: string[], timeoutSec: number): Promise<string> {
  const result = await askOpenclaw(session.settings, await session.service(), words, timeoutSec)
  return asData(`openclaw ${words.join(' ')}`, await session.hide(outputOf(result)))
}

function describeConfig(settings: Settings, path: string | undefined): string {
  const text = readConfig(settings)?.text
  if (text === undefined) return `There is no config at ${settings.configPath} that can be read.`
  const parsed = parseOrNothing(text)
  if (!parsed) {
    const lines = shownBrokenConfig(text, knownNames(settings)).split('\n')
    return [`It cannot be parsed as JSON5.`, ...lines.map((line, i) => `${i + 1}: ${line}`)].join('\n')
  }
  const names = path ? path.split('.') : []
  const part = valueAt(parsed, names)
  return part === undefined ? `There is no ${path} in the config.` : JSON.stringify(shownConfig(part, names), null, 2)
}

export function describeExamination(seen: Examination, settings: Settings): string {
  return [
    `${seen.verdict}: ${seen.evidence}`,
    ...seen.warnings.map((warning) => `warning: ${warning.text}`),
    ...(seen.service ? [`supervisor: ${seen.service.detail}`] : []),
    ...(seen.process ? [`process: ${describeProcess(seen.process)}, running for ${seen.process.ageSec} s`] : []),
    ...(seen.portOwner ? [`owner of its port: ${describeProcess(seen.portOwner)}`] : []),
    ...(seen.version ? [`version: ${seen.version}`] : []),
    `restarts by the self-healing system within the hour: ${restartsSince(settings, new Date(Date.now() - 3_600_000)).length}`,
  ].join('\n')
}

export function whatWasTried(settings: Settings): string {
  const incident = currentIncident(settings)
  if (!incident) return 'no incident is going on'
  const lines = incident.steps.slice(-40).map(lineOf)
  return [
    `down since ${incident.begin.toISOString()}`,
    ...lines.map(({ at, who, did, quote, again }) =>
      [at.toISOString(), who, did, quote && `: ${quote}`, again && ` (${again})`].filter(Boolean).join(' '),
    ),
  ].join('\n')
}

const USUAL_NAMES =
  'gateway mode port bind auth token password agents defaults model models logging level channels plugins entries enabled'

/** Names of settings that stood in configs that the gateway was healthy on, and a few that every config has. */
export function knownNames(settings: Settings): ReadonlySet<string> {
  const kept = knownGoods(settings).flatMap(({ text }) => leavesOf(parseOrNothing(text) ?? {}))
  const names = [...kept.flatMap(({ path }) => path), ...USUAL_NAMES.split(' ')]
  return new Set(names.filter((name) => /^[A-Za-z_$][\w$-]{0,40}$/.test(name)))
}

const SECRET_FILE =
  /^(?:\.env.*|.*\.env|\.netrc|\.npmrc|\.git-credentials|\.pgpass|auth-profiles.*|credentials.*|oauth.*\.json|secrets?(?:\..*)?|.*\.(?:pem|p12|pfx|key|keychain(?:-db)?|kdbx|sqlite.*|db)|id_(?:rsa|dsa|ecdsa|ed25519).*|.*_history|(?:.*[._-])?(?:api[._-]?keys?|creds?|credentials?|tokens?|passwords?|passwd|cookies?)\.(?:txt|jsonl?5?|ya?ml|toml|ini|cfg|conf|csv)|token|password|passwd)$/i

async function resolved(session: Session, place: unknown, below: unknown): Promise<string> {
  const path = String(below ?? '')
  const roots = (await foldersOf(session, place)).map(realOf)
  const found = roots.map((root) => ({ root, at: realOf(join(root ?? '', path)) }))
  const inside = found.find(({ root, at }) => root !== undefined && (at === root || at?.startsWith(`${root}/`)))
  if (!inside?.at) throw new Refused(`There is no ${path || place} in ${place} that may be read.`)
  const parts = inside.at.slice(inside.root!.length).split('/')
  if (parts.some((part) => SECRET_FILE.test(part)))
    throw new Refused(`${basename(inside.at)} is a place where secrets are kept.`)
  if (place === 'reports' && statOf(inside.at)?.isFile() && !isReport(inside.at))
    throw new Refused(`${basename(inside.at)} is no report.`)
  return inside.at
}

const isReport = (path: string): boolean => isOurLog(basename(path)) && !path.endsWith('.json5')

async function foldersOf(session: Session, place: unknown): Promise<string[]> {
  const { settings } = session
  const { folder } = await installedPackage(settings, await session.service())
  const unit = join(settings.home, '.config/systemd/user', gatewayUnit(settings))
  if (place === 'package') return folder ? [folder] : []
  if (place === 'plugins') return [join(settings.stateDir, 'extensions')]
  if (place === 'service') return [gatewayPlist(settings), unit, `${unit}.d`]
  if (place === 'fatal-exits') return [join(settings.stateDir, 'logs', 'stability')]
  return place === 'reports' ? [settings.memoryDir] : []
}

const realOf = (path: string) => tried(() => realpathSync(path))
const statOf = (path: string) => tried(() => statSync(path))

function describeFile(path: string): string {
  const stats = statOf(path)
  return stats?.isDirectory() ? `${basename(path)}/` : `${basename(path)}  ${stats?.size ?? '?'} bytes`
}

function shownText(session: Session, place: unknown, text: string): Promise<string> {
  return session.hide(place === 'service' ? withoutEnvironment(text) : text)
}

function textOf(path: string): string {
  const stats = statOf(path)
  if (!stats?.isFile()) throw new Refused(`${basename(path)} is no plain file.`)
  if (stats.size > LARGEST_FILE_BYTES) throw new Refused(`${basename(path)} is too large to read.`)
  const text = readFileSync(path, 'utf8')
  if (text.includes('\0')) throw new Refused(`${basename(path)} is not a text.`)
  return text
}

async function searchBelow(session: Session, place: unknown, root: string, wanted: string): Promise<string> {
  const hits: string[] = []
  let seen = 0
  const queue = [root]
  for (let at = queue.pop(); at !== undefined && hits.length < MOST_HITS; at = queue.pop()) {
    const stats = statOf(at)
    // A link may lead anywhere, and a search follows none.
    if (!stats || (at !== root && (SECRET_FILE.test(basename(at)) || realOf(at) !== at))) continue
    if (stats.isDirectory()) queue.push(...filesIn(at))
    else if (place !== 'reports' || isReport(at)) {
      if (++seen > MOST_SEARCHED_FILES) break
      const raw = tried(() => textOf(at)) ?? ''
      if (!raw.toLowerCase().includes(wanted)) continue
      for (const [i, line] of (await shownText(session, place, raw)).split('\n').entries())
        if (line.toLowerCase().includes(wanted))
          hits.push(`${at.slice(root.length + 1) || basename(at)}:${i + 1}: ${line.trim().slice(0, 200)}`)
    }
  }
  const end = seen > MOST_SEARCHED_FILES ? [`(only ${MOST_SEARCHED_FILES} files were searched: name a folder)`] : []
  return asData(`${hits.length} hits`, [...hits.slice(0, MOST_HITS), ...end].join('\n'))
}

const LOG_NAME = /^(?:gateway|openclaw)[\w.-]*\.log(?:\.\d+)?(?:\.gz)?$/

/** The logs of this gateway and of the self-healing system, by the names under which they can be read. */
function namedLogs(settings: Settings): Map<string, string> {
  const own = valueAt(parseOrNothing(readConfig(settings)?.text ?? ''), ['logging', 'file'])
  // All profiles write into /tmp/openclaw; of a file with another name nothing tells whose it is.
  const rolling = new RegExp(`^${rollingLogName(settings.profile)}-\\d{4}-\\d\\d-\\d\\d\\.`)
  const isTheGateways = (name: string) =>
    LOG_NAME.test(name) && !isForeignLog(name.replace(/(?:\.\d+)?(?:\.gz)?$/, ''), settings.profile)
  const folders = new Set([...gatewayLogs(settings).map(dirname), join(settings.stateDir, 'logs')])
  const paths = new Set([
    ...(typeof own === 'string' && /^\/.*\.log$/.test(own) ? [own] : []),
    ...gatewayLogs(settings),
    ...[...folders].flatMap((folder) => filesIn(folder, isTheGateways)),
    ...filesIn('/tmp/openclaw', (name) => LOG_NAME.test(name) && rolling.test(name)),
    // A copy of the config shows more of it than may be seen.
    ...logFolders(settings).flatMap((folder) => filesIn(folder, isReport)),
    learningsPath(settings),
  ])
  const named = new Map<string, string>()
  for (const path of paths) {
    if (!isLogFile(path)) continue
    const name = named.has(basename(path)) ? `${basename(dirname(path))}/${basename(path)}` : basename(path)
    named.set(name, path)
  }
  return named
}

/** A plain file; a link only to one that is itself called like a log. */
function isLogFile(path: string): boolean {
  if (!statOf(path)?.isFile()) return false
  const real = basename(realpathSync(path))
  return real === basename(path) || LOG_NAME.test(real) || isOurLog(real)
}

/** `tail` keeps what is read small, however large the log unpacks. */
async function unpackedTail({ settings }: Session, path: string): Promise<string> {
  const $ = shell(settings, { timeoutSec: 50 })
  const { stdout, stderr, failure } = await $`gzip -dc ${path} | tail -c ${PACKED_LOG_BYTES}`
  if (stdout === '' && (failure ?? stderr)) throw new Error(`it cannot be unpacked: ${failure ?? stderr}`)
  return Buffer.byteLength(stdout) < PACKED_LOG_BYTES ? stdout : wholeLines(stdout)
}

/** The last lines of a text that was redacted as a whole, those with the searched words alone if asked. */
function lastLines(text: string, lines: unknown, search: unknown): string {
  const wanted = String(search ?? '').toLowerCase()
  const found = text.split('\n').filter((line) => line.toLowerCase().includes(wanted))
  return found.slice(-lineCount(lines)).join('\n') || '(no such line)'
}

const lineCount = (lines: unknown): number => Math.min(400, Math.max(1, Number(lines ?? 100)))

/** OpenClaw's JSON log lines as time, level and message; other lines as they are. */
export function readableLog(text: string): string {
  // A power cut, or a log that was emptied under its writer, leaves zeros in the midst of good lines.
  const plain = text.replaceAll('\0', '')
  const odd = plain.match(/[\u0001-\u0008\u000e-\u001a\u001c-\u001f\ufffd]/g)?.length ?? 0
  if (odd * 10 > plain.length || (plain === '' && text !== '')) return '(it holds binary data, which is not shown)'
  return plain.trimEnd().split('\n').map(messageOf).join('\n')
}

function messageOf(line: string): string {
  const entry: unknown = line.startsWith('{') ? tried(() => JSON.parse(line)) : undefined
  if (!isRecord(entry) || typeof entry.message !== 'string') return line
  const { time, message, _meta: meta } = entry
  return `${time ?? ''} ${isRecord(meta) ? `${meta.logLevelName ?? ''} ` : ''}${message}`
}
