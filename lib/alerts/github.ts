/** GitHub issues as a channel. One issue for each failure, kept for its return; what is filed is made of our own words alone, as a
 * repository may be public: no words of the gateway, no log, no name of a machine, no path.
 * https://docs.github.com/en/rest/issues/issues, …/rest/issues/comments and …/rest/users/users#get-the-authenticated-user */
import { hostname } from 'node:os'
import { fingerprintOf } from '../doctor/memory.ts'
import { REASONS } from '../gateway/reasons.ts'
import { hiding } from '../gateway/secrets.ts'
import { TREATMENTS, type Verdict } from '../gateway/treat.ts'
import { type Incident, lastDays, readHistory } from '../incidents/history.ts'
import type { Settings } from '../tier/settings.ts'
import { readWhole, tried } from '../tier/state.ts'
import { type Alert, type Channel, cut, type Scope, safeLine } from './alert.ts'
import { hash } from './ledger.ts'
import { type Answer, type Limits, request } from './post.ts'

const LABEL = 'openclaw-self-healing'
const MAX = { title: 256, body: 65_536 }
/** A failure that returns later than that gets a new issue. */
const REOPENED_DAYS = 30
const DAY_MS = 86_400_000
/** Of 100 issues each, the last updated ones first. */
const MAX_PAGES = 5
/** A hundred issues with bodies as long as GitHub takes them would be more; one of ours has about 2 KB. */
const MAX_ANSWER_CHARS = 8_000_000

const FORMS = {
  repository: /^[A-Za-z0-9][\w-]{0,38}\/(?!\.{1,2}$)[\w.-]{1,100}$/,
  token: /^(?:github_pat_\w{20,}|gh[a-z]_\w{20,}|[0-9a-f]{40})$/,
  /** A token must not go over a network as it is. */
  api: /^https:\/\/|^http:\/\/(?:127\.0\.0\.1|localhost|\[::1\])(?=[:/]|$)/i,
}

export function githubProblems({ githubRepository, githubIssuesToken, githubApiUrl }: Settings): string[] {
  if (!githubRepository && !githubIssuesToken) return []
  const problems = [
    [githubRepository, FORMS.repository, 'GITHUB_REPOSITORY is not set, or is no owner/name'],
    [
      githubIssuesToken,
      FORMS.token,
      'GITHUB_ISSUES_TOKEN is not set, or is no token, which looks like github_pat_11A…',
    ],
    [githubApiUrl, FORMS.api, 'GITHUB_API_URL does not begin with https://'],
  ] as const
  return problems.flatMap(([value, form, what]) => (form.test(value) ? [] : [`${what}: nothing is filed on GitHub`]))
}

export const isOnGithub = (settings: Settings): boolean =>
  settings.githubRepository !== '' && githubProblems(settings).length === 0

/** Of a gateway on this machine, without telling which. A name alone is often the same on two, a Mac's changes with its network.
 * https://www.freedesktop.org/software/systemd/man/latest/machine-id.html: to be hashed before it is shown. */
function machineOf({ stateDir }: Settings): string {
  const id = tried(() => readWhole('/etc/machine-id').trim()) || hostname().split('.')[0]
  return hash(`${LABEL} ${id} ${stateDir}`).slice(0, 8)
}

type Failing = { verdict: string; evidence: string }

/** The earlier incidents that were this same failure, as far back as logs are kept. */
export function earlierOnes(settings: Settings, incident: Incident, now: Date): Incident[] {
  const key = fingerprintOf(incident)
  const { incidents } = readHistory(settings, lastDays(settings.logRetentionDays, now), now)
  return incidents.filter((one) => one.begin < incident.begin && fingerprintOf(one) === key)
}

interface Told {
  kind: Alert['kind']
  scope: Scope
  /** What makes this piece of news the same one when it is told again. */
  what: string
  title: string
  lead: string
  incident: (Incident & { earlier: readonly Incident[] }) | undefined
  deeds: readonly { who: string; did: string }[]
}

