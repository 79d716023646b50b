/** Treats the peers that look dead: ends, revives, starts again, and calls the human when that fails. */
import { ABOUT_WATCHERS, MARKER, oneLine, type TierName } from '../tier/contract.ts'
import { markedLines, recentLogs } from '../tier/journal.ts'
import { lockHolder } from '../tier/lock.ts'
import {
  afterRevival,
  isInstalled,
  type PeerBook,
  receiptPath,
  type Suspect,
  type Watcher,
  writePeerBook,
} from '../tier/peers.ts'
import type { TierRun } from '../tier/run.ts'
import type { Job, JobTier } from './jobs.ts'
import type { Receipt } from './receipt.ts'
import { endRun, type Revival, reviveCron, reviveScheduled, waitForHeartbeat } from './revive.ts'

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
export interface Round {
  run: TierRun
  watcher: Watcher
  book: PeerBook
  /** Undefined: it cannot be read. */
  receipt: Receipt | undefined
  /** What launchd or systemd said of the jobs; empty when they were not asked. */
  jobs: ReadonlyMap<JobTier, Job>
  care: PeerCare
}

/** Treats everybody in `suspects` once, and notes in `round.care` what became of them. */
export async function revivePeers(round: Round, suspects: Suspect[]): Promise<void> {
  suspects.sort((a, b) => PLAINEST_FIRST.indexOf(a.sign) - PLAINEST_FIRST.indexOf(b.sign))
  for (const group of byCause(suspects, round.receipt))
    if (!group.some(({ tier }) => isSettled(round.care, tier))) await treat(round, group)
}

/** A peer with several signs is treated for the first: a run that hangs, or a job that is not there, explains silence. */
const PLAINEST_FIRST: Suspect['sign'][] = ['overdue', 'unregistered', 'silent']

function isSettled(care: PeerCare, tier: TierName): boolean {
  return care.dead.includes(tier) || care.revived.includes(tier)
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
  const isCalled = tiers.some((tier) => book.peers[tier]!.humanCalled)
  if (revival.failure) {
    const said = `${tiers.join(' and ')} not revived${did}: ${oneLine(revival.failure)}`
    // Once the human was called, this tells Level 4 that it goes on: without it there would be no reminder.
    journal.error(isCalled ? MARKER.notice(`${ABOUT_WATCHERS}${said}`) : said)
  } else journal.info(MARKER.notice(`${ABOUT_WATCHERS}revived ${tiers.join(' and ')}${did}`))
  if (revival.alive) care.revived.push(...tiers)
  else care.dead.push(...tiers)

  // Level 3 has no schedule: its end is all there is to do, and the next run is another story.
  if (first.tier === 'emergency-recovery') return
  for (const tier of tiers) book.peers[tier] = afterRevival(book.peers[tier]!)
  const inARow = Math.max(...tiers.map((tier) => book.peers[tier]!.revivals))
  const limit = settings.guardianMaxRevivals
  const isHopeless = inARow > limit || (inARow === limit && revival.failure !== undefined)
  if (isHopeless && !isCalled) {
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
