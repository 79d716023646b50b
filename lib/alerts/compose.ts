/** Writes alerts: everything that a human needs who is woken by one and has only a phone at hand. */
import type { Verdict } from '../gateway/examination.ts'
import type { History, Incident } from '../incidents/history.ts'
import { rootCauseOf } from '../incidents/learnings.ts'
import { howItEnded, howLong, lineOf, spell, whoIs } from '../incidents/words.ts'
import { localIso, NEEDS_ATTENTION, oneLine, parseLine } from '../tier/contract.ts'
import { readTail } from '../tier/journal.ts'
import { pausePath } from '../tier/pause.ts'
import { DEFAULT_PROFILE, hostOf } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'
import { type Alert, clockTime, type Scope } from './alert.ts'
import type { News } from './news.ts'
import { hiding } from './secrets.ts'

const MAX_WHYS = 10
type Hide = (text: string) => string
type Trouble = Extract<News, { kind: 'failure' | 'update' | 'reminder' | 'flapping' }>
type Good = Extract<News, { kind: 'resolved' | 'steady' }>

/** One alert for each piece of news, all notices in one; under NOTIFY=failures only notices that need attention. */
export async function composeAlerts(settings: Settings, news: News[], history: History, now: Date): Promise<Alert[]> {
  const hide = await hiding(settings)
  const alerts: Alert[] = []
  const notices: string[] = []
  for (const one of news) {
    if (one.kind === 'resolved' || one.kind === 'steady') alerts.push(composeGood(settings, one, history, now))
    else if (one.kind !== 'notice') alerts.push(composeTrouble(settings, one, history, hide, now))
    else if (settings.notify === 'all' || one.what.startsWith(NEEDS_ATTENTION)) notices.push(one.what)
  }
  if (notices.length === 0) return alerts
  const whys = notices.slice(0, MAX_WHYS).map((what) => oneLine(hide(what), 600))
  return [...alerts, { ...blank('notice', `Self-healing of OpenClaw on ${hostOf(settings.profile)}`, now), whys }]
}

export function composeTestAlert(settings: Settings, now: Date): Alert {
  const title = `Test from ${hostOf(settings.profile)}: alerts of OpenClaw self-healing arrive here`
  return { ...blank('test', title, now), todo: ['nothing: the monitor was run with `--test-alert`'] }
}

export function composeChannelGone(name: string, why: string, now: Date): Alert {
  const title = `${name} takes no alerts of OpenClaw on ${hostOf(DEFAULT_PROFILE)} any more`
  return { ...blank('notice', title, now), whys: [oneLine(why, 600)] }
}

function composeTrouble(settings: Settings, news: Trouble, history: History, hide: Hide, now: Date): Alert {
  const { scope, kind } = news
  const calls = 'calls' in news ? news.calls : []
  const at = calls.at(-1)?.at ?? now
  const isAt = ({ begin, end }: Incident) => scope === 'gateway' && begin <= at && (end === undefined || end >= at)
  const incident = history.incidents.findLast(isAt)
  const earlier = incident?.steps.flatMap(({ said }) => (said.kind === 'manual' ? [said.why] : [])) ?? []
  const whys = calls.length > 0 ? calls.map(({ why }) => why) : earlier.slice(-1)
  const log = 'open' in news ? news.open.log : calls.at(-1)?.log
  const [subject, needs] = WORDS[scope]
  const still = kind === 'update' || kind === 'reminder' ? 'still ' : ''
  const more = { update: ': something new', flapping: ': it fails again and again' }[kind as string] ?? ''
  return {
    ...blank(kind, `${subject} ${hostOf(settings.profile)} ${still}${needs}${more}`, now),
    scope,
    lead: leadOf(news, now),
    whys: [...new Set(whys.map((why) => oneLine(hide(why), 600)))].slice(0, MAX_WHYS),
    todo: adviceFor(scope, incident?.verdict, settings),
    ...(log && { log: { path: log, lines: tailOf(log, hide) } }),
    ...(incident && {
      downSince: incident.begin.toISOString(),
      lastHealthy: incident.lastHealthy?.toISOString(),
      verdict: incident.verdict,
      evidence: oneLine(hide(incident.evidence), 300),
      tried: whatEachLevelDid(incident, hide, now),
      finding: rootCauseOf(settings, incident, hide),
    }),
  }
}

function leadOf(news: Trouble, now: Date): string {
  if (news.kind === 'reminder') {
    const openSec = (now.getTime() - Date.parse(news.open.openedAt)) / 1000
    return `It has needed you for ${spell(openSec)}, last seen ${clockTime(news.open.lastSeenAt, now)}.`
  }
  if (news.kind !== 'flapping') return ''
  return `Failed ${news.failedAt.length} times since ${clockTime(news.failedAt[0] ?? '', now)}. No more messages about its coming and going until it has been steady for two hours; a call for another reason, and that it stays down, are still sent.`
}

