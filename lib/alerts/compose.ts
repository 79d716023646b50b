/** Writes alerts: everything that a human needs who is woken by one and has only a phone at hand. */
import { adviceFor, rollbackOf } from '../gateway/advice.ts'
import { hiding } from '../gateway/secrets.ts'
import { TREATMENTS, type Verdict } from '../gateway/treat.ts'
import type { History, Incident } from '../incidents/history.ts'
import { rootCauseOf } from '../incidents/learnings.ts'
import { howItEnded, howLong, spell } from '../incidents/words.ts'
import { localIso, NEEDS_ATTENTION, oneLine, parseLine } from '../tier/contract.ts'
import { readTail } from '../tier/journal.ts'
import { DEFAULT_PROFILE, hostOf } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'
import { type Alert, blank, clockTime } from './alert.ts'
import { isOnGithub } from './github.ts'
import { deedsOf, earlierOnes, issueOf, utc } from './issue.ts'
import type { News } from './news.ts'

const MAX_WHYS = 10
const NOTHING = 'nothing; `npm run report -- --days 1` shows who did what'
type Hide = (text: string) => string
type CaseNews = Exclude<News, { kind: 'notice' }>

/** One alert for each piece of news, all notices in one; under NOTIFY=failures only notices that need attention. */
export async function composeAlerts(settings: Settings, news: News[], history: History, now: Date): Promise<Alert[]> {
  const hide = await hiding(settings)
  const isWanted = (what: string) => settings.notify === 'all' || what.startsWith(NEEDS_ATTENTION)
  const notices = news.flatMap((one) => (one.kind === 'notice' && isWanted(one.what) ? [one.what] : []))
  const whys = notices.slice(0, MAX_WHYS).map((what) => oneLine(hide(what), 600))
  const host = `OpenClaw on ${hostOf(settings.profile)}`
  const needsAttention = whys.some((what) => what.startsWith(NEEDS_ATTENTION))
  const title = needsAttention ? `${host} needs attention` : `Self-healing of ${host}`
  const undo = notices.flatMap((what) => rollbackOf(settings, what)?.todo ?? []).slice(-3)
  const todo = undo.length > 0 ? undo : needsAttention ? adviceFor(settings, 'warnings') : [NOTHING]
  const notice = { ...blank('notice', title, now), whys, todo: todo.map(hide) }
  const alerts = news.flatMap((one) => {
    if (one.kind !== 'notice') return [compose(settings, one, history, hide, now)]
    return one.recovery && isOnGithub(settings) ? recurred(settings, one.recovery, now) : []
  })
  return whys.length > 0 ? [...alerts, notice] : alerts
}

export function composeTestAlert(settings: Settings, now: Date): Alert {
  const title = `Test from ${hostOf(settings.profile)}: alerts of OpenClaw self-healing arrive here`
  return { ...blank('test', title, now), todo: ['nothing: this is a test that was asked for'] }
}

export function composeChannelGone(name: string, why: string, now: Date): Alert {
  const title = `${name} takes no alerts of OpenClaw on ${hostOf(DEFAULT_PROFILE)} any more`
  const todo = [
    'correct its setting, then try it with `sh scripts/run-tier.sh emergency-recovery-monitor --test-alert`',
  ]
  return { ...blank('notice', title, now), whys: [oneLine(why, 600)], todo }
}

