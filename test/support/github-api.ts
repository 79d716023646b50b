/**
 * GitHub's REST API (2022-11-28) as far as issues need it, as strict as it documents itself: the headers that it wants,
 * its limits and its errors. https://docs.github.com/en/rest/issues, …/rest/using-the-rest-api/getting-started-with-the-rest-api,
 * …/using-pagination-in-the-rest-api, …/rate-limits-for-the-rest-api and …/troubleshooting-the-rest-api.
 */
import type { IncomingMessage } from 'node:http'
import { listen, type Reply, type ScriptedAnswer } from './webhook-receiver.ts'

export const GITHUB_TOKEN = 'github_pat_11AStandIn0aBcDeFgHiJk_LmNoPqRsTuVwXyZ0123456789'
export const REPOSITORY = 'keeper/home-server'
export const KEEPER = 'keeper'

type Json = Record<string, unknown>
export interface StoredIssue {
  number: number
  title: string
  body: string
  state: 'open' | 'closed'
  state_reason: string | null
  labels: { name: string }[]
  user: { login: string }
  created_at: string
  updated_at: string
  closed_at: string | null
  pull_request?: object
}
export interface StoredComment {
  id: number
  issue: number
  body: string
  user: { login: string }
  updated_at: string
}
/** What a test may change: what the token may do, and what the repository is. */
const SITUATION = {
  ...{ isPrivate: true, hasIssues: true, isArchived: false, mayWrite: true, mayPush: true, isGone: false },
  ...{ movedTo: '', isApp: false },
}

const now = () => `${new Date().toISOString().slice(0, 19)}Z`
const reply = (status: number, body: unknown, headers: Record<string, string> = {}): Reply => {
  return {
    status,
    body: JSON.stringify(body),
    headers: { 'content-type': 'application/json; charset=utf-8', ...headers },
  }
}
const refusal = (status: number, message: string, headers = {}) =>
  reply(status, { message, documentation_url: 'https://docs.github.com/rest', status: String(status) }, headers)

export const REFUSALS = {
  /** The primary limit: https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit */
  outOfRequests: (sec: number) =>
    refusal(403, 'API rate limit exceeded for user ID 1.', {
      'x-ratelimit-limit': '5000',
      'x-ratelimit-remaining': '0',
      'x-ratelimit-reset': String(Math.ceil(Date.now() / 1000) + sec),
    }),
  secondaryLimit: (sec?: number) =>
    refusal(403, 'You have exceeded a secondary rate limit.', sec === undefined ? {} : { 'retry-after': String(sec) }),
  unavailable: refusal(503, 'Service Unavailable'),
}

export type GithubApi = Awaited<ReturnType<typeof startGithubApi>>

