/** Looking after one's peers: finds the dead (lib/tier/peers.ts), revives them, and calls the human when that fails. */
import { setTimeout as delay } from 'node:timers/promises'
import { ABOUT_WATCHERS, MARKER, oneLine, type TierName } from '../tier/contract.ts'
import { markedLines, recentLogs } from '../tier/journal.ts'
import { lockHolder } from '../tier/lock.ts'
import {
  afterRevival,
  isInstalled,
  observe,
  type PeerBook,
  readPeerBook,
  receiptPath,
  type Suspect,
  sight,
  WATCHES,
  type Watcher,
  writePeerBook,
} from '../tier/peers.ts'
import type { TierRun } from '../tier/run.ts'
import { askJobs, type Job, type JobTier } from './jobs.ts'
import { type Receipt, readReceipt } from './receipt.ts'
import { endRun, type Revival, reviveCron, reviveScheduled, waitForHeartbeat } from './revive.ts'
import { runMonitorIfCronIsDead } from './stand-in.ts'

/** What a look at the peers came to. */
export interface PeerCare {
  /** False: nothing is installed, so nobody is missed. */
  installed: boolean
  /** False: this watcher is late or new itself (sleep, boot, pause, install), so it accuses nobody. */
  onTime: boolean
  /** Peers that were found dead and are not alive again yet. */
  dead: TierName[]
  /** Peers that were found dead and live again. */
  revived: TierName[]
}

/** One watcher's look at its peers, with all that is known for it. */
interface Round {
  run: TierRun
  watcher: Watcher
  book: PeerBook
  /** Undefined: it cannot be read. */
  receipt: Receipt | undefined
  /** What launchd or systemd said of the jobs; empty when they were not asked. */
  jobs: ReadonlyMap<JobTier, Job>
  care: PeerCare
}

/**
 * Looks at the watcher's peers once, and does what has to be done about them. When all are alive it stats a few files,
 * writes one, and (the guardian only) asks launchd or systemd about the jobs.
 * Throws when the state folder cannot be written.
 */
export async function lookAfterPeers(run: TierRun, watcher: Watcher): Promise<PeerCare> {
  const { settings, journal, dryRun } = run
  const care: PeerCare = { installed: isInstalled(settings), onTime: false, dead: [], revived: [] }
  if (!care.installed) return care
  const now = new Date()
  const before = readPeerBook(settings, watcher, dryRun)
  if (before.problem) journal.warn(before.problem)
  const sightings = Object.fromEntries(WATCHES[watcher].map((tier) => [tier, sight(settings, tier, now)]))
  const { book, suspects, onTime, steady } = observe(before.value, watcher, sightings, settings, now.getTime())
  care.onTime = onTime
  if (!dryRun) writePeerBook(settings, watcher, book)
  for (const tier of steady) journal.info(`${tier} runs by itself again`)

  if (suspects.length === 0 && watcher !== 'guardian') return care

  const round: Round = { run, watcher, book, receipt: readReceipt(settings), jobs: new Map(), care }
  if (watcher === 'guardian' && onTime) suspects.push(...(await findUnregistered(round)))
  suspects.sort((a, b) => PLAINEST_FIRST.indexOf(a.sign) - PLAINEST_FIRST.indexOf(b.sign))
  for (const group of byCause(suspects, round.receipt))
    if (!group.some(({ tier }) => isSettled(care, tier))) await treat(round, group)
  return care
}

/** A peer with several signs is treated for the first: a run that hangs, or a job that is not there, explains silence. */
const PLAINEST_FIRST: Suspect['sign'][] = ['overdue', 'unregistered', 'silent']

function isSettled(care: PeerCare, tier: TierName): boolean {
  return care.dead.includes(tier) || care.revived.includes(tier)
}

/**
 * `lookAfterPeers` for Levels 1 and 2, whose own work is the gateway: whatever goes wrong here is only said. Level 2 also
 * stands in for a dead cron.
 */
export async function glanceAtPeers(run: TierRun, watcher: 'watchdog' | 'healthcheck'): Promise<void> {
  if (run.signal.aborted) return
  try {
    await lookAfterPeers(run, watcher)
    if (watcher === 'healthcheck') await runMonitorIfCronIsDead(run)
  } catch (error) {
    run.journal.warn(`the peers could not be looked after: ${oneLine(String(error))}`)
  }
}

/**
 * Asks launchd or systemd for the jobs. Those that they do not have are asked for a second time: an installer at work
 * takes them out for a moment.
 */
async function findUnregistered(round: Round): Promise<Suspect[]> {
  const { settings, journal } = round.run
  const scheduler = round.receipt?.scheduler
  if (scheduler === undefined || scheduler === 'cron') return []
  const missing = async () => {
    round.jobs = await askJobs(settings, scheduler, ['watchdog', 'healthcheck'])
    return [...round.jobs].filter(([, { registered }]) => registered === false)
  }
  let found = await missing()
  const isKnown = ([tier]: [JobTier, Job]) => (round.book.peers[tier]?.revivals ?? 0) > 0
  if (!found.every(isKnown)) {
    await delay(round.run.settings.guardianPatienceSec * 1000)
    found = await missing()
  }
  for (const [tier, { registered, detail }] of round.jobs)
    if (registered === undefined) journal.info(`whether ${tier} is registered is unknown: ${detail}`)
  return found.map(([tier, { detail, pid }]) => {
    return { tier, sign: 'unregistered', evidence: `is not registered (${detail})`, pid }
  })
}