/** `failing` is the key. */
export function issueOf(settings: Settings, told: Told, failing: Failing): NonNullable<Alert['issue']> {
  const { kind, scope, what, title, lead, incident, deeds } = told
  const place = `${machineOf(settings)}-${scope}`
  const begin = incident && `Down since ${utc(incident.begin)}`
  const healthy = incident?.lastHealthy ? `, last healthy ${utc(incident.lastHealthy)}` : ''
  const often = incident?.earlier.length ?? 0
  const last = often > 0 ? `, last ${utc(incident!.earlier.at(-1)!.begin)}` : ''
  const isOver = kind === 'resolved' || kind === 'recurred'
  const means = kind === 'resolved' ? undefined : TREATMENTS[failing.verdict as Verdict]?.means
  const todo = isOver ? [] : todoOf(failing)
  const parts = [
    begin && kind !== 'resolved' ? `${begin}${healthy}. Verdict: ${plain(incident.verdict)}.` : '',
    plain(lead),
    often > 0
      ? `The same failure came ${often === 1 ? 'once' : `${often} times`} before, as the logs have it${last}.`
      : '',
    kind === 'recurred' ? 'It was healed. Close this issue when its cause is gone.' : '',
    list('What was tried', isOver ? [] : deeds.map(({ who, did }) => `${plain(who)}: ${plain(did)}`)),
    list('What to do', todo),
    `Machine ${machineOf(settings)}. Its log, and the words of its gateway, are not sent here; \`npm run status\` there has them.`,
  ]
  const text = parts.filter(Boolean).join('\n\n')
  const key = hash(fingerprintOf(failing))
  return {
    place,
    key,
    entry: hash(`${place} ${kind} ${what}`),
    title: `${title}${means ? `: ${means}` : ''} (machine ${machineOf(settings)})`,
    text,
  }
}

/** For what stands in braces in the table: nothing of this machine. */
const ANY: Record<string, string> = {
  ...{ config: '`openclaw.json`', knownGood: '', owner: '`lsof` or `ss`', pid: 'PID', version: 'VERSION' },
  ...{ folders: 'FOLDER', state: 'its folder', start: 'its own supervisor' },
}

/** The words of our own tables alone. */
function todoOf({ verdict, evidence }: Failing): string[] {
  const reason = REASONS.find(({ pattern, ...its }) => (its.verdict ?? verdict) === verdict && pattern.test(evidence))
  const lines =
    TREATMENTS[verdict as Verdict]?.todo.map((line) =>
      line.replace(' above, and more', '').replace(/\{(\w+)\}/g, (_, name) => ANY[name] ?? '…'),
    ) ?? []
  return [...(reason ? [reason.advice] : []), ...lines]
}

const utc = (at: Date) => `${at.toISOString().slice(0, 16).replace('T', ' ')} UTC`
const list = (title: string, items: string[]) =>
  items.length === 0 ? '' : `**${title}**\n${items.map((item) => `- ${item}`).join('\n')}`

