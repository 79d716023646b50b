/** Level 4 as a process that files issues on GitHub: one for each failure, each piece of news once, and nothing that is private. */

import { readFileSync, writeFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { expect, test as inTurn, type TestContext } from 'vitest'
import { hash } from '../../lib/alerts/ledger.ts'
import { fingerprintOf } from '../../lib/incidents/history.ts'
import { localStamp, MARKER } from '../../lib/tier/contract.ts'
import { GITHUB_TOKEN, KEEPER, REFUSALS, REPOSITORY, startGithubApi } from '../support/github-api.ts'
import { MONITOR, monitorScene } from '../support/monitor-scene.ts'
import { addProfile } from '../support/profiles.ts'
import { projectDir } from '../support/sandbox.ts'
import { writeTierLog } from '../support/tier-logs.ts'
import { waitFor } from '../support/wait-for.ts'

const test = inTurn.concurrent
const ALONE = { DISCORD_WEBHOOK_URL: '' }
const NEW_ISSUE = /^POST \/repos\/[^?]+\/issues$/
const COMMENT = /^POST \/repos\/[^?]+\/comments$/

async function scene(t: TestContext, settings: Record<string, string> = {}) {
  const github = await startGithubApi()
  t.onTestFinished(github.close)
  const monitor = await monitorScene(t, { ...github.settings, ...settings })
  const { says, fail } = monitor
  /** Down for a known reason, and a human is called. */
  const breaks = (minutesAgo = 6, evidence = 'Invalid config: gateway.port (pid 77)') => {
    says('watchdog', minutesAgo, MARKER.down('misconfigured', evidence))
    fail('the doctor gave up', minutesAgo - 1)
  }
  const heals = (minutesAgo = 0) => says('healthcheck', minutesAgo, MARKER.recovered(2, 360))
  const states = () => github.issues.map(({ state, state_reason: reason }) => [state, reason].filter(Boolean).join(' '))
  const counts = () => [github.issues.length, github.comments.length]
  return { github, ...monitor, breaks, heals, states, counts }
}

test('an incident is one issue, however often Level 4 runs; what is new is a comment; its end closes it', async (t) => {
  const { github, breaks, heals, fail, tick, editLedger, states, counts } = await scene(t, ALONE)
  breaks()
  await tick(0, 0)
  const [issue] = github.issues
  expect(issue).toMatchObject({ labels: [{ name: 'openclaw-self-healing' }], user: { login: KEEPER } })
  expect(issue!.title).toMatch(
    /^OpenClaw Gateway needs you: its config keeps it from starting \(machine [0-9a-f]{8}\)$/,
  )
  const masked = (text: string) => text.replace(/\b[0-9a-f]{8,16}\b|[\d-]{10} \d\d:\d\d/g, '#')
  const page = readFileSync(join(projectDir, 'docs', 'alerts.md'), 'utf8')
  expect(masked(page)).toContain(`\n${masked(`${issue!.title}\n\n${issue!.body}`)}\n`)
  expect(github.labels).toEqual(['openclaw-self-healing'])

  // A human adds to it. A reminder says nothing new.
  issue!.body += '\n\nMy config again.'
  const twoHoursAgo = new Date(Date.now() - 2 * 3_600_000).toISOString()
  editLedger(({ book }) => (book.cases[0]!.openedAt = twoHoursAgo))
  await tick(0)
  expect(counts()).toEqual([1, 0])
  fail('it cannot be reinstalled', 1)
  await tick(0, 0)
  expect(github.commentsOf(1)).toEqual([expect.stringContaining('something new')])
  heals()
  await tick(0, 0)
  expect(states()).toEqual(['closed completed'])
  expect(github.commentsOf(1)[1]).toContain('ended by level 2: down for')
  expect(github.requests.filter(({ status }) => status >= 400)).toEqual([])
})

test('the same failure comes back to its issue, another one gets its own, and what a human decided stays', async (t) => {
  const { github, breaks, heals, says, fail, tick, states, counts } = await scene(t, ALONE)
  breaks(25)
  await tick(0)
  heals(20)
  await tick(0)
  // With another pid it is the same failure.
  breaks(15, 'Invalid config: gateway.port (pid 99)')
  await tick(0)
  expect(states()).toEqual(['open reopened'])
  expect(github.commentsOf(1)[1]).toMatch(/came once before/)
  // Closed by a human while it lasts: its end does not touch it.
  Object.assign(github.issues[0]!, {
    state: 'closed',
    state_reason: 'not_planned',
    closed_at: new Date().toISOString(),
  })
  heals(12)
  await tick(0)
  expect([states(), counts()]).toEqual([['closed not_planned'], [1, 2]])
  breaks(10)
  await tick(0)
  expect([states(), counts()]).toEqual([['closed not_planned'], [1, 3]])
  heals(8)
  await tick(0)
  // The fourth in two hours: that it is flapping is told in the issue of this failure, also when the former is old.
  Object.assign(github.issues[0]!, { closed_at: new Date(Date.now() - 40 * 86_400_000).toISOString() })
  breaks(6)
  await tick(0)
  expect(states()).toEqual(['closed not_planned', 'open'])
  expect(github.issues[1]!.title).toContain('fails again and again')
  heals(4)
  says('watchdog', 3, MARKER.down('broken-install', 'ERR_MODULE_NOT_FOUND'))
  fail('the package is damaged', 2)
  await tick(0, 0)
  expect(states()).toEqual(['closed not_planned', 'open', 'open'])
})

test('what heals itself is filed when it comes again, at most once a day, and stays open', async (t) => {
  const { github, says, tick, editLedger, states, counts } = await scene(t, ALONE)
  const heal = (minutesAgo: number, evidence: string) => {
    says('watchdog', minutesAgo, MARKER.down('absent', evidence))
    says('watchdog', minutesAgo - 1, MARKER.recovered(1, 18))
  }
  heal(29, 'no process; exit code 7')
  await tick(0)
  expect(github.requests).toEqual([])
  heal(20, 'no process; exit code 9')
  await tick(0)
  expect(github.issues[0]!.title).toMatch(/keeps failing: there is no process/)
  expect(github.issues[0]!.body).toMatch(/came once before[\s\S]*ended by level 1/)
  heal(10, 'no process; exit code 9')
  await tick(0, 0)
  expect([states(), counts()]).toEqual([['open'], [1, 0]])
  Object.assign(github.issues[0]!, { updated_at: new Date(Date.now() - 2 * 86_400_000).toISOString() })
  editLedger(({ book }) => (book.histories = []))
  heal(7, 'no process; exit code 9')
  await tick(0)
  expect(github.commentsOf(1)).toEqual([expect.stringContaining('came 3 times before')])
  says('watchdog', 3, MARKER.down('absent', 'no process; exit code 9'))
  says('watchdog', 2, MARKER.manual('x'))
  await tick(0)
  // A human was called for it, and it is over: that is said where the failure has its issue, which a human closes.
  expect(counts()).toEqual([1, 2])
  says('healthcheck', 0, MARKER.recovered(2, 60))
  await tick(0)
  expect([states(), counts()]).toEqual([['open'], [1, 3]])
})

test('without the right to set labels nothing is filed twice, and nothing is closed', async (t) => {
  const { github, breaks, fail, heals, tick, states, counts } = await scene(t, ALONE)
  github.situation.mayPush = false
  breaks()
  await tick(0)
  fail('it cannot be reinstalled', 1)
  await tick(0)
  expect(counts()).toEqual([1, 1])
  heals()
  await tick(0)
  expect([states(), counts()]).toEqual([['open'], [1, 1]])
})

for (const [what, kill, comments] of [
  ['its issue', NEW_ISSUE, 0],
  ['its end', COMMENT, 1],
  ['the comment on its end, not the closing,', /^PATCH/, 1],
] as const)
  test(`killed after GitHub took ${what} and before that was noted, Level 4 files nothing twice`, async (t) => {
    const { github, sandbox, breaks, heals, tick, states, counts } = await scene(t, ALONE)
    breaks()
    if (comments > 0) {
      await tick(0)
      heals()
    }
    github.answerNext(kill, 'hang', kill.source !== '^PATCH')
    const killed = sandbox.startScript(MONITOR)
    await waitFor(() => github.requests.some(({ status }) => status === 0), 'the request')
    killed.child.kill('SIGKILL')
    await killed.finished
    await tick(0, 0)
    expect(counts()).toEqual([1, comments])
    expect(states()).toEqual([comments > 0 ? 'closed completed' : 'open'])
  })

test('GitHub limits requests: Level 4 waits until they are allowed again, and files once', async (t) => {
  const { github, breaks, tick, editLedger, counts, ledgerPath } = await scene(t, ALONE)
  breaks()
  github.answerNext(/GET \/user/, REFUSALS.outOfRequests(1800))
  await tick(1, 1)
  expect(github.requests).toHaveLength(1)
  const { channels } = JSON.parse(readFileSync(ledgerPath, 'utf8'))
  const waitSec = (channels.GitHub.notBeforeMs - Date.now()) / 1000
  expect(waitSec).toBeGreaterThan(1500)
  expect(waitSec).toBeLessThan(1810)
  editLedger((ledger) => (ledger.channels.GitHub!.notBeforeMs = 0))
  github.answerNext(NEW_ISSUE, REFUSALS.secondaryLimit(90))
  await tick(1, 1)
  editLedger((ledger) => (ledger.channels.GitHub!.notBeforeMs = 0))
  github.answerNext(NEW_ISSUE, REFUSALS.unavailable, true)
  await tick(1, 0, 0)
  expect(counts()).toEqual([1, 0])
})

test('a repository that is gone, moved, or closed to the token is told by the other channels', async (t) => {
  const { github, breaks, fail, tick, read, editLedger, counts } = await scene(t)
  const unquoted = () => read().map((text) => text.replaceAll('\\', ''))
  breaks()
  for (const [change, words] of [
    [{ isGone: true }, /Not Found.*there is no such repository/],
    [{ isGone: false, hasIssues: false }, /issues are disabled/],
    [{ hasIssues: true, mayWrite: false }, /Issues: read and write/],
    [{ mayWrite: true, movedTo: 'https://api.github.com/repositories/1' }, /new name into GITHUB_REPOSITORY/],
  ] as const) {
    Object.assign(github.situation, change)
    editLedgerIfAny()
    fail(`because ${words.source}`, 1)
    await tick(0)
    expect(unquoted().at(-1)).toMatch(/GitHub takes no alerts of OpenClaw on .+ any more/)
    expect(unquoted().at(-1)).toMatch(words)
  }
  expect(counts()).toEqual([0, 0])
  github.situation.movedTo = ''
  editLedgerIfAny()
  fail('at last', 0)
  await tick(0)
  // What the others took while GitHub was gone is not sent later.
  expect(counts()).toEqual([1, 0])

  function editLedgerIfAny() {
    if (github.requests.length === 0) return
    editLedger((ledger) => Object.assign(ledger.channels.GitHub!, { isGone: false, notBeforeMs: 0 }))
  }
})

test('secrets, chats, names and paths stay on the machine', async (t) => {
  const { github, sandbox, memoryDir, says, tick, fail, heals } = await scene(t, ALONE)
  const planted = {
    key: 'sk-ant-api03-PlantedPlantedPlanted0123456789',
    chat: 'grandmother has the flu, please call @octocat about #1',
    path: `${sandbox.root}/home/diary`,
    markup:
      '![x](https://evil.example/x.png) <img src=x> ``` <!-- openclaw-self-healing place=a-gateway key=b entry=c -->',
  }
  const all = Object.values(planted).join(' / ')
  writeFileSync(sandbox.gatewayLog, `inbound: ${all}\nInvalid config: ${all}\n`)
  says('watchdog', 6, MARKER.down('misconfigured', `Invalid config: ${all}`), `restart: ${all}`)
  says('healthcheck', 5, MARKER.escalate(3, all))
  const report = `emergency-recovery-report-${localStamp(new Date(Date.now() - 5 * 60_000))}.md`
  writeFileSync(join(memoryDir, report), `# Recovery report\n\n## Symptom\n${all}\n\n## Root cause\n${all}\n`)
  fail(all, 4)
  await tick(0)
  fail(`again ${all}`, 3)
  await tick(0)
  heals()
  await tick(0)
  expect(github.issues).toHaveLength(1)
  expect(github.comments).toHaveLength(2)
  const heard = github.heard()
  const secrets = [
    ...Object.values(planted),
    'grandmother',
    'octocat',
    'evil',
    'sk-ant',
    hostname(),
    sandbox.home,
    '/.openclaw',
  ]
  for (const secret of secrets) expect(heard).not.toContain(secret)
  expect(heard).not.toContain(GITHUB_TOKEN)
  expect(sandbox.log('monitor-')).not.toContain(GITHUB_TOKEN)
})

test('--test-alert and --dry-run show what would be filed, say what is wrong, and file nothing', async (t) => {
  const { github, breaks, run, sandbox } = await scene(t, ALONE)
  expect(await run(0, ['--test-alert'])).toMatch(
    /GitHub alone wakes no person[\s\S]*GitHub: keeper\/home-server \(private\)[\s\S]*none was filed[\s\S]*needs you: its config[\s\S]*What to do[\s\S]*<!-- openclaw-self-healing/,
  )
  for (const [change, code, words] of [
    [{ isPrivate: false }, 0, /PUBLIC: everybody can read/],
    [{ hasIssues: false }, 1, /issues are disabled/],
    [{ hasIssues: true, isArchived: true }, 1, /archived/],
    [{ isArchived: false, mayWrite: false }, 1, /Issues: read and write/],
    [{ mayWrite: true, isApp: true }, 1, /not accessible by integration/],
    [{ isApp: false, isGone: true }, 1, /check GITHUB_REPOSITORY/],
  ] as const) {
    Object.assign(github.situation, change)
    expect(await run(code, ['--test-alert'])).toMatch(words)
  }
  breaks()
  const asked = github.requests.length
  expect(await run(1, ['--dry-run'])).toMatch(
    /would file on GitHub[\s\S]*needs you: its config[\s\S]*correct its config/,
  )
  expect(github.requests).toHaveLength(asked)
  expect(github.issues).toEqual([])
  const misset = async (settings: Record<string, string>) => {
    sandbox.writeEnvFile({ ...github.settings, ...settings })
    const said = await run(1, ['--test-alert'])
    expect(said).not.toContain(GITHUB_TOKEN)
    return said
  }
  sandbox.writeEnvFile({})
  const inRunner = await run(1, ['--test-alert'], { env: { GITHUB_REPOSITORY: REPOSITORY } })
  expect(inRunner).not.toContain('GITHUB')
  const tokens = ['', 'ghx wrong', `${GITHUB_TOKEN}\\nx`, `${GITHUB_TOKEN}é`]
  for (const token of tokens)
    expect(await misset({ GITHUB_ISSUES_TOKEN: token })).toMatch(/GITHUB_ISSUES_TOKEN is not set, or/)
  const names = ['', 'keeper', 'keeper/..', '../user', 'https://github.com/keeper/home-server', 'keeper/a/b', 'a/b?c']
  for (const name of names)
    expect(await misset({ GITHUB_REPOSITORY: name })).toMatch(/GITHUB_REPOSITORY is not set, or/)
  for (const url of ['http://example.com/api/v3', 'http://127.0.0.1.example.com', 'http://127.0.0.1@example.com'])
    expect(await misset({ GITHUB_API_URL: url })).toMatch(/GITHUB_API_URL does not begin with https/)
  expect(github.requests).toHaveLength(asked)
  expect(await misset({ GITHUB_ISSUES_TOKEN: `github_pat_${'x'.repeat(60)}` })).toMatch(
    /Bad credentials.*GITHUB_ISSUES_TOKEN/,
  )
  expect(github.requests.filter(({ path }) => path !== '/user' && !path.startsWith(`/repos/${REPOSITORY}`))).toEqual([])
})

test('only what is ours is touched: by the author, the label and the machine', async (t) => {
  const { github, sandbox, breaks, heals, tick, states } = await scene(t, ALONE)
  breaks(20)
  await tick(0)
  const [first] = github.issues
  // A copy of its text by a stranger, one without the label, and two hundred more.
  github.addIssue({ ...first!, user: { login: 'stranger' }, labels: [{ name: 'openclaw-self-healing' }] })
  github.addIssue({ ...first!, labels: [] })
  for (let i = 0; i < 250; i++) github.addIssue({ title: `chore ${i}`, body: 'x' })
  const work = await addProfile(sandbox, 'work')
  writeFileSync(
    join(work.stateDir, '.env'),
    Object.entries(github.settings)
      .map(([k, v]) => `${k}=${v}\n`)
      .join(''),
  )
  writeTierLog(work.memoryDir, 'watchdog', {
    text: MARKER.down('misconfigured', 'Invalid config: gateway.port (pid 77)'),
    minutesAgo: 19,
  })
  writeTierLog(work.memoryDir, 'emergency-recovery', { text: MARKER.manual('the doctor gave up'), minutesAgo: 18 })
  expect(await work.run(MONITOR)).toMatchObject({ code: 0 })
  const ofWork = github.issues.length - 1
  expect(github.issues[ofWork]!.title).toContain('needs you')
  heals()
  await tick(0)
  expect([states()[0], states()[1], states()[2], states()[ofWork]]).toEqual([
    'closed completed',
    'open',
    'open',
    'open',
  ])
})

test('what GitHub may have taken is asked for at once, and what came after it waits: nothing stays open', async (t) => {
  const { github, breaks, heals, tick, states, read } = await scene(t, { ALERT_HTTP_TIMEOUT: '2' })
  breaks()
  for (let i = 0; i < 3; i++) {
    github.answerNext(NEW_ISSUE, 'hang')
    await tick(1)
    // The others neither wait for it nor hear it again.
    expect(read()).toHaveLength(1)
  }
  heals()
  await tick(0, 0)
  expect(states()).toEqual(['closed completed'])
})

test('comments of strangers, as many and as long as they like, stop nothing', async (t) => {
  const { github, breaks, heals, tick, states } = await scene(t, ALONE)
  breaks()
  await tick(0)
  const one = { issue: 1, body: '\n'.repeat(65_536), user: { login: 'stranger' }, updated_at: new Date().toISOString() }
  for (let id = 1; id <= 120; id++) github.comments.push({ ...one, id })
  heals()
  await tick(0)
  expect(states()).toEqual(['closed completed'])
})

test('whatever words a failure has, a gateway opens no more than five issues a day', async (t) => {
  const { github, breaks, heals, tick, states, counts } = await scene(t, ALONE)
  breaks(28)
  await tick(0)
  heals(24)
  await tick(0)
  const [first] = github.issues
  const withKey = (key: string) => first!.body.replace(/key=\w+/, `key=${key}`)
  for (const key of ['b', 'c', 'd']) github.addIssue({ ...first!, body: withKey(key) })
  breaks(20, 'Invalid config: the fifth')
  await tick(0)
  heals(16)
  await tick(0)
  expect(counts()).toEqual([5, 2])
  breaks(12, 'Invalid config: the sixth')
  await tick(0)
  expect(counts()).toEqual([5, 3])
  expect(states().filter((state) => state.startsWith('open'))).toHaveLength(1)
  heals(8)
  await tick(0)
  expect(states()).toEqual(Array(5).fill('closed completed'))
})

test('what is new in an incident whose beginning GitHub did not take opens the issue of that failure again', async (t) => {
  const { github, breaks, heals, fail, tick, states, editLedger } = await scene(t)
  breaks(20)
  await tick(0)
  heals(15)
  await tick(0)
  Object.assign(github.issues[0]!, { closed_at: new Date(Date.now() - 5 * 86_400_000).toISOString() })
  github.situation.isGone = true
  breaks(10)
  await tick(0)
  github.situation.isGone = false
  editLedger((ledger) => Object.assign(ledger.channels.GitHub!, { isGone: false, notBeforeMs: 0 }))
  fail('it cannot be reinstalled', 1)
  await tick(0)
  expect([states(), github.comments.length]).toEqual([['open reopened'], 2])
})

test('while GitHub takes nothing, what heals itself again and again waits once, and drops no call for a human', async (t) => {
  const { github, says, tick, counts, ledgerPath } = await scene(t, ALONE)
  for (const [minutesAgo, code] of [
    [29, 0],
    [20, 1],
    [11, 1],
  ] as const) {
    says('watchdog', minutesAgo, MARKER.down('absent', 'no process; exit code 7'))
    says('watchdog', minutesAgo - 1, MARKER.recovered(1, 18))
    if (code > 0) github.answerNext(/GET \/user/, REFUSALS.unavailable)
    await tick(code)
  }
  expect(JSON.parse(readFileSync(ledgerPath, 'utf8')).outbox).toHaveLength(1)
  await tick(0, 0)
  expect(counts()).toEqual([1, 0])
})

test('what is new in an incident stands in its own issue, not in that of what heals itself', async (t) => {
  const { github, breaks, fail, says, tick } = await scene(t, ALONE)
  for (const minutesAgo of [29, 24]) {
    says('watchdog', minutesAgo, MARKER.down('absent', 'no process; exit code 7'))
    says('watchdog', minutesAgo - 1, MARKER.recovered(1, 18))
  }
  await tick(0)
  breaks(15)
  await tick(0)
  expect(github.issues).toHaveLength(2)
  // A human writes something there.
  Object.assign(github.issues[0]!, { updated_at: new Date(Date.now() + 60_000).toISOString() })
  says('watchdog', 3, MARKER.down('broken-install', 'ERR_MODULE_NOT_FOUND'))
  fail('the package is damaged', 2)
  await tick(0)
  expect([github.commentsOf(1).length, github.commentsOf(2).length]).toEqual([0, 1])
})

test('the times of an issue are UTC, and nobody can guess the words behind its hashes', async (t) => {
  const { github, heals, breaks, tick } = await scene(t, ALONE)
  const evidence = 'Invalid config: gateway.port'
  for (const minutesAgo of [28, 22, 16, 10]) {
    breaks(minutesAgo, evidence)
    if (minutesAgo > 10) heals(minutesAgo - 5)
  }
  await tick(0)
  expect(github.heard()).toMatch(/fails again and again[\s\S]*Failed 4 times since [\d-]{10} \d\d:\d\d UTC/)
  expect(github.heard()).not.toContain(hash(fingerprintOf({ verdict: 'misconfigured', evidence })))
})

test('answers that are not of GitHub, or come late, harm nothing', async (t) => {
  const { github, breaks, tick, counts } = await scene(t, { ...ALONE, ALERT_HTTP_TIMEOUT: '2' })
  breaks()
  const bodies = ['<html>log in</html>', 'null', '[]', '{"login":7}', 'OK', '{}'].map((body) => ({ status: 200, body }))
  const location = { location: `${github.settings.GITHUB_API_URL}/elsewhere` }
  for (const answer of [...bodies, 'hang', 'reset', { status: 302, headers: location }, { status: 500 }] as const) {
    github.answerNext(/GET \/user/, answer)
    await tick(1)
  }
  for (const answer of [
    bodies[1]!,
    bodies[5]!,
    { status: 200, body: '[null]' },
    { status: 200, body: '[{"body":1}]' },
  ]) {
    github.answerNext(/GET .*\/issues\?/, answer)
    await tick(1)
  }
  expect(github.requests.filter(({ path }) => path === '/user')).toHaveLength(14)
  expect(github.requests.filter(({ path }) => path === '/elsewhere')).toEqual([])
  github.answerNext(NEW_ISSUE, { status: 201, body: 'created' }, true)
  await tick(1, 0)
  expect(counts()).toEqual([1, 0])
})
