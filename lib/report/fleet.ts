/** How several machines stand: each is asked over ssh for its `status --json`, all at once; and as lines. Changes nothing. */
import { styleText } from 'node:util'
import { gluedCommands, inColumns, minuteOf, secondOf, spell, wrapLines } from '../incidents/words.ts'
import { oneLine } from '../tier/contract.ts'
import { DEFAULT_PROFILE, profileSuffix } from '../tier/profile.ts'
import { redact } from '../tier/redact.ts'
import type { Settings } from '../tier/settings.ts'
import { type Answer, quote, shell } from '../tier/shell.ts'
import { isRecord, tried } from '../tier/state.ts'
import { everyText } from './report.ts'

/** `problem`: why there is no status; in `status` any field may be missing, or be of another kind. */
type Machine = { host: string; isWell: boolean; problem?: string; status?: Record<string, unknown> }

const LIMIT_SEC = 30
const CONNECT_SEC = 10
/** No question can be answered, and no terminal, forwarding, remote command or master connection is needed. */
const OPTIONS = ['BatchMode=yes', `ConnectTimeout=${CONNECT_SEC}`, 'ClearAllForwardings=yes', 'RemoteCommand=none']
const FLAGS = ['-T', '-a', '-x', ...[...OPTIONS, 'ControlMaster=no'].flatMap((option) => ['-o', option])]
const [BEGIN, END] = ['openclaw-self-healing: status begins', 'openclaw-self-healing: status ends']
const NO_ANSWER = 'no answer: '
const MAX_SHOWN = 3
/** Of a status; a real one has a few thousand. */
const MAX_CHARS = 200_000
/** Where the terminal is too narrow for all columns. */
const LAYOUTS = [
  [0, 1, 2, 3, 4, 5],
  [0, 1, 2, 3, 5],
  [0, 1, 2, 3],
  [0, 1, 2],
  [0, 1],
]

/** What ssh could take for a flag, or never for a destination. */
export const isHost = (word: string): boolean => /^[^\s\p{C}-][^\s\p{C}]*$/u.test(word)

/** Never asks for a password or a host key, and takes 30 s at most. @param hosts as in ~/.ssh/config */
export function readFleet(settings: Settings, hosts: string[]): Promise<Machine[]> {
  // The ssh to a jump host in between does not know of BatchMode.
  const env = { ...settings.childEnv, SSH_ASKPASS_REQUIRE: 'never' }
  const options = { timeoutSec: LIMIT_SEC, input: scriptFor(settings.profile), env }
  const ask = async (host: string) => {
    const answer = await shell(settings, options)`ssh ${FLAGS} -- ${host} ${'sh -s'}`
    const read = readAnswer(answer, settings)
    return { host, isWell: read.status?.isWell === true, ...read }
  }
  return Promise.all([...new Set(hosts)].map(ask))
}

/** For `sh` on the other machine, whatever its user's shell is. The checkout is found by the receipt of its installation. */
const scriptFor = (profile: string) => `OPENCLAW_PROFILE=${quote(profile)}
export OPENCLAW_PROFILE
ask() {
  receipt=$HOME/.openclaw${profileSuffix(profile, '-')}/watchdog/receipt.json
  [ -r "$receipt" ] || { echo none; return; }
  root=$(sed -n 's/^ *"root": *"\\(.*\\)",*$/\\1/p' "$receipt")
  [ -r "$root/scripts/run-tier.sh" ] || { echo "gone $root"; return; }
  sh "$root/scripts/run-tier.sh" status --json
}
printf '\\n%s\\n' '${BEGIN}'
ask </dev/null
printf '\\n%s\\n' '${END}'
`

/** Between the two lines: before and behind them a login may print what it likes. */
function readAnswer(
  { code, missing, stdout, stderr, failure = '' }: Answer,
  settings: Settings,
): Omit<Machine, 'host' | 'isWell'> {
  const clean = (text: string, maxChars = 1000) => oneLine(redact(text, settings.secrets), maxChars)
  // Of a host behind another the last line only says that the connection was closed.
  const lines = stderr
    .slice(-4000)
    .trim()
    .split(/\s*\n\s*/)
  const lastWords = clean(lines.slice(-3).join(' / '), 300).replace(/\.$/, '')
  const [begin, end] = [stdout.indexOf(`${BEGIN}\n`), stdout.lastIndexOf(`\n${END}`)]
  if (begin < 0 || end < begin) {
    // Without the command, which is always the same.
    const how = clean(failure.replace(/^`.*?`: ([^:]*).*/s, '$1')) || 'it did not run what it was asked to'
    return { problem: `${NO_ANSWER}${code === null || missing || lastWords === '' ? how : lastWords}` }
  }
  const said = stdout.slice(begin + BEGIN.length, end)
  const [first = '', root = ''] = /^(none|gone)(?: (.*))?$/.exec(said.trim())?.slice(1) ?? []
  if (first === 'none') {
    const whose = settings.profile === DEFAULT_PROFILE ? '' : ` for the profile ${settings.profile}`
    return { problem: `nothing is installed there${whose}: \`npm run setup\` there does it` }
  }
  if (first === 'gone') return { problem: clean(`its scripts are not where they were installed (${root})`) }
  const status = said.length > MAX_CHARS ? undefined : tried(() => everyText(JSON.parse(said), (text) => clean(text)))
  if (isRecord(status) && isRecord(status.gateway) && typeof status.gateway.verdict === 'string') return { status }
  if (/^usage: sh run-tier\.sh/m.test(stderr))
    return { problem: 'an older version, which cannot be asked: update it, then `npm run setup -- --update` there' }
  return { problem: ['no status that can be read', lastWords].filter(Boolean).join(': ') }
}