export async function startGithubApi() {
  const issues: StoredIssue[] = []
  const comments: StoredComment[] = []
  const labels: string[] = []
  const situation = { ...SITUATION }
  const requests: { method: string; path: string; text: string; status: number }[] = []
  const scripted: { when: RegExp; answer: ScriptedAnswer; isTaken: boolean }[] = []
  let problems: string[] = []

  function addIssue(fields: Partial<StoredIssue>): StoredIssue {
    const at = now()
    const usual = {
      title: 't',
      body: '',
      state: 'open',
      state_reason: null,
      labels: [],
      user: { login: KEEPER },
    } as const
    const times = { created_at: at, updated_at: at, closed_at: null }
    const issue = { ...usual, labels: [] as { name: string }[], ...times, ...fields, number: issues.length + 1 }
    issues.push(issue)
    return issue
  }

  function page<T>(found: T[], { origin, pathname, searchParams }: URL): Reply {
    const per = Number(searchParams.get('per_page') ?? 30)
    const number = Number(searchParams.get('page') ?? 1)
    if (!(per >= 1 && per <= 100)) problems.push('per_page is at most 100')
    const next = new URL(`${origin}${pathname}?${searchParams}`)
    next.searchParams.set('page', String(number + 1))
    const link: Record<string, string> = found.length > number * per ? { link: `<${next}>; rel="next"` } : {}
    return reply(200, found.slice((number - 1) * per, number * per), link)
  }

  function answer({ method = '', headers, url = '' }: IncomingMessage, text: string): Reply {
    const at = new URL(url, `http://${headers.host}`)
    const path = at.pathname
    // Administrative rules: without it, 403 in plain words.
    if (!headers['user-agent']) return { status: 403, body: 'Request forbidden by administrative rules.' }
    if (headers.accept !== 'application/vnd.github+json') problems.push('no media type of GitHub')
    if (headers['x-github-api-version'] !== '2022-11-28') problems.push('no version of the API')
    if (headers.authorization !== `Bearer ${GITHUB_TOKEN}`) return refusal(401, 'Bad credentials')
    // An app's own token, such as that of a workflow, has no user.
    if (path === '/user')
      return situation.isApp
        ? refusal(403, 'Resource not accessible by integration')
        : reply(200, { login: KEEPER, id: 1 })
    const root = `/repos/${REPOSITORY}`
    if (situation.isGone || !(path === root || path.startsWith(`${root}/`))) return refusal(404, 'Not Found')
    if (situation.movedTo)
      return reply(301, { message: 'Moved Permanently', url: situation.movedTo }, { location: situation.movedTo })
    const rest = path.slice(root.length)
    if (rest === '' && method === 'GET')
      return reply(200, {
        ...{ full_name: REPOSITORY, private: situation.isPrivate, has_issues: situation.hasIssues },
        ...{ archived: situation.isArchived, permissions: { admin: true, push: situation.mayPush, pull: true } },
      })
    if (!situation.hasIssues) return refusal(410, 'Issues has been disabled in this repository.')
    if (method !== 'GET' && !situation.mayWrite) return refusal(403, 'Resource not accessible by personal access token')
    let json: Json = {}
    if (method !== 'GET')
      try {
        json = JSON.parse(text) as Json
      } catch {
        return refusal(400, 'Problems parsing JSON')
      }
    const [, number, more] = /^\/issues\/(\d+)(\/comments)?$/.exec(rest) ?? []
    const issue = issues.find((one) => one.number === Number(number))
    if (number && !issue) return refusal(404, 'Not Found')
    if (rest === '/labels' && method === 'POST') return makeLabel(json)
    if (rest === '/issues' && method === 'GET') return listIssues(at)
    if (rest === '/issues' && method === 'POST') return makeIssue(json)
    if (issue && more && method === 'POST') return comment(issue, json)
    if (issue && more && method === 'GET') {
      const since = at.searchParams.get('since') ?? ''
      if (since && Number.isNaN(Date.parse(since))) problems.push('since is no time')
      return page(
        comments.filter((one) => one.issue === issue.number && Date.parse(one.updated_at) >= (Date.parse(since) || 0)),
        at,
      )
    }
    if (issue && !more && method === 'PATCH') return change(issue, json)
    return refusal(404, 'Not Found')
  }

  function makeLabel({ name, color, description }: Json): Reply {
    if (typeof name !== 'string' || !/^[0-9a-f]{6}$/i.test(String(color)) || String(description).length > 100)
      return refusal(422, 'Validation Failed')
    if (!situation.mayPush) return refusal(403, 'Resource not accessible by personal access token')
    if (labels.includes(name)) return refusal(422, 'Validation Failed: already_exists')
    labels.push(name)
    return reply(201, { name, color, description })
  }

  function listIssues(at: URL): Reply {
    const { searchParams: asked } = at
    const state = asked.get('state') ?? 'open'
    const found = issues
      .filter((one) => state === 'all' || one.state === state)
      .filter((one) => !asked.get('creator') || one.user.login === asked.get('creator'))
    const key = asked.get('sort') === 'updated' ? 'updated_at' : 'created_at'
    return page(
      found.toSorted((a, b) => b[key].localeCompare(a[key]) || b.number - a.number),
      at,
    )
  }

  function makeIssue({ title, body = '', labels: names = [] }: Json): Reply {
    if (typeof title !== 'string' || title.trim() === '')
      return refusal(422, 'Invalid request.\n\n"title" wasn\'t supplied.')
    if (title.length > 256 || String(body).length > 65_536) return refusal(422, 'Validation Failed')
    // Without push access labels are dropped in silence.
    const given = situation.mayPush ? (names as string[]) : []
    for (const name of given) if (!labels.includes(name)) labels.push(name)
    return reply(201, addIssue({ title, body: String(body), labels: given.map((name) => ({ name })) }))
  }

  function comment(issue: StoredIssue, { body }: Json): Reply {
    if (typeof body !== 'string' || body.trim() === '' || body.length > 65_536) return refusal(422, 'Validation Failed')
    const one = { id: comments.length + 1, issue: issue.number, body, user: { login: KEEPER }, updated_at: now() }
    issue.updated_at = one.updated_at
    comments.push(one)
    return reply(201, one)
  }

  function change(issue: StoredIssue, { state, state_reason: reason }: Json): Reply {
    const reasons = ['completed', 'not_planned', 'duplicate', 'reopened', null, undefined]
    if (!['open', 'closed'].includes(String(state)) || !reasons.includes(reason as string))
      return refusal(422, 'Validation Failed')
    if (state !== issue.state)
      Object.assign(issue, {
        ...{ state, state_reason: state === 'open' ? 'reopened' : (reason ?? 'completed') },
        closed_at: state === 'closed' ? now() : null,
      })
    issue.updated_at = now()
    return reply(200, issue)
  }

  const { origin, close } = await listen((request, text) => {
    const { method = '', url: path = '' } = request
    const at = scripted.findIndex(({ when }) => when.test(`${method} ${path}`))
    const planned = at < 0 ? undefined : scripted.splice(at, 1)[0]!
    problems = []
    const usual = planned && !planned.isTaken ? undefined : answer(request, text)
    if (problems.length > 0) requests.push({ method, path, text: problems.join('; '), status: 400 })
    const given = planned?.answer ?? (problems.length > 0 ? refusal(400, problems.join('; ')) : usual!)
    requests.push({ method, path, text, status: typeof given === 'string' ? 0 : given.status })
    return given
  })
  return {
    ...{ issues, comments, labels, situation, requests, addIssue },
    commentsOf: (number: number) => comments.filter(({ issue }) => issue === number).map(({ body }) => body),
    /** Everything that ever came, as text. */
    heard: () => requests.map(({ method, path, text }) => `${method} ${path} ${text}`).join('\n'),
    /** The next request that matches (`POST /repos/…/issues`) is answered so; `isTaken`: and done all the same. */
    answerNext: (when: RegExp, answer: ScriptedAnswer, isTaken = false) =>
      void scripted.push({ when, answer, isTaken }),
    settings: { GITHUB_REPOSITORY: REPOSITORY, GITHUB_ISSUES_TOKEN: GITHUB_TOKEN, GITHUB_API_URL: origin },
    close,
  }
}
