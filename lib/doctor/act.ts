/** Instruments that act: on the gateway, on its config (one piece at a time, undone if it does not help); and the report. */
import { appendFileSync, realpathSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { readConfig } from '../gateway/config.ts'
import { leavesOf, parseOrNothing, withoutSetting, withSetting } from '../gateway/config-tree.ts'
import type { Examination } from '../gateway/examine.ts'
import { askOpenclaw, installedPackage } from '../gateway/host.ts'
import { knownGoods, putBack } from '../gateway/known-good.ts'
import { isGatewayProcess } from '../gateway/processes.ts'
import { readRecord } from '../gateway/record.ts'
import { type RemedyResult, restart, start } from '../gateway/remedies.ts'
import { waitAfterStart } from '../gateway/wait.ts'
import { endProcess } from '../services/bare.ts'
import { DEED, formatLine, localIso } from '../tier/contract.ts'
import { type Answer, outputOf, shell } from '../tier/shell.ts'
import { writeFileAtomic } from '../tier/state.ts'
import { judgeConfigText, judgeSetting, VEIL, veiledConfig, yardstickOf } from './config-policy.ts'
import type { Arguments, Deed, Instrument } from './instrument.ts'
import { acts, asData, integer, optional, Refused, reads, text } from './instrument.ts'
import { describeExamination, knownNames } from './read.ts'
import type { Report, Session } from './session.ts'

const NPM_LIMIT_SEC = 900
const RESTART = { limitSec: 420, most: 6, group: 'restart' }
const AT_MOST = optional(integer('at most so long, 5 to 300'))

const REPORT: readonly [argument: string, key: keyof Report, asks: string, heading?: string][] = [
  ['symptom', 'symptom', 'what was seen', 'Symptom'],
  ['root_cause', 'rootCause', 'why it was down', 'Root cause'],
  ['fix', 'fix', 'everything that was changed, also what did not help', 'Fix'],
  ['prevention', 'prevention', 'how it can be prevented', 'Prevention'],
  ['decision_making', 'decisions', 'why this way', 'Decision making'],
  ['lessons', 'lessons', 'what the next doctor should do first when it meets this again', 'Lessons'],
  ['human_needed', 'humanNeeded', 'why a human has to see to it; leave out when none has to'],
  ['keep_config_edits', 'keepConfigEdits', 'why config edits stay although it is down; else they are rolled back'],
]
const REQUIRED: readonly (keyof Report)[] = ['symptom', 'rootCause', 'fix']

const PATH = text('where it stands, names and places in lists joined by dots: agents.defaults.model.primary', 200)
const VALUE = { type: 'value', description: 'its new value, as JSON', max: 2000 } as const
const PIECE = {
  line: integer('the line’s number, as read_config shows it'),
  old: text('the piece that is there now', 200),
  new: text('what replaces it', 200),
}
const EDIT = { limitSec: 20 }

export const ACT_INSTRUMENTS: Readonly<Record<string, Instrument>> = {
  set_config: acts(EDIT, { path: PATH, value: VALUE }, (session, { path, value }) => {
    const names = splitPath(path)
    judgeSetting(names, value, yardstick(session))
    return edit(session, (text) => withSetting(text, names, value))
  }),
  unset_config: acts(EDIT, { path: PATH }, (session, { path }) => {
    const names = splitPath(path)
    return edit(session, (text) => withoutSetting(text, names))
  }),
  replace_in_config: acts(EDIT, PIECE, replaceInLine),
  restore_known_good_config: acts({ limitSec: 20, most: 2 }, {}, (session) => {
    const { settings } = session
    if (!settings.configRollback) throw new Refused('CONFIG_ROLLBACK is off: whether it is put back is for a human.')
    const good = knownGoods(settings)[0]
    if (!good) throw new Refused('No known-good config was kept on this machine.')
    if (good.hash === readConfig(settings)?.hash) throw new Refused('The known-good config is in place already.')
    return async () => {
      const kept = await session.editConfig(() => putBack(settings, good, new Date()))
      return `The known-good config is in place; ${kept ? `the one before is kept as ${kept}` : 'there was none before'}.`
    }
  }),
  start_gateway: acts(RESTART, {}, async (session) => {
    const seen = await notComing(session)
    if (seen.process) throw new Refused(`Its process is there (pid ${seen.process.pid}): use restart_gateway.`)
    return () => treated(session, () => start(session.settings, seen))
  }),
  restart_gateway: acts(RESTART, {}, async (session) => {
    const seen = await notComing(session)
    return () => treated(session, () => restart(session.settings, seen))
  }),
  end_gateway_process: acts({ limitSec: 120, most: 6 }, { pid: integer('its pid') }, async (session, { pid }) => {
    const { settings } = session
    await notComing(session)
    const isOwn = () => isGatewayProcess(settings, Number(pid))
    if (!(await isOwn()))
      throw new Refused(`Process ${pid} is not proven to be the gateway’s own; a foreign one goes into the report.`)
    return async () => {
      const gone = await endProcess(settings, Number(pid), settings.stopGraceSec, isOwn)
      return gone ? `Process ${pid} has ended.` : `Process ${pid} could not be ended.`
    }
  }),
  wait_until_healthy: reads(330, { seconds: AT_MOST }, async (session, { seconds }) => {
    const limitSec = Math.min(300, Math.max(5, Number(seconds ?? 60)))
    const { signal } = new AbortController()
    const seen = await waitAfterStart(session.settings, session.examineOptions(), limitSec, signal)
    return describeExamination(seen, session.settings)
  }),
  openclaw_doctor_fix: acts({ limitSec: 620, most: 1 }, {}, (session) => () => doctorFix(session)),
  reinstall_package: acts({ limitSec: NPM_LIMIT_SEC + 20, most: 2 }, {}, async (session) => {
    const { settings } = session
    const { folder, ...installed } = await installedPackage(settings, await session.service())
    const version = installed.version ?? readRecord(settings).value.version
    if (!version || !/^\d+\.\d+\.\d+(?:-[\w.]+)?$/.test(version))
      throw new Refused('Which version was installed is not known: that is for a human.')
    const manager = folder?.includes('/pnpm/') ? 'pnpm' : folder?.includes('/.bun/') ? 'bun' : 'npm'
    const verb = manager === 'npm' ? 'install' : 'add'
    const $ = shell(settings, { timeoutSec: NPM_LIMIT_SEC })
    return async () => answer(session, await $`${manager} ${verb} -g ${`openclaw@${version}`}`)
  }),
  rebuild_native_modules: acts({ limitSec: NPM_LIMIT_SEC + 20, most: 1 }, {}, async (session) => {
    const { folder } = await installedPackage(session.settings, await session.service())
    if (!folder) throw new Refused('OpenClaw’s package was not found.')
    const $ = shell(session.settings, { timeoutSec: NPM_LIMIT_SEC })
    return async () => answer(session, await $`npm rebuild --prefix ${folder}`)
  }),
  refresh_service_definition: acts({ limitSec: 320, most: 1 }, {}, async (session) => {
    const service = await session.service()
    if (service.kind !== 'launchd' && service.kind !== 'systemd')
      throw new Refused('No supervisor of this account has the gateway: whether it gets one is for a human.')
    const $ = shell(session.settings, { timeoutSec: 300 })
    return async () => answer(session, await $`openclaw gateway install --force`)
  }),
  write_report: {
    arguments: Object.fromEntries(
      REPORT.map(([name, key, asks]) => [name, { ...text(asks, 4000), optional: !REQUIRED.includes(key) }]),
    ),
    ...{ limitSec: 10, most: 5 },
    prepare: (session, args) => () => writeReport(session, args),
  },
}

const ON_ITS_WAY = 'It is on its way'

/** A gateway that is on its way is waited for; a doctor that asks for the third time may know that it never comes. */
async function notComing(session: Session): Promise<Examination> {
  const seen = await session.examine()
  const refusals = session.state.calls.filter(({ why }) => why?.startsWith(ON_ITS_WAY)).length
  if (seen.verdict === 'draining' || (seen.verdict === 'starting' && seen.graceLeftSec > 0 && refusals < 2))
    throw new Refused(`${ON_ITS_WAY}: ${seen.verdict} (${seen.evidence}). Use wait_until_healthy.`)
  return seen
}

async function treated({ context }: Session, remedy: () => Promise<RemedyResult>): Promise<string> {
  const { done, failure } = await remedy()
  if (failure) throw new Error(`${done}: ${failure}`)
  // Logged as the restarts of the other levels are: the recovery is attributed by it.
  const line = formatLine(new Date(), context.tier, 'INFO', DEED.restart(done))
  appendFileSync(context.logPath, `${line}\n`, { mode: 0o600 })
  return `${done}. Now wait_until_healthy.`
}

async function answer(session: Session, result: Answer): Promise<string> {
  const output = (await session.hide(outputOf(result))).slice(-8000)
  if (result.code !== 0) throw new Error(asData('it said', output))
  return asData('done; it said', output || 'nothing')
}

async function doctorFix(session: Session): Promise<string> {
  const { settings } = session
  const service = await session.service()
  const before = readConfig(settings)?.text
  const fix = ['doctor', '--fix', '--yes', '--non-interactive']
  const result = await session.editConfig(() => askOpenclaw(settings, service, fix, 600))
  const after = readConfig(settings)?.text
  const lost = before === undefined || after === before ? undefined : lostByFix(before, after)
  if (lost && session.rollBackEdits())
    throw new Error(`It changed ${lost}; the config is again what it was. That is for a human.`)
  return answer(session, result)
}

const GUARDED =
  /^(?:gateway\.(?:auth|bind|tailscale|trustedProxies|controlUi)|tools|hooks|mcp|plugins|env|approvals)\b|(?:Policy|allowFrom|\.allow|\.deny|sandbox\.mode)\b/

/** What OpenClaw's repair must not change: who may use the gateway, and where it listens. It has stripped configs (#78848). */
function lostByFix(before: string, after: string | undefined): string | undefined {
  if (after === undefined) return 'the config'
  const [was, is] = [before, after].map((text) =>
    leavesOf(parseOrNothing(text) ?? {}).map(({ path, value }) => `${path.join('.')}=${value}`),
  ) as [string[], string[]]
  if (was.length - is.length > 12) return `${was.length - is.length} settings`
  const guarded = (lines: string[]) => lines.filter((line) => GUARDED.test(line)).join('\n')
  return was.length > 0 && guarded(was) !== guarded(is) ? 'who may use the gateway or what it may do' : undefined
}

async function writeReport(session: Session, args: Arguments): Promise<string> {
  const report = {} as Report
  // A heading of its own would pass for one of ours.
  for (const [argument, key] of REPORT)
    report[key] = (await session.hide(String(args[argument] ?? ''))).trim().replace(/^(\s*)#/gm, '$1\\#')
  if (REQUIRED.some((key) => !report[key])) throw new Refused('symptom, root_cause and fix must say something.')
  const parts = REPORT.flatMap(([, key, , title]) => (title ? [`## ${title}\n\n${report[key] || 'not reported'}`] : []))
  const human = report.humanNeeded ? [`## For a human\n\n${report.humanNeeded}`] : []
  const text = [`# Emergency recovery, ${localIso(new Date())}`, ...parts, ...human].join('\n\n')
  writeFileAtomic(session.reportPath, `${text}\n`)
  session.note({ report })
  return 'The report is written. Stop now.'
}

/** `agents.defaults.model` in its parts. Only plain names: brackets and escapes can be read in several ways. */
function splitPath(path: unknown): string[] {
  const names = String(path).split('.')
  if (!names.every((name) => /^[A-Za-z0-9_$-]+$/.test(name)) || names.includes('__proto__'))
    throw new Refused(`Write the path with plain names and dots: agents.defaults.model.primary`)
  return names
}

function edit(session: Session, change: (text: string) => string): Deed {
  const text = configText(session)
  if (!parseOrNothing(text))
    throw new Refused('The config cannot be parsed: use replace_in_config, or restore_known_good_config.')
  return writing(session, text, change(text))
}

function replaceInLine(session: Session, args: Arguments): Deed {
  const [old, replacement] = [String(args.old), String(args.new)]
  if (/[\n\r]/.test(replacement)) throw new Refused('The new piece is one line.')
  const text = configText(session)
  if (parseOrNothing(text)) throw new Refused('The config can be parsed: use set_config or unset_config.')
  const lines = text.split('\n')
  const at = Number(args.line) - 1
  const line = lines[at]
  if (line === undefined) throw new Refused(`The config has ${lines.length} lines.`)
  // Sought in what is shown: whether a piece stands in a hidden value must not show.
  const isPiece = old !== '' && !old.includes(VEIL)
  const pieces = !isPiece ? [] : veiledConfig(text, knownNames(session.settings)).split('\n')[at]!.split(old)
  if (pieces.length !== 2)
    throw new Refused(`In what read_config shows of line ${args.line} that piece does not stand exactly once.`)
  const start = pieces[0]!.length
  lines[at] = `${line.slice(0, start)}${replacement}${line.slice(start + old.length)}`
  return writing(session, text, lines.join('\n'))
}

function configText({ settings }: Session): string {
  const text = readConfig(settings)?.text
  if (text === undefined) throw new Refused('There is no config that can be read: restore_known_good_config.')
  return text
}

function yardstick({ settings }: Session) {
  return yardstickOf(knownGoods(settings)[0]?.text, settings.gatewayPort)
}

function writing(session: Session, before: string, after: string): Deed {
  const { settings } = session
  // A second setting of the same name before it would change nothing today.
  if (isDeepStrictEqual(parseOrNothing(after), parseOrNothing(before) ?? after))
    throw new Refused('That changes nothing.')
  judgeConfigText(before, after, yardstick(session))
  return async () => {
    if (readConfig(settings)?.text !== before) throw new Refused('The config was changed meanwhile: read it again.')
    await session.editConfig(() => writeFileAtomic(realpathSync(settings.configPath), after))
    return 'Done. Validate it, then restart the gateway.'
  }
}