/** Text in which nothing is markup, a mention, a reference to an issue or a link. */
function plain(text: string): string {
  const quiet = safeLine(text, 1000).replace(/@(?=\w)|#(?=\d)|\bGH-(?=\d)/gi, '$&\u200b')
  const noLinks = quiet.replace(/:\/\//g, ':\u200b//').replace(/\bwww\./gi, 'www\u200b.')
  return noLinks.replace(/[\\`*_~|[\]<>&]/g, (c) => (/[<>&]/.test(c) ? `&#${c.charCodeAt(0)};` : `\\${c}`))
}

interface Issue {
  number: number
  state: string
  state_reason?: string | null
  closed_at?: string | null
  updated_at?: string
  body?: string | null
  user?: { login?: string } | null
  labels?: ({ name?: string } | string)[]
  pull_request?: object
}
type Marker = { place: string; key: string; entry: string; isHealed: boolean }

const markerFor = ({ place, key, entry }: NonNullable<Alert['issue']>, kind: Alert['kind']) =>
  `<!-- ${LABEL} place=${place} key=${key} entry=${entry}${kind === 'recurred' ? ' healed' : ''} -->`
const MARKER = new RegExp(`<!-- ${LABEL} place=([\\w-]+) key=(\\w+) entry=(\\w+)( healed)? -->\\s*$`)

function markerIn(body: string | null | undefined): Marker | undefined {
  const [, place, key, entry, healed] = MARKER.exec(body ?? '') ?? []
  return place && key && entry ? { place, key, entry, isHealed: healed !== undefined } : undefined
}

/** An answer other than that it was done. */
class Refusal extends Error {
  readonly answer: Answer
  constructor(answer: Answer) {
    super(answer.why)
    this.answer = answer
  }
}

export function githubChannel(settings: Settings): Channel {
  const { githubRepository: repository, githubIssuesToken: token, githubApiUrl } = settings
  const url = `${githubApiUrl.replace(/\/+$/, '')}/repos/${repository}`
  const within = async (work: () => Promise<string>): Promise<Answer> => {
    try {
      return { kind: 'delivered', why: await work(), text: '', hasMore: false }
    } catch (error) {
      if (error instanceof Refusal) return error.answer
      throw error
    }
  }
  return {
    name: 'GitHub',
    url,
    account: token,
    payload: ({ issue, kind }) => (issue ? contentOf(issue, kind, (text) => text) : {}),
    file: (alert, limits) => within(() => file(settings, url, alert, limits)),
    check: (limits) => check(settings, url, limits),
    todo: `check GITHUB_REPOSITORY and GITHUB_ISSUES_TOKEN`,
  }
}

function contentOf(issue: NonNullable<Alert['issue']>, kind: Alert['kind'], hide: (text: string) => string) {
  const marker = markerFor(issue, kind)
  const body = `${cut(hide(issue.text), MAX.body - MAX.title - marker.length - 10)}\n\n${marker}`
  return { title: cut(safeLine(hide(issue.title), MAX.title), MAX.title), body, labels: [LABEL] }
}

/** What to do about a status, as the documentation of the endpoints explains it. */
const MEANS: Record<number, string> = {
  401: 'the token is wrong, expired or revoked: make a new one and put it into GITHUB_ISSUES_TOKEN',
  403: 'the token may not do that: it needs "Issues: read and write" for this repository',
  404: 'there is no such repository, or the token may not see it: check GITHUB_REPOSITORY and what the token is for',
  410: 'issues are disabled in this repository: enable them in its settings',
}
const MOVED = 'the repository was renamed or moved: put its new name into GITHUB_REPOSITORY'

function client({ githubIssuesToken }: Settings, { timeoutSec, signal }: Limits) {
  const headers = {
    ...{ Accept: 'application/vnd.github+json', 'X-GitHub-Api-Version': '2022-11-28', 'User-Agent': LABEL },
    ...{ Authorization: `Bearer ${githubIssuesToken}`, 'Content-Type': 'application/json' },
  }
  /** Throws a refusal, also when the answer is not of the form that it must have. */
  return async <T>(method: string, url: string, isWell: (json: T) => boolean, body?: object) => {
    if (signal?.aborted) throw new Refusal({ kind: 'later', why: 'no time was left', waitSec: 0, arrived: 'no' })
    const sent = { method, headers, ...(body && { body: JSON.stringify(body) }) }
    const answer = await request(url, sent, timeoutSec, MAX_ANSWER_CHARS)
    if (answer.kind === 'gone')
      throw new Refusal({ ...answer, why: `${answer.why}; ${MEANS[answer.status] ?? 'this is not accepted'}` })
    if (answer.kind === 'later' && /^HTTP 30[178] .*Moved Permanently/.test(answer.why))
      throw new Refusal({ kind: 'gone', status: 301, why: `${answer.why}; ${MOVED}` })
    const arrived = method === 'GET' ? 'no' : 'perhaps'
    if (answer.kind === 'later') throw new Refusal(method === 'GET' ? { ...answer, arrived } : answer)
    const json = tried(() => JSON.parse(answer.text) as T)
    if (json === undefined || json === null || !isWell(json))
      throw new Refusal({
        kind: 'later',
        why: `${answer.why}: not an answer of GitHub`,
        waitSec: 0,
        arrived,
      })
    return { json, hasMore: answer.hasMore }
  }
}

/** Files it, or adds it to the issue that is there. What was filed already, e.g. by a run that was killed, is not filed again. */
async function file(
  settings: Settings,
  url: string,
  { issue, kind, downSince }: Alert,
  limits: Limits,
): Promise<string> {
  if (!issue) return 'nothing to be filed'
  const call = client(settings, limits)
  const content = contentOf(issue, kind, await hiding(settings))
  const isIssue = (one: Issue) => Number.isSafeInteger(one.number) && typeof one.state === 'string'

  async function all<T>(path: string, isWell: (one: T) => boolean): Promise<T[]> {
    const found: T[] = []
    for (let page = 1; page <= MAX_PAGES; page++) {
      const separator = path.includes('?') ? '&' : '?'
      const isList = (json: T[]) => Array.isArray(json) && json.every((one) => one !== null && isWell(one))
      const { json, hasMore } = await call<T[]>('GET', `${url}${path}${separator}per_page=100&page=${page}`, isList)
      found.push(...json)
      if (!hasMore) break
    }
    return found
  }
  const change = (one: Issue, fields: object) => call<Issue>('PATCH', `${url}/issues/${one.number}`, isIssue, fields)
  /** Unless it is said there. */
  async function say(one: Issue): Promise<string> {
    const isSaid = (body?: string | null) => markerIn(body)?.entry === issue!.entry
    const comments = `/issues/${one.number}/comments`
    type Comment = { id: number; body?: string | null }
    const isComment = ({ id }: Comment) => Number.isSafeInteger(id)
    if (isSaid(one.body)) return `#${one.number} says so`
    // By GitHub's clock, a week back.
    const updatedMs = Date.parse(one.updated_at ?? '') || 0
    const since = new Date(Math.max(0, updatedMs - 7 * DAY_MS)).toISOString()
    if ((await all<Comment>(`${comments}?since=${since}`, isComment)).some(({ body }) => isSaid(body)))
      return `#${one.number} says so`
    await call<Comment>('POST', `${url}${comments}`, isComment, { body: `**${content.title}**\n\n${content.body}` })
    return `a comment on #${one.number}`
  }

  // Only what this token's own user wrote is trusted: anybody can write a marker into an issue of a public repository.
  const isUser = ({ login }: { login: string }) => typeof login === 'string' && login !== ''
  const { login } = (await call('GET', url.replace(/\/repos\/.*/, '/user'), isUser)).json
  const path = `/issues?creator=${encodeURIComponent(login)}&state=all&sort=updated&direction=desc`
  const ours = (await all<Issue>(path, isIssue))
    .filter((one) => one.user?.login === login && !one.pull_request)
    .flatMap((one) =>
      [markerIn(one.body)].flatMap((marker) => (marker?.place === issue.place ? { ...one, marker } : [])),
    )
  const isOpen = ({ state }: Issue) => state === 'open'

  if (kind === 'resolved') {
    // Everything that is open about this gateway is over; what a human has closed stays as it is. That it failed again and
    // again is for a human to close.
    const over = ours.filter(
      (one) => isOpen(one) && hasLabel(one) && (!one.marker.isHealed || one.marker.key === issue.key),
    )
    const said: string[] = []
    for (const one of over) {
      said.push(await say(one))
      if (!one.marker.isHealed) await change(one, { state: 'closed', state_reason: 'completed' })
    }
    return said.join(', ') || 'no open issue of it'
  }
  const ageOf = (time: string | null | undefined) => Date.now() - Date.parse(time ?? '')
  const same = ours.filter(({ marker }) => marker.key === issue.key)
  const closed = same.find((one) => ageOf(one.closed_at) < REOPENED_DAYS * DAY_MS)
  const ofIncident = (one: Issue) => isOpen(one) || (one.closed_at ?? '') >= (downSince ?? '9')
  const before = same.find(isOpen) ?? (kind === 'update' ? (ours.find(isOpen) ?? ours.find(ofIncident)) : undefined)
  const target = before ?? closed
  if (!target) {
    await call('POST', `${url}/labels`, () => true, LABEL_FIELDS).catch(ignoreRefusal)
    const { number } = (await call<Issue>('POST', `${url}/issues`, isIssue, content)).json
    return `#${number} opened`
  }
  const isUnwanted = !isOpen(target) && ['not_planned', 'duplicate'].includes(target.state_reason ?? '')
  // Once a day is often enough for what heals itself.
  if (kind === 'recurred' && (isUnwanted || (isOpen(target) && ageOf(target.updated_at) < DAY_MS)))
    return `#${target.number} is about it`
  const isReopened = !isOpen(target) && !isUnwanted && kind !== 'update'
  if (isReopened) await change(target, { state: 'open' })
  return `${await say(target)}${isReopened ? ', reopened' : ''}`
}

const LABEL_FIELDS = { name: LABEL, color: 'b60205', description: 'Filed by the self-healing of an OpenClaw Gateway' }
/** It is there already (422), or the token may not make labels. */
function ignoreRefusal(error: unknown): void {
  if (!(error instanceof Refusal) || error.answer.kind === 'later') throw error
}
const hasLabel = ({ labels = [] }: Issue) =>
  labels.some((label) => (typeof label === 'string' ? label : label.name) === LABEL)

interface Repository {
  full_name?: string
  private?: boolean
  has_issues?: boolean
  archived?: boolean
}

/** Looks whether an issue could be filed, and shows one. Files nothing: an issue without a title is refused. */
async function check(settings: Settings, url: string, limits: Limits): Promise<{ isTaken: boolean; said: string }> {
  const call = client(settings, limits)
  const told = { kind: 'failure', scope: 'gateway', what: 'test', lead: '', incident: undefined } as const
  const title = 'OpenClaw Gateway needs you'
  const deeds = [{ who: 'Level 3, doctor', did: 'called a human' }]
  const failing = { verdict: 'misconfigured', evidence: 'Invalid config' }
  const shown = contentOf(issueOf(settings, { ...told, title, deeds }, failing), 'failure', await hiding(settings))
  const example = `this is how one would look:\n${shown.title}\n\n${shown.body}`
  try {
    const isRepository = ({ has_issues }: Repository) => typeof has_issues === 'boolean'
    const { json } = await call<Repository>('GET', url, isRepository)
    const faults = [
      json.has_issues ? '' : MEANS[410]!,
      json.archived ? 'the repository is archived: nothing can be filed' : '',
    ]
    const fault = faults.find(Boolean)
    if (fault) return { isTaken: false, said: `GitHub would not take issues: ${fault}` }
    await call('POST', `${url}/issues`, () => true, { labels: [LABEL] }).catch((error) => {
      if (!(error instanceof Refusal) || error.answer.kind !== 'gone' || error.answer.status !== 422) throw error
    })
    const who = json.private ? 'private' : 'PUBLIC: everybody can read what is filed'
    return {
      isTaken: true,
      said: `GitHub: ${settings.githubRepository} (${who}) would take issues; none was filed; ${example}`,
    }
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    return { isTaken: false, said: `GitHub would not take issues: ${error.answer.why}; ${example}` }
  }
}
