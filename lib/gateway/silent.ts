/** Alive, but silent: it says that it is healthy, and gives no answers. Read in the gateway's log, now and then asked of
 * OpenClaw, and reported once while it stands. Never a reason for a restart: that mends none of it. */
import { join } from 'node:path'
import { minuteOf, spell } from '../incidents/words.ts'
import { gatewayService, type Service } from '../services/supervisor.ts'
import { MARKER, NEEDS_ATTENTION, oneLine, wholeWords } from '../tier/contract.ts'
import type { TierRun } from '../tier/run.ts'
import type { Settings } from '../tier/settings.ts'
import { type Answer, shell } from '../tier/shell.ts'
import { isRecord, readState, shaped, tried, writeState } from '../tier/state.ts'
import { ofProfile } from './advice.ts'
import { type Found, PROBE_SESSION, readFailures } from './failed-runs.ts'
import { openclawCommand } from './host.ts'
import { probe } from './probe.ts'
import { knownSecrets } from './secrets.ts'

const FINDING = { from: '' as 'log' | 'channels' | 'credentials' | 'probe', kind: '', text: '' }
type Finding = typeof FINDING

/** `quietSec`: how long it has been without a message, as far as it was watched; `longestSec`: its longest such pause before. */
const CHANNEL = { name: '', inboundMs: 0, quietSec: 0, longestSec: 0, trouble: '' }
type Channel = typeof CHANNEL

/** Times are epoch milliseconds; 0: never. `unknown`: why OpenClaw could not be asked. */
const NOTHING = { readMs: 0, askedMs: 0, probedMs: 0, findings: [FINDING], channels: [CHANNEL], unknown: '' }

export function readSilence({ watchdogDir }: Settings, keepAside = false) {
  return readState(
    join(watchdogDir, 'silence.json'),
    shaped(NOTHING),
    { ...NOTHING, findings: [], channels: [] },
    keepAside,
  )
}

export const NOT_KNOWN = 'it is not known how its channels and credentials are: '

const READ_EVERY_MS = 600_000
/** A command of OpenClaw's takes seconds of CPU. */
const ASK_EVERY_MS = 3 * 3_600_000

/**
 * Reads, asks and probes what is due of a gateway that is healthy; gives a notice of what is new. A dry run reads and
 * asks at once, says what it would give, and does not probe: that costs tokens.
 */
export async function checkForSilence(run: TierRun): Promise<void> {
  const { settings, journal, meter, dryRun } = run
  const { value: before, problem } = readSilence(settings, !dryRun)
  if (problem) journal.warn(problem)
  const nowMs = Date.now()
  // A clock that was set back does not put it off without end.
  const isDue = (lastMs: number, everyMs: number) => Math.abs(nowMs - lastMs) >= everyMs
  const after = { ...before, askedMs: before.askedMs || nowMs, probedMs: before.probedMs || nowMs }
  const isAsked = settings.quietChannelDays > 0 || settings.credentialDays > 0
  const isToRead = dryRun || isDue(before.readMs, READ_EVERY_MS)
  const isToAsk = isAsked && (dryRun || isDue(after.askedMs, ASK_EVERY_MS))
  const isToProbe = settings.probeAgent && !dryRun && isDue(after.probedMs, settings.probeAgentHours * 3_600_000)
  if (!isToRead && !isToAsk && !isToProbe) return
  const found: Finding[] = []
  const sources: Finding['from'][] = []
  const find = (from: Finding['from'], what: Found[]) => {
    sources.push(from)
    found.push(...what.map(({ kind, text }) => ({ from, kind, text: run.hide(ofProfile(settings, text)) })))
  }
  const service = await gatewayService(settings)
  // An error may quote the key that it refuses.
  run.secrets.push(...(await knownSecrets(settings)))

  if (isToRead) {
    const stands = (kind: string) => before.findings.some((one) => one.kind === kind)
    find('log', await readFailures(settings, service, stands, nowMs))
    after.readMs = nowMs
  }
  if (isToAsk) {
    const seen = await askOpenclaw(settings, service, before, nowMs)
    after.askedMs = nowMs
    after.unknown = run.hide(seen.unknown)
    if (seen.unknown) journal.info(`${NOT_KNOWN}${seen.unknown}`)
    if (seen.ofChannels) find('channels', seen.ofChannels)
    if (seen.ofCredentials) find('credentials', seen.ofCredentials)
    after.channels = seen.channels
  }
  if (isToProbe) {
    const seen = await probeAgent(settings, service)
    if (seen) find('probe', seen)
    after.probedMs = nowMs
  }

  const isOn = { log: true, channels: isAsked, credentials: isAsked, probe: settings.probeAgent }
  const isStill = ({ from }: Finding) => isOn[from] && !sources.includes(from)
  after.findings = [...before.findings.filter(isStill), ...found]
  if (!isAsked) after.unknown = ''
  // First: what cannot be remembered would be reported at each run.
  if (!dryRun) writeState(join(settings.watchdogDir, 'silence.json'), after)
  meter.set('gatewaySilent', after.findings.length)
  const isIn = (list: Finding[], { kind }: Finding) => list.some((one) => one.kind === kind)
  const news = found.filter((one) => !isIn(before.findings, one))
  if (dryRun && news.length === 0)
    journal.info('dry run: nothing new to report of its agents, channels and credentials')
  for (const one of news) {
    const notice = `${NEEDS_ATTENTION}the gateway is up, but ${one.text}; a restart will not fix this`
    if (dryRun) journal.info(`dry run: would report: ${notice}`)
    else journal.warn(MARKER.notice(notice))
  }
  for (const one of before.findings) if (!isIn(after.findings, one)) journal.info(`no longer: ${one.text}`)
}

