/** GitHub issues as a channel: one for each failure of a gateway, kept for its return. Each piece of news is filed once, whenever
 * a run is killed. https://docs.github.com/en/rest/issues/issues, …/rest/issues/comments, …/rest/users/users#get-the-authenticated-user */
import { hiding } from '../gateway/secrets.ts'
import type { Settings } from '../tier/settings.ts'
import { tried } from '../tier/state.ts'
import type { Alert, Channel } from './alert.ts'
import { issueOf, LABEL, markerFor, markerIn } from './issue.ts'
import { type Answer, type Limits, request } from './post.ts'

const DAY_MS = 86_400_000
/** A failure that returns later than that gets a new issue. */
const REOPENED_MS = 30 * DAY_MS
/** What a failure is, its words say, and those may differ each time: others wrote them. */
const MAX_NEW_A_DAY = 5
/** Of 100 each. */
const MAX_PAGES = 5
/** A hundred comments of strangers, as long as GitHub takes them, each character escaped as `\u0000`. */
const MAX_ANSWER_CHARS = 41_000_000

const FORMS = {
  repository: /^[A-Za-z0-9][\w-]{0,38}\/(?!\.{1,2}$)[\w.-]{1,100}$/,
  token: /^(?:github_pat_\w{20,}|gh[a-z]_\w{20,}|[0-9a-f]{40})$/,
  /** A token must not go over a network as it is. */
  api: /^https:\/\/|^http:\/\/(?:127\.0\.0\.1|localhost|\[::1\])(?=[:/]|$)/i,
}