/** What another machine says is of the expected kind, or left out. */
const wordOf = (value: unknown): string => (['string', 'number'].includes(typeof value) ? String(value) : '?')
const textsOf = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((one) => typeof one === 'string') : []
function dateOf(value: unknown): Date | undefined {
  const date = new Date(typeof value === 'string' ? value : Number.NaN)
  return date.getFullYear() > 1970 && date.getFullYear() < 9999 ? date : undefined
}

/** Coloured at a terminal, unless NO_COLOR is set. */
export function fleetScreen(machines: Machine[], { profile }: Settings, now = new Date()): string[] {
  const columns = process.stdout.columns ?? 80
  const wrapped = (text: string) =>
    wrapLines(gluedCommands(text, columns - 2), columns - 2).map((line, i) => (i === 0 ? line : `  ${line}`))
  const well = machines.filter(({ isWell }) => isWell).length
  const which = profile === DEFAULT_PROFILE ? '' : `, profile ${profile}`
  const count = machines.length === 1 ? '1 machine' : `${machines.length} machines`
  const title = `OpenClaw self-healing on ${count}${which}, ${minuteOf(now)}:${secondOf(now, now).slice(-2)}`
  const cells = inColumns([
    ['machine', 'gateway', 'for', '7 days', 'doctor', 'last incident'],
    ...machines.map(cellsOf),
  ])
  const tables = LAYOUTS.map((shown) =>
    cells.map((row) =>
      shown
        .map((i) => row[i])
        .join('  ')
        .trimEnd(),
    ),
  )
  const table = tables.find((lines) => lines.every((line) => line.length <= columns)) ?? tables.at(-1)!
  const [head = '', ...rows] = table
  const words = machines.flatMap(wordsOf).flatMap(wrapped)
  return [
    ...wrapped(title).map((line) => styleText('bold', line)),
    '',
    styleText('dim', head),
    ...rows.map((row) => row.replace(/[●○✕] \S+/, (mark) => styleText(mark.startsWith('●') ? 'green' : 'red', mark))),
    '',
    ...(words.length > 0 ? [...words, ''] : []),
    styleText(well === machines.length ? 'green' : 'red', `Well: ${well} of ${machines.length}.`),
  ]
}

function cellsOf({ host, status }: Machine): string[] {
  if (!status) return [host, '✕ unknown', '-', '-', '-', '-']
  const { verdict, isUp, since, isSinceAtLeast } = status.gateway as Record<string, unknown>
  const [at, from] = [dateOf(status.at), dateOf(since)]
  const long = at && from && spell((at.getTime() - from.getTime()) / 1000)
  const up = typeof status.uptimePercent === 'number' ? `${status.uptimePercent.toFixed(2)} %` : '-'
  const doctor = isRecord(status.doctor) ? `${wordOf(status.doctor.visits)} of ${wordOf(status.doctor.limit)}` : '-'
  const last = Array.isArray(status.incidents) && isRecord(status.incidents[0]) ? status.incidents[0] : {}
  const begin = dateOf(last.begin)
  return [
    host,
    `${isUp === true ? '●' : '○'} ${verdict}`,
    long ? `${isSinceAtLeast === true ? '> ' : ''}${long}` : '-',
    up,
    doctor,
    begin ? `${minuteOf(begin).slice(5)} ${wordOf(last.verdict)}` : '-',
  ].map((cell) => oneLine(cell, 40))
}

/** What is wrong there and what to do next, as paragraphs; nothing of a machine that is well. */
function wordsOf({ host, isWell, problem, status }: Machine): string[] {
  const attention = textsOf(status?.attention).join('; ')
  const gateway = isRecord(status?.gateway) ? status.gateway : {}
  const warnings = textsOf(gateway.warnings).slice(0, MAX_SHOWN)
  if (isWell) {
    const known = attention
      ? [`${host}: all is up; to know: ${attention}.`, ...warnings.map((text) => `! ${text}`)]
      : []
    return known.map((line) => styleText('yellow', line))
  }
  const problems = status ? textsOf(status.problems) : [problem ?? '']
  const more = problems.length - MAX_SHOWN
  const wrong = problems.slice(0, MAX_SHOWN).join('; ') || 'it does not say that all is well'
  const steps = textsOf(status?.todo).slice(0, MAX_SHOWN)
  return [
    styleText('red', `${host}: ${wrong}${more > 0 ? `; and ${more} more` : ''}.`),
    ...steps.map((step) => `➜ ${step}`),
    ...(problem?.startsWith(NO_ANSWER) ? [`➜ see by hand what is wrong: \`ssh ${quote(host)} true\``] : []),
  ]
}