function composeGood(settings: Settings, news: Good, { incidents }: History, now: Date): Alert {
  const [subject, , back] = WORDS[news.scope]
  const host = hostOf(settings.profile)
  const blankFor = (words: string) => ({ ...blank('resolved', `${subject} ${host} ${words}`, now), scope: news.scope })
  if (news.kind === 'steady')
    return { ...blankFor('is steady again'), lead: `No failure since ${clockTime(news.since, now)}.` }
  const { scope, at, open } = news
  const incident = scope === 'gateway' && incidents.findLast(({ end }) => end?.getTime() === at.getTime())
  const lead = incident
    ? `The incident ${howItEnded(incident)}: ${howLong(incident)}.`
    : `${spell((at.getTime() - Date.parse(open.openedAt)) / 1000)} after the alert.`
  return { ...blankFor(back), lead }
}

/** One entry for each level, lowest first: `Level 1, watchdog, 02:14 to 02:20` and what it came to. */
function whatEachLevelDid({ steps }: Incident, hide: Hide, now: Date): Alert['tried'] {
  return (['watchdog', 'healthcheck', 'emergency-recovery'] as const).map((tier) => {
    const own = steps.filter((step) => step.tier === tier)
    const isLast = (kinds: string[]) => own.findLast(({ said }) => kinds.includes(said.kind))
    const step = isLast(['manual', 'escalate']) ?? isLast(['down']) ?? own.at(-1)
    if (!step) return { who: whoIs(tier), what: 'was not called' }
    const { who, did, quote } = lineOf(step)
    const from = clockTime(own[0]!.at, now)
    const to = clockTime(new Date(Math.max(...own.map(({ until }) => until.getTime()))), now)
    const what = quote ? `${did}: ${quote}` : did
    return { who: `${who}, ${from === to ? from : `${from} to ${to}`}`, what: oneLine(hide(what), 300) }
  })
}

/** The last lines of a log. Redacted as a whole: a private key goes over many lines, and half a token is not recognised. */
function tailOf(path: string, hide: Hide): string[] {
  const lines = hide(readTail(path, 64 * 1024)).split('\n')
  return lines
    .filter((line) => line.trim() !== '')
    .slice(-40)
    .map((raw) => {
      const line = parseLine(raw)
      const severity = line?.severity === 'INFO' ? '' : `${line?.severity} `
      return oneLine(line ? `${localIso(line.at).slice(11, 19)} ${severity}${line.text}` : `  ${raw}`, 300)
    })
}

/** What the human does next: at most three steps, commands in backticks. */
function adviceFor(scope: Scope, verdict: string | undefined, settings: Settings): string[] {
  const flag = settings.profile === DEFAULT_PROFILE ? '' : ` --profile ${settings.profile}`
  const openclaw = `openclaw${flag}`
  const status = `\`${openclaw} gateway status\``
  const restart = `\`${openclaw} gateway restart\``
  const { gatewayPort, watchdogDir, stateDir, memoryDir } = settings
  if (scope === 'watchers')
    return [
      `the gateway itself may be well: see with ${status}`,
      `run \`npm run setup${flag && ` --${flag}`}\` in the checkout to register the jobs again; the guardian’s log says what it tried`,
    ]
  if (scope === 'disk')
    return [
      'see with `df -h ~` and `ls -ld` of the folders named',
      'until then no tier restarts anything: it could not count its restarts',
    ]
  const steps: Partial<Record<Verdict, string>> = {
    impostor: `see what has the port with \`lsof -nP -iTCP:${gatewayPort} -sTCP:LISTEN\`; end it, or give one of the two another port`,
    misconfigured: `see what is wrong with \`${openclaw} config validate\`; configs that worked are in \`${watchdogDir}/known-good\``,
    blocked: `see which secret is missing with ${status}; provide it, then ${restart}`,
    'unusable-state': `its database is damaged, or newer than the version that runs: see \`${openclaw} --version\` and ${status}; delete no data`,
    'disk-full': `free some space: \`df -h ~\` says how much there is, \`du -sh ${stateDir} ${memoryDir}\` what takes it`,
    'broken-install': `reinstall the version that you had with \`npm install -g openclaw@<version>\`, then ${restart}`,
  }
  return [
    steps[verdict as Verdict] ?? `see why with ${status} and \`${openclaw} logs\`, then ${restart}`,
    `pause self-healing while you work: \`touch ${pausePath(settings)}\`; remove it afterwards`,
  ]
}

const WORDS = {
  gateway: ['OpenClaw Gateway on', 'needs you', 'is back'],
  watchers: ['The watchers of OpenClaw on', 'need you', 'are well again'],
  disk: ['Self-healing on', 'cannot write its files', 'can write its files again'],
} as const

function blank(kind: Alert['kind'], title: string, now: Date): Alert {
  const host = hostOf(DEFAULT_PROFILE)
  return { kind, writtenAt: now.toISOString(), host, title, lead: '', whys: [], tried: [], todo: [] }
}