export function githubProblems(settings: Settings): string[] {
  const { githubRepository, githubIssuesToken, githubApiUrl, fromEnvironment } = settings
  // GitHub's runners set it for everything that they start.
  const isMeant = githubRepository !== '' && !fromEnvironment.includes('GITHUB_REPOSITORY')
  if (!isMeant && !githubIssuesToken) return []
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
  settings.githubIssuesToken !== '' && githubProblems(settings).length === 0

interface Issue {
  number: number
  state: string
  state_reason?: string | null
  created_at?: string
  closed_at?: string | null
  updated_at?: string
  body?: string | null
  user?: { login?: string } | null
  labels?: { name?: string }[]
  pull_request?: object
}
type Comment = Pick<Issue, 'body'> & { id: number }
type Repository = { private?: boolean; has_issues?: boolean; archived?: boolean }

const isIssue = ({ number, state }: Issue) => Number.isSafeInteger(number) && typeof state === 'string'
const isComment = ({ id }: Comment) => Number.isSafeInteger(id)
const isUser = ({ login }: { login?: string }) => typeof login === 'string' && login !== ''
const isRepository = ({ has_issues }: Repository) => typeof has_issues === 'boolean'
const isAnything = () => true

/** Anything but that it was done. */
class Refusal extends Error {
  readonly answer: Answer
  constructor(answer: Answer) {
    super(answer.why)
    this.answer = answer
  }
}

/** What to do about a status, as the documentation of the endpoints explains it. */
const MEANS: Record<number, string> = {
  401: 'the token is wrong, expired or revoked: make a new one and put it into GITHUB_ISSUES_TOKEN',
  403: 'the token may not do that: it needs "Issues: read and write" for this repository',
  404: 'there is no such repository, or the token may not see it: check GITHUB_REPOSITORY and what the token is for',
  410: 'issues are disabled in this repository: enable them in its settings',
}
const MOVED = 'the repository was renamed or moved: put its new name into GITHUB_REPOSITORY'

export function githubChannel(settings: Settings): Channel {
  const { githubRepository, githubIssuesToken, githubApiUrl } = settings
  const api = githubApiUrl.replace(/\/+$/, '')
  return {
    ...{ name: 'GitHub', url: `${api}/repos/${githubRepository}`, account: githubIssuesToken, todo: '' },
    payload: ({ issue }) => ({ ...issue }),
    async file(alert, limits) {
      try {
        if (alert.issue) await file(settings, api, alert, alert.issue, limits)
        return { kind: 'delivered', why: '', text: '', hasMore: false }
      } catch (error) {
        if (error instanceof Refusal) return error.answer
        throw error
      }
    },
    check: (limits) => check(settings, api, limits),
  }
}

type Filed = NonNullable<Alert['issue']>
async function contentOf(settings: Settings, issue: Filed, kind: Alert['kind']) {
  const hide = await hiding(settings)
  return { title: hide(issue.title), body: `${hide(issue.text)}\n\n${markerFor(issue, kind)}`, labels: [LABEL] }
}

function client({ githubIssuesToken }: Settings, { timeoutSec, signal }: Limits) {
  const headers = {
    ...{ Accept: 'application/vnd.github+json', 'X-GitHub-Api-Version': '2022-11-28', 'User-Agent': LABEL },
    ...{ Authorization: `Bearer ${githubIssuesToken}`, 'Content-Type': 'application/json' },
  }
  /** Throws a refusal, also when the answer is not of the form that it must have. */
  async function call<T>(method: string, url: string, isWell: (json: T) => boolean, body?: object) {
    const arrived = method === 'GET' ? 'no' : 'perhaps'
    if (signal?.aborted) throw new Refusal({ kind: 'later', why: 'no time was left', waitSec: 0, arrived })
    const sent = { method, headers, ...(body && { body: JSON.stringify(body) }) }
    const answer = await request(url, sent, timeoutSec, MAX_ANSWER_CHARS)
    const { why } = answer
    if (answer.kind === 'gone')
      throw new Refusal({ ...answer, why: `${why}; ${MEANS[answer.status] ?? 'this is not accepted'}` })
    if (answer.kind === 'later' && /^HTTP 30[178] .*Moved Permanently/.test(why))
      throw new Refusal({ kind: 'gone', status: 301, why: `${why}; ${MOVED}` })
    if (answer.kind === 'later') throw new Refusal(method === 'GET' ? { ...answer, arrived } : answer)
    const json = tried(() => JSON.parse(answer.text) as T)
    if (json !== undefined && json !== null && isWell(json)) return { json, hasMore: answer.hasMore }
    throw new Refusal({ kind: 'later', why: `${why}: not an answer of GitHub`, waitSec: 0, arrived })
  }
  /** https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api */
  async function list<T>(url: string, isWell: (one: T) => boolean): Promise<T[]> {
    const isList = (json: T[]) => Array.isArray(json) && json.every((one) => one !== null && isWell(one))
    const found: T[] = []
    for (let page = 1; page <= MAX_PAGES; page++) {
      const { json, hasMore } = await call<T[]>('GET', `${url}&per_page=100&page=${page}`, isList)
      found.push(...json)
      if (!hasMore) break
    }
    return found
  }
  return { call, list }
}

/** Files it, or adds it to the issue that is there. */
async function file(settings: Settings, api: string, { kind, downSince }: Alert, issue: Filed, limits: Limits) {
  const { call, list } = client(settings, limits)
  const repository = `${api}/repos/${settings.githubRepository}`
  const content = await contentOf(settings, issue, kind)
  const change = ({ number }: Issue, fields: object) =>
    call<Issue>('PATCH', `${repository}/issues/${number}`, isIssue, fields)

  /** Unless it is said there. */
  async function say({ number, body, updated_at: updatedAt }: Issue) {
    const isSaid = (one: Pick<Issue, 'body'>) => markerIn(one.body)?.entry === issue.entry
    const comments = `${repository}/issues/${number}/comments`
    // By GitHub's clock, a week back.
    const since = new Date(Math.max(0, (Date.parse(updatedAt ?? '') || 0) - 7 * DAY_MS)).toISOString()
    if (isSaid({ body: body ?? '' }) || (await list<Comment>(`${comments}?since=${since}`, isComment)).some(isSaid))
      return
    await call<Comment>('POST', comments, isComment, { body: `**${content.title}**\n\n${content.body}` })
  }

  // Only what this token's own user wrote is trusted: in a public repository anybody can write a marker.
  const { login } = (await call<{ login: string }>('GET', `${api}/user`, isUser)).json
  const own = `creator=${encodeURIComponent(login)}&state=all&sort=updated&direction=desc`
  const ours = (await list<Issue>(`${repository}/issues?${own}`, isIssue))
    .filter((one) => one.user?.login === login && !one.pull_request)
    .map((one) => ({ ...one, marker: markerIn(one.body), isOpen: one.state === 'open' }))
    .filter(({ marker }) => marker?.place === issue.place)
  const same = ours.filter(({ marker }) => marker?.key === issue.key)

  if (kind === 'resolved') {
    // What is open about this gateway is over. What a human has closed stays as it is, and that it fails again and again a human closes.
    const hasLabel = ({ labels = [] }: Issue) => labels.some(({ name }) => name === LABEL)
    for (const one of ours.filter((one) => one.isOpen && hasLabel(one))) {
      const isHealed = one.marker?.isHealed
      if (!isHealed || same.includes(one)) await say(one)
      if (!isHealed) await change(one, { state: 'closed', state_reason: 'completed' })
    }
    return
  }
  const ageOf = (time: string | null | undefined) => Date.now() - Date.parse(time ?? '')
  const closedMeanwhile = ({ closed_at: closedAt }: Issue) => (closedAt ?? '') >= (downSince ?? '9')
  const isLasting = (one: (typeof ours)[number]) => one.isOpen && !one.marker?.isHealed
  const ofIncident =
    kind === 'update'
      ? (ours.find(isLasting) ?? ours.find(closedMeanwhile) ?? ours.find(({ isOpen }) => isOpen))
      : undefined
  const isRecent = (one: Issue) => ageOf(one.closed_at) < REOPENED_MS
  const newToday = ours.filter((one) => ageOf(one.created_at) < DAY_MS)
  const instead = newToday.length < MAX_NEW_A_DAY ? undefined : newToday[0]
  const target = same.find(({ isOpen }) => isOpen) ?? ofIncident ?? same.find(isRecent) ?? instead
  if (!target) {
    const label = { name: LABEL, color: 'b60205', description: 'Filed by the self-healing of an OpenClaw Gateway' }
    // It is there already, or the token may not make one.
    await call('POST', `${repository}/labels`, isAnything, label).catch((error) => {
      if (error?.answer?.kind !== 'gone') throw error
    })
    await call<Issue>('POST', `${repository}/issues`, isIssue, content)
    return
  }
  const { isOpen } = target
  const isUnwanted = !isOpen && ['not_planned', 'duplicate'].includes(target.state_reason ?? '')
  // Once a day is often enough for what heals itself.
  if (kind === 'recurred' && (isUnwanted || (isOpen && ageOf(target.updated_at) < DAY_MS))) return
  const isKept = isUnwanted || (kind === 'update' && closedMeanwhile(target))
  if (!isOpen && !isKept) await change(target, { state: 'open' })
  await say(target)
}

/** Checks whether an issue could be filed, and shows one. Files nothing: without a title it is refused (422), if the token may write. */
async function check(settings: Settings, api: string, limits: Limits) {
  const { call } = client(settings, limits)
  const repository = `${api}/repos/${settings.githubRepository}`
  const now = new Date()
  const example = { kind: 'failure', scope: 'gateway', lead: 'An example: nothing is down.' } as const
  const incident = { begin: now, lastHealthy: now, verdict: 'misconfigured', evidence: 'Invalid config', steps: [] }
  const issue = issueOf(settings, example, 'OpenClaw Gateway needs you', '', incident, now)
  const { title, body } = await contentOf(settings, issue, example.kind)
  const refused = (why: string) => ({ isTaken: false, said: `GitHub would not take issues: ${why}` })
  try {
    const { json } = await call<Repository>('GET', repository, isRepository)
    if (!json.has_issues) return refused(MEANS[410]!)
    if (json.archived) return refused('the repository is archived')
    await call('GET', `${api}/user`, isUser)
    await call('POST', `${repository}/issues`, isAnything, { labels: [LABEL] }).catch((error) => {
      if (error?.answer?.status !== 422) throw error
    })
    const readers = json.private ? 'private' : 'PUBLIC: everybody can read what is filed'
    const said = `GitHub: ${settings.githubRepository} (${readers}) would take issues such as this one; none was filed:`
    return { isTaken: true, said: `${said}\n${title}\n\n${body}` }
  } catch (error) {
    if (error instanceof Refusal) return refused(error.answer.why)
    throw error
  }
}