type Json = Record<string, unknown>
const recordsIn = (value: unknown): Json[] => (Array.isArray(value) ? value.filter(isRecord) : [])
const wordsIn = (value: unknown): string => (typeof value === 'string' ? wholeWords(value, 160) : '')
const numberIn = (value: unknown): number => (typeof value === 'number' && Number.isFinite(value) ? value : 0)

/** `openclaw channels status --json` and `openclaw models status --json` (2026.9.6; its docs/cli/channels.md, docs/cli/models.md). */
async function askOpenclaw(settings: Settings, service: Service, before: typeof NOTHING, nowMs: number) {
  const $ = shell(settings, { timeoutSec: 60 })
  const openclaw = await openclawCommand(settings, service)
  const channelsAnswer = await $`${openclaw} channels status --json`
  const status = jsonOf(channelsAnswer)
  const failing = (await probe(settings, settings.healthCheckHttpTimeoutSec * 1000)).failing
  const isSeen = isRecord(status?.channelAccounts)
  const sinceMs = nowMs - before.askedMs
  const channels = isSeen ? followChannels(status, failing, before.channels, sinceMs, nowMs) : before.channels
  const modelsAnswer = await $`${openclaw} models status --json`
  const { auth } = jsonOf(modelsAnswer) ?? {}
  const unknown = [
    isSeen ? '' : (channelsAnswer.failure ?? '`openclaw channels status --json` names no channels'),
    isRecord(auth) ? '' : (modelsAnswer.failure ?? '`openclaw models status --json` names no credentials'),
  ].filter(Boolean)
  // A dry run may ask again after minutes.
  const isLater = Math.abs(sinceMs) >= ASK_EVERY_MS
  const hadTrouble = (name: string) =>
    isLater
      ? before.channels.some((one) => one.name === name && one.trouble)
      : before.findings.some(({ kind }) => kind === troubleWith(name))
  const ofChannels = isSeen ? channels.flatMap((one) => channelFindings(settings, one, hadTrouble)) : undefined
  const ofCredentials = isRecord(auth) ? credentialFindings(settings, auth, nowMs) : undefined
  return { channels, ofChannels, ofCredentials, unknown: wholeWords(unknown.join('; '), 400) }
}

const jsonOf = ({ stdout }: Answer): Json | undefined => {
  const value: unknown = tried(() => JSON.parse(stdout))
  return isRecord(value) ? value : undefined
}

/** What is remembered of each channel account that is on. Its times of messages end with the gateway's process. */
function followChannels(status: Json, failing: string[], before: readonly Channel[], sinceMs: number, nowMs: number) {
  // Of the kind `config` are opinions, as of a channel that anybody may write to.
  const issues = recordsIn(status.statusIssues).filter(({ kind }) => kind !== 'config')
  // While the machine slept, nothing was watched.
  const watchedSec = sinceMs > 0 && sinceMs < 2 * ASK_EVERY_MS ? sinceMs / 1000 : 0
  return Object.entries(status.channelAccounts as Json).flatMap(([channel, accounts]) =>
    recordsIn(accounts).flatMap((one): Channel[] => {
      if (one.enabled === false || one.configured === false) return []
      const isOnly = recordsIn(accounts).length === 1
      const name = oneLine(isOnly ? channel : `${channel} (${one.accountId})`, 60)
      // One from the future was seen while the clock was ahead.
      const known = before.find((its) => its.name === name && its.inboundMs <= nowMs) ?? { ...CHANNEL, name }
      const issue = issues.find((its) => its.channel === channel && its.accountId === one.accountId)
      const cut = one.connected === false ? 'it is not connected' : ''
      // What /readyz says is reported already.
      const trouble = failing.includes(channel) ? '' : wordsIn(issue?.message) || wordsIn(one.lastError) || cut
      const inboundMs = Math.min(numberIn(one.lastInboundAt), nowMs)
      if (inboundMs <= known.inboundMs)
        return [{ ...known, trouble, quietSec: known.inboundMs > 0 ? known.quietSec + watchedSec : 0 }]
      const longestSec = Math.max(known.longestSec, known.quietSec)
      return [{ name, inboundMs, quietSec: (nowMs - inboundMs) / 1000, longestSec, trouble }]
    }),
  )
}

