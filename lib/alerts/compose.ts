/** Writes alerts: everything that somebody needs who is woken by one, and has only a phone at hand. */
import { hostname } from 'node:os'
import { currentIncident } from '../incidents/history.ts'
import { NEEDS_A_LOOK, oneLine } from '../tier/contract.ts'
import { DEFAULT_PROFILE } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'
import { adviceFor } from './advice.ts'
import type { Alert } from './alert.ts'
import type { News } from './cases.ts'
import { doctorsFinding, tailOf, whatEachLevelDid } from './incident-words.ts'
import { hiding } from './secrets.ts'
import type { Scope, Sighting } from './sightings.ts'
import { clockTime, duration } from './time-words.ts'

const MAX_WHYS = 10
const MAX_WHY_CHARS = 600

type Hide = (text: string) => string
type Trouble = Extract<News, { kind: 'failure' | 'update' | 'reminder' | 'flapping' }>

/**
 * One alert for each piece of news, all notices in one.
 * @param withNotices NOTIFY=all: also what needs nobody; without it only notices of what needs a look
 */
export async function composeAlerts(
  settings: Settings,
  news: readonly News[],
  withNotices: boolean,
  now: Date,
): Promise<Alert[]> {
  const hide = await hiding(settings)
  const alerts = news.flatMap((one) => {
    if (one.kind === 'notice') return []
    if (one.kind === 'resolved' || one.kind === 'steady') return [composeGood(settings, one, now)]
    return [composeTrouble(settings, one, hide, now)]
  })
  const notices = news
    .flatMap((one) => (one.kind === 'notice' ? [one.what] : []))
    .filter((what) => withNotices || what.startsWith(NEEDS_A_LOOK))
    .map((what) => oneLine(hide(what), MAX_WHY_CHARS))
  return notices.length > 0 ? [...alerts, composeNotice(settings, notices, now)] : alerts
}

export function composeTestAlert(settings: Settings, now: Date): Alert {
  return {
    ...blank('test', `Test from ${place(settings)}: alerts of OpenClaw self-healing arrive here`, now),
    todo: ['nothing: somebody ran the monitor with `--test-alert`'],
  }
}

/** For the channels that are left: this one takes nothing any more. */
export function composeChannelGone(name: string, why: string, now: Date): Alert {
  return {
    ...blank('notice', `${name} takes no alerts of OpenClaw on ${host()} any more`, now),
    whys: [oneLine(why, MAX_WHY_CHARS)],
  }
}

function composeTrouble(settings: Settings, news: Trouble, hide: Hide, now: Date): Alert {
  const { scope } = news
  const calls = 'calls' in news ? news.calls : []
  const incident = scope === 'gateway' ? currentIncident(settings, calls.at(-1)?.at ?? now) : undefined
  const earlierCalls = incident?.steps.map(({ said }) => said).filter(({ kind }) => kind === 'manual') ?? []
  const markers = calls.length > 0 ? calls.map(({ marker }) => marker) : earlierCalls.slice(-1)
  const whys = markers.map((one) => (one.kind === 'manual' ? oneLine(hide(one.why), MAX_WHY_CHARS) : ''))
  const log = 'open' in news ? news.open.log : calls.at(-1)?.log
  return {
    ...blank(news.kind, titleOf(settings, news), now),
    scope,
    lead: leadOf(news, now),
    whys: [...new Set(whys)].slice(0, MAX_WHYS),
    downSince: incident?.begin.toISOString(),
    verdict: incident?.verdict,
    evidence: incident && oneLine(hide(incident.evidence), 300),
    tried: incident ? whatEachLevelDid(incident, hide, now) : [],
    finding: incident && doctorsFinding(settings, incident.begin, hide),
    todo: adviceFor(scope, incident?.verdict, settings),
    log: log ? { path: log, lines: tailOf(log, hide) } : undefined,
  }
}

function titleOf(settings: Settings, { kind, scope }: Trouble): string {
  const { subject, needs } = wordsFor(settings, scope)
  if (kind === 'failure') return `${subject} ${needs}`
  if (kind === 'update') return `${subject} still ${needs}: something new`
  if (kind === 'reminder') return `${subject} still ${needs}`
  return `${subject} ${needs}: it fails again and again`
}

function leadOf(news: Trouble, now: Date): string {
  if (news.kind === 'reminder') {
    const openSec = (now.getTime() - Date.parse(news.open.openedAt)) / 1000
    return `It has needed you for ${duration(openSec)}, last seen ${clockTime(new Date(news.open.lastSeenAt), now)}.`
  }
  if (news.kind !== 'flapping') return ''
  const since = clockTime(new Date(news.failedAt[0] ?? now), now)
  return `Failed ${news.failedAt.length} times since ${since}. Its coming and going is not told any more until it has been steady for two hours; that it stays down is, and each call for another reason.`
}

function composeGood(settings: Settings, news: Extract<News, { kind: 'resolved' | 'steady' }>, now: Date): Alert {
  const { scope } = news
  const { subject, back } = wordsFor(settings, scope)
  if (news.kind === 'steady') {
    const lead = `No failure since ${clockTime(new Date(news.since), now)}.`
    return { ...blank('resolved', `${subject} is steady again`, now), scope, lead }
  }
  const lead = howItEnded(news.endedBy, news.open.openedAt)
  return { ...blank('resolved', `${subject} ${back}`, now), scope, lead }
}

function howItEnded({ scope, marker, at }: Sighting, openedAt: string): string {
  const sinceCall = duration((at.getTime() - Date.parse(openedAt)) / 1000)
  if (scope !== 'gateway') return `${sinceCall} after the alert.`
  if (marker.kind !== 'recovered')
    return `Repaired by hand, or it came back by itself, ${sinceCall} after the alert: none of the levels did it.`
  const who = marker.level === undefined ? 'By itself or by hand' : `By level ${marker.level}`
  return `${who}, after ${duration(marker.seconds)} down.`
}

function composeNotice(settings: Settings, notices: string[], now: Date): Alert {
  return { ...blank('notice', `Self-healing of OpenClaw on ${place(settings)}`, now), whys: notices.slice(0, MAX_WHYS) }
}

function wordsFor(settings: Settings, scope: Scope): { subject: string; needs: string; back: string } {
  const at = place(settings)
  if (scope === 'gateway') return { subject: `OpenClaw Gateway on ${at}`, needs: 'needs you', back: 'is back' }
  if (scope === 'watchers')
    return { subject: `The watchers of OpenClaw on ${at}`, needs: 'need you', back: 'are well again' }
  return { subject: `Self-healing on ${at}`, needs: 'cannot write its files', back: 'can write its files again' }
}

function blank(kind: Alert['kind'], title: string, now: Date): Alert {
  return { kind, writtenAt: now.toISOString(), host: host(), title, lead: '', whys: [], tried: [], todo: [] }
}

/** The machine, and on it the gateway, if it is not the one without a profile. */
function place({ profile }: Settings): string {
  return profile === DEFAULT_PROFILE ? host() : `${host()} (profile ${profile})`
}

function host(): string {
  return hostname().replace(/\.local$/, '')
}