function compose(settings: Settings, news: CaseNews, { incidents }: History, hide: Hide, now: Date): Alert {
  const { scope, kind, at, calls, open } = news
  const isGood = kind === 'resolved' || kind === 'steady'
  const isAbout = ({ begin, end }: Incident) => {
    if (kind === 'resolved') return end?.getTime() === at.getTime()
    // What comes and goes may be well right now.
    return kind === 'flapping' || (begin <= at && (end === undefined || end >= at))
  }
  const incident = scope === 'gateway' ? incidents.findLast(isAbout) : undefined
  const { verdict = '', evidence = '' } = incident?.last ?? {}
  const means = incident && !isGood ? `: ${TREATMENTS[verdict as Verdict]?.means ?? verdict}` : ''
  const [subject, needs, back] = WORDS[scope]
  const words = {
    ...{ failure: needs, update: `still ${needs}: something new`, reminder: `still ${needs}` },
    ...{ flapping: `${needs}: it fails again and again`, resolved: back, steady: 'is steady again' },
  }[kind]
  const title = `${subject} ${hostOf(settings.profile)} ${words}${means}`
  const lead = leadOf(news, incident, (at) => clockTime(at, now))
  const base = { ...blank(isGood ? 'resolved' : kind, title, now), scope, lead }
  // Not on GitHub: that it still lasts, and a disk on which it cannot be written down what was filed.
  const isFiled = isOnGithub(settings) && kind !== 'reminder' && scope !== 'disk'
  const what = `${at.toISOString()} ${calls.map(({ why }) => why).join('\n')}`
  const heading = `${subject.replace(/ on$/, '')} ${words}`
  const file = () => issueOf(settings, { ...base, lead: leadOf(news, incident, utc) }, heading, what, incident, now)
  const alert = { ...base, ...(isFiled && { issue: file() }) }
  if (isGood) return { ...alert, todo: [NOTHING] }
  const brief = (why: string) => hide(incident ? why.replace(`${verdict}: ${evidence}`, verdict) : why)
  const earlier = incident?.steps.flatMap(({ said }) => (said.kind === 'manual' ? [said.why] : [])) ?? []
  const whys = calls.length > 0 ? calls.map(({ why }) => why) : earlier.slice(-1)
  const log = calls.at(-1)?.log ?? open?.log
  return {
    ...alert,
    whys: [...new Set(whys.map((why) => oneLine(brief(why), 600)))].slice(0, MAX_WHYS),
    todo: adviceFor(settings, scope, verdict, evidence).map(hide),
    ...(log && { log: { path: log, lines: tailOf(log, hide) } }),
    ...(incident && {
      downSince: incident.begin.toISOString(),
      lastHealthy: incident.lastHealthy?.toISOString(),
      verdict,
      evidence: oneLine(hide(evidence), 600),
      tried: whatEachLevelDid(incident, brief, now),
      finding: rootCauseOf(settings, incident, hide),
    }),
  }
}

/** For GitHub: it healed, and not for the first time. */
function recurred(settings: Settings, incident: Incident, now: Date): Alert[] {
  if (earlierOnes(settings, incident, now).length === 0) return []
  const [kind, title] = ['recurred', 'OpenClaw Gateway keeps failing'] as const
  const lead = `The incident ${howItEnded(incident)}: ${howLong(incident)}.`
  const alert = { ...blank(kind, title, now), scope: 'gateway' as const, lead }
  return [{ ...alert, issue: issueOf(settings, alert, title, incident.begin.toISOString(), incident, now) }]
}

type Clock = (at: Date | string) => string
function leadOf({ kind, at, open, failedAt = [] }: CaseNews, incident: Incident | undefined, clock: Clock): string {
  if (kind === 'steady') return `No failure since ${clock(at)}.`
  if (kind === 'flapping')
    return `Failed ${failedAt.length} times since ${clock(failedAt[0] ?? '')}. No more messages about its coming and going until it has been steady for two hours; a call for another reason, and that it stays down, are still sent.`
  if (kind === 'resolved' && incident) return `The incident ${howItEnded(incident)}: ${howLong(incident)}.`
  const openSec = (at.getTime() - Date.parse(open?.openedAt ?? '')) / 1000
  if (kind === 'resolved') return `${spell(openSec)} after the alert.`
  if (kind !== 'reminder') return ''
  const neededSec = openSec - (incident?.unwatchedSec ?? 0)
  return `It has needed you for ${spell(neededSec)}, last seen ${clock(open?.lastSeenAt ?? '')}.`
}

/** One entry for each level, lowest first: `Level 1, watchdog, 02:14 to 02:20` and what it came to. */
function whatEachLevelDid(incident: Incident, brief: Hide, now: Date): Alert['tried'] {
  return deedsOf(incident).map(({ who, did, quote, own }) => {
    if (own.length === 0) return { who, what: did }
    const from = clockTime(own[0]!.at, now)
    const to = clockTime(new Date(Math.max(...own.map(({ until }) => until.getTime()))), now)
    const what = quote ? `${did}: ${quote}` : did
    return { who: `${who}, ${from === to ? from : `${from} to ${to}`}`, what: oneLine(brief(what), 300) }
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

const WORDS = {
  gateway: ['OpenClaw Gateway on', 'needs you', 'is back'],
  watchers: ['The watchers of OpenClaw on', 'need you', 'are well again'],
  disk: ['Self-healing on', 'cannot write its files', 'can write its files again'],
} as const