/** What cron starts has one cause when it is silent together; the human gets one message. */
function byCause(suspects: Suspect[], receipt: Receipt | undefined): Suspect[][] {
  const isCrons = ({ tier, sign }: Suspect) => sign === 'silent' && isRunByCron(tier, receipt)
  // Where cron was not to be had, the installation wrote no lines, and nothing of cron's is missed.
  const silentByCron = receipt?.cronLines.length === 0 ? [] : suspects.filter(isCrons)
  const others = suspects.filter((suspect) => !isCrons(suspect)).map((suspect) => [suspect])
  return silentByCron.length > 0 ? [...others, silentByCron] : others
}

function isRunByCron(tier: TierName, receipt: Receipt | undefined): boolean {
  return tier === 'monitor' || tier === 'guardian' || (tier !== 'emergency-recovery' && receipt?.scheduler === 'cron')
}

/** @param suspects one peer, or several with one cause */
async function treat(round: Round, suspects: Suspect[]): Promise<void> {
  const { run, watcher, book, care } = round
  const { settings, journal, dryRun } = run
  const [first] = suspects as [Suspect]
  const isRunning = (await lockHolder(settings, first.tier)) !== undefined
  // A long run writes no log for as long as it waits for the gateway; and a dead run's lock file is no hanging run.
  if (first.sign === (isRunning ? 'silent' : 'overdue')) return
  const { revivals, heartbeatMs } = book.peers[first.tier]!
  // Nobody is accused at first sight: in the seconds after waking up everybody is late, and who runs first is chance.
  if (first.sign === 'silent' && revivals === 0 && (await waitForHeartbeat(run, first.tier, heartbeatMs))) return
  if (run.signal.aborted || !isInstalled(settings)) return
  const found = suspects.map(({ tier, evidence }) => `${tier} ${evidence}`).join('; ')
  const tiers = suspects.map(({ tier }) => tier)
  if (dryRun) {
    journal.info(`dry run: would revive: ${found}`)
    care.dead.push(...tiers)
    return
  }

  journal.warn(found)
  const revival = await revive(round, suspects)
  const did = revival.did ? `: ${revival.did}` : ''
  if (revival.failure) journal.error(`${tiers.join(' and ')} not revived${did}: ${oneLine(revival.failure)}`)
  else journal.info(MARKER.notice(`${ABOUT_WATCHERS}revived ${tiers.join(' and ')}${did}`))
  if (revival.alive) care.revived.push(...tiers)
  else care.dead.push(...tiers)

  // Level 3 has no schedule: its end is all there is to do, and the next run is another story.
  if (first.tier === 'emergency-recovery') return
  for (const tier of tiers) book.peers[tier] = afterRevival(book.peers[tier]!)
  const inARow = Math.max(...tiers.map((tier) => book.peers[tier]!.revivals))
  const limit = settings.guardianMaxRevivals
  const isHopeless = inARow > limit || (inARow === limit && revival.failure !== undefined)
  if (isHopeless && !tiers.some((tier) => book.peers[tier]!.humanCalled)) {
    const why = revival.failure ? `: ${oneLine(revival.failure)}` : ''
    journal.error(
      MARKER.manual(`${ABOUT_WATCHERS}${found}; ${watcher} tried to revive it ${inARow} times in a row${why}`),
    )
    for (const tier of tiers) book.peers[tier]!.humanCalled = true
  }
  writePeerBook(settings, watcher, book)
}

async function revive({ run, receipt, jobs }: Round, suspects: Suspect[]): Promise<Revival> {
  const [first] = suspects as [Suspect]
  if (first.sign === 'overdue') await endRun(run, first.tier, first.pid)
  if (first.tier === 'emergency-recovery') {
    callForHungDoctor(run, first)
    return { alive: true }
  }
  if (!receipt) return { alive: false, failure: `${receiptPath(run.settings)} cannot be read; setup writes it anew` }
  const { tier, sign } = first
  if (receipt.scheduler === 'cron' || tier === 'monitor' || tier === 'guardian') {
    // One that was ended is started by cron again when it is due.
    if (sign === 'overdue') return { alive: true }
    const tiers = suspects.map((suspect) => suspect.tier)
    return reviveCron(run.settings, tiers)
  }
  return reviveScheduled(run, receipt.scheduler, tier, sign, jobs.get(tier))
}

/** A Level 3 that had to be killed left no call for a human; nobody but the one who killed it can make up for that. */
function callForHungDoctor(run: TierRun, { evidence }: Suspect): void {
  const log = recentLogs(run.settings, ['emergency-recovery'], 86_400).at(-1)
  if (log && markedLines(log).some(({ marker }) => marker.kind === 'manual')) return
  run.journal.error(MARKER.manual(`emergency-recovery ${evidence} and was ended`))
}
