/** What an issue says. It is made of our own words alone, as its repository may be public: no words of the gateway, no log, no name
 * of a machine, no path. In its last line stands what Level 4 finds it by. */
import { hostname } from 'node:os'
import { REASONS } from '../gateway/reasons.ts'
import { TREATMENTS, type Verdict } from '../gateway/treat.ts'
import { type Failure, fingerprintOf, type Incident, lastDays, readHistory } from '../incidents/history.ts'
import { lineOf, whoIs } from '../incidents/words.ts'
import type { Settings } from '../tier/settings.ts'
import { readWhole, tried } from '../tier/state.ts'
import { type Alert, safeLine } from './alert.ts'
import { hash } from './ledger.ts'

export const LABEL = 'openclaw-self-healing'

type Known = Failure & Pick<Incident, 'begin' | 'lastHealthy' | 'steps'>

/** The earlier incidents that were this same failure, as far back as logs are kept. */
export function earlierOnes(settings: Settings, incident: Known, now: Date): Incident[] {
  const key = fingerprintOf(incident)
  const { incidents } = readHistory(settings, lastDays(settings.logRetentionDays, now), now)
  return incidents.filter((one) => one.begin < incident.begin && fingerprintOf(one) === key)
}

/** For each level what it came to; `own`: its steps. */
export function deedsOf({ steps }: Pick<Incident, 'steps'>) {
  return (['watchdog', 'healthcheck', 'emergency-recovery'] as const).map((tier) => {
    const own = steps.filter((step) => step.tier === tier)
    const isLast = (kinds: string[]) => own.findLast(({ said }) => kinds.includes(said.kind))
    const step = isLast(['manual', 'escalate']) ?? isLast(['down']) ?? own.at(-1)
    return step ? { ...lineOf(step), own } : { who: whoIs(tier), did: 'was not called', quote: '', own }
  })
}

/** @param what makes this piece of news the same one when it comes again */
export function issueOf(
  settings: Settings,
  { kind, scope, lead }: Pick<Alert, 'kind' | 'scope' | 'lead'>,
  title: string,
  what: string,
  incident: Known | undefined,
  now: Date,
): NonNullable<Alert['issue']> {
  const hashed = hashedHere(settings)
  const machine = hashed('').slice(0, 8)
  const place = `${machine}-${scope}`
  // Of the watchers there is no incident. The times differ.
  const failing = incident ?? { verdict: `${scope}`, evidence: what.replace(/^\S+/, '') }
  const isOver = kind === 'resolved' || kind === 'recurred'
  const means = kind === 'resolved' ? undefined : TREATMENTS[failing.verdict as Verdict]?.means
  const parts = [
    ...(incident && kind !== 'resolved' ? factsOf(incident, earlierOnes(settings, incident, now)) : []),
    plain(lead),
    kind === 'recurred' ? 'It was healed. Close this issue when its cause is gone.' : '',
    ...(isOver || !incident ? [] : listOf('What was tried', deedsOf(incident).map(inPlain))),
    ...(isOver ? [] : listOf('What to do', todoOf(failing))),
    `Machine ${machine}. Its log, and the words of its gateway, are not sent here; \`npm run status\` there has them.`,
  ]
  return {
    ...{ place, key: hashed(fingerprintOf(failing)), entry: hashed(`${scope} ${kind} ${what}`) },
    title: `${title}${means ? `: ${means}` : ''} (machine ${machine})`,
    text: parts.filter(Boolean).join('\n\n'),
  }
}

function factsOf({ begin, lastHealthy, verdict }: Known, earlier: readonly Incident[]): string[] {
  const healthy = lastHealthy ? `, last healthy ${utc(lastHealthy)}` : ''
  const last = earlier.at(-1)
  const often = earlier.length === 1 ? 'once' : `${earlier.length} times`
  return [
    `Down since ${utc(begin)}${healthy}. Verdict: ${plain(verdict)}.`,
    last ? `The same failure came ${often} before, as the logs have it, last ${utc(last.begin)}.` : '',
  ]
}

/** Of words about a gateway on this machine: elsewhere it cannot be tried which words they were. A name alone is often the same on two,
 * a Mac's changes with its network. https://www.freedesktop.org/software/systemd/man/latest/machine-id.html: to be hashed before
 * it is shown, and `uninitialized` on some. */
function hashedHere({ stateDir }: Settings): (words: string) => string {
  const id = tried(() => /^[0-9a-f]{32}$/m.exec(readWhole('/etc/machine-id'))?.[0]) ?? hostname().split('.')[0]
  return (words) => hash(`${LABEL} ${id} ${stateDir} ${words}`)
}

/** For what stands in braces in the table: nothing of this machine. */
const ANY: Record<string, string> = {
  ...{ config: '`openclaw.json`', knownGood: '', owner: '`lsof` or `ss`', pid: 'PID', version: 'VERSION' },
  ...{ folders: 'FOLDER', state: 'its folder', start: 'its own supervisor' },
}

/** The words of our own tables alone. */
function todoOf({ verdict, evidence }: Failure): string[] {
  const reason = REASONS.find(({ pattern, ...its }) => (its.verdict ?? verdict) === verdict && pattern.test(evidence))
  const lines = TREATMENTS[verdict as Verdict]?.todo ?? []
  const filled = lines.map((line) =>
    line.replace(' above, and more', '').replace(/\{(\w+)\}/g, (_, it) => ANY[it] ?? '…'),
  )
  return [...(reason ? [reason.advice] : []), ...filled]
}

export const utc = (at: Date | string) => `${new Date(at).toISOString().slice(0, 16).replace('T', ' ')} UTC`
const inPlain = ({ who, did }: { who: string; did: string }) => `${plain(who)}: ${plain(did)}`
const listOf = (title: string, items: string[]) =>
  items.length === 0 ? [] : [`**${title}**\n${items.map((item) => `- ${item}`).join('\n')}`]

/** Text in which nothing is markup, a mention, a reference to an issue or a link. */
function plain(text: string): string {
  const quiet = safeLine(text, 1000).replace(/@(?=\w)|#(?=\d)|\bGH-(?=\d)|:(?=\/\/)|\bwww(?=\.)/gi, '$&\u200b')
  return quiet.replace(/[\\`*_~|[\]<>&]/g, (c) => (/[<>&]/.test(c) ? `&#${c.charCodeAt(0)};` : `\\${c}`))
}

const MARKER = new RegExp(`<!-- ${LABEL} place=([\\w-]+) key=(\\w+) entry=(\\w+)( healed)? -->`)

export const markerFor = ({ place, key, entry }: NonNullable<Alert['issue']>, kind: Alert['kind']) =>
  `<!-- ${LABEL} place=${place} key=${key} entry=${entry}${kind === 'recurred' ? ' healed' : ''} -->`

export function markerIn(body: string | null | undefined) {
  const [, place, key, entry, healed] = MARKER.exec(body ?? '') ?? []
  return entry ? { place, key, entry, isHealed: healed !== undefined } : undefined
}