const troubleWith = (channel: string) => `trouble with ${channel}`

function channelFindings({ quietChannelDays }: Settings, channel: Channel, hadTrouble: (name: string) => boolean) {
  const { name, quietSec, longestSec, trouble } = channel
  const findings: Found[] = []
  // One that was seen twice does not pass by itself.
  if (trouble && hadTrouble(name)) {
    const text = `its channel ${name} has had this trouble for hours: "${trouble}"; see \`openclaw channels status --probe\``
    findings.push({ kind: troubleWith(name), text })
  }
  if (quietChannelDays > 0 && quietSec >= Math.max(quietChannelDays * 86_400, 2 * longestSec)) {
    const longest = longestSec >= 3600 ? ` (its longest pause before: ${spell(longestSec)})` : ''
    const text = `no message has come through its channel ${name} for ${spell(quietSec)}${longest}; if that is unusual, write one, and see \`openclaw channels status --probe\``
    findings.push({ kind: `quiet ${name}`, text })
  }
  return findings
}

/** Of each provider that is in OpenClaw's order of credentials. An OAuth login is renewed when it is used: its end says nothing. */
function credentialFindings({ credentialDays }: Settings, auth: Json, nowMs: number): Found[] {
  if (credentialDays === 0) return []
  const login = (provider: string) => `\`openclaw models auth login --provider ${provider}\``
  const oauth = isRecord(auth.oauth) ? auth.oauth : {}
  const ending = recordsIn(oauth.providers).flatMap((one) => {
    const provider = oneLine(String(one.provider), 60)
    const used = recordsIn(one.effectiveProfiles)
    const ends = used.map(({ type, status, expiresAt }) => {
      if (type !== 'token') return Number.POSITIVE_INFINITY
      return status === 'expired' ? 0 : numberIn(expiresAt) || Number.POSITIVE_INFINITY
    })
    const endMs = Math.max(...ends)
    if (used.length === 0 || endMs - nowMs >= credentialDays * 86_400_000) return []
    const when = endMs > nowMs ? `expires at ${minuteOf(new Date(endMs))}` : 'has expired'
    const text = `its credential for ${provider} ${when}; put a new one in with ${login(provider)}`
    return [{ kind: `credential for ${provider}`, text }]
  })
  const disabled = recordsIn(auth.unusableProfiles).flatMap(({ profileId, kind, reason, recoveryHint }) => {
    if (kind !== 'disabled') return []
    // Its second half may be an address.
    const [first = '', second = ''] = oneLine(String(profileId), 80).split(':')
    const provider = first === 'inline-api-key' ? second : first
    const text = `OpenClaw has disabled its credential for ${provider} for now (${wordsIn(reason) || 'no reason given'}): ${wordsIn(recoveryHint) || `see \`openclaw models status\``}`
    return [{ kind: `disabled credential for ${provider}`, text }]
  })
  return [...ending, ...disabled]
}

const PROBE_LIMIT_SEC = 60

/** In a session of its own, so that it stands in no person's chat; nothing is delivered through a channel. */
async function probeAgent(settings: Settings, service: Service): Promise<Found[] | undefined> {
  const $ = shell(settings, { timeoutSec: PROBE_LIMIT_SEC + 30 })
  const openclaw = await openclawCommand(settings, service)
  const words = ['--message', 'Reply with the one word OK.', '--timeout', PROBE_LIMIT_SEC, '--json']
  const asked = await $`${openclaw} agent --session-key ${PROBE_SESSION} ${words}`
  const answer = jsonOf(asked)
  const payloads = isRecord(answer?.result) ? recordsIn(answer.result.payloads) : []
  if (asked.code === 0 && payloads.some(({ text, isError }) => typeof text === 'string' && text.trim() && !isError))
    return []
  // It may have died meanwhile, which is Level 1's.
  if ((await probe(settings, settings.healthCheckHttpTimeoutSec * 1000)).kind !== 'live') return undefined
  const said = [
    ...payloads.map(({ text }) => wordsIn(text)),
    isRecord(answer?.error) ? wordsIn(answer.error.message) : '',
  ]
  // Without the command, which may be longer than its answer.
  const failure = asked.failure?.replace(/^`.*?`: /s, '')
  const why = said.find(Boolean) ?? wholeWords(failure ?? 'an empty answer', 160)
  const text = `its agent was asked for one word and gave none: "${why}"; see \`openclaw models status\``
  return [{ kind: 'no answer to the probe', text }]
}
