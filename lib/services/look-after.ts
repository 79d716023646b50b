/** Looking after one's peers: finds the dead (lib/tier/peers.ts), revives them, and calls the human when that fails. */
import { setTimeout as delay } from 'node:timers/promises'
import { MARKER, oneLine, type TierName } from '../tier/contract.ts'
import { markedLines, recentLogs } from '../tier/journal.ts'
import { lockHolder } from '../tier/lock.ts'
import {
  afterRevival,
  isInstalled,
  observe,
  type PeerBook,
  readPeerBook,
  type Suspect,
  sight,
  WATCHES,
  type Watcher,
  writePeerBook,
} from '../tier/peers.ts'
import type { TierRun } from '../tier/run.ts'
import { askJobs, type Job, type JobTier } from './jobs.ts'
import { endRun, type Revival, reviveCron, reviveScheduled } from './revive.ts'
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

type Jobs = ReadonlyMap<JobTier, Job>

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

  const jobs: Jobs = watcher === 'guardian' && onTime ? await askJobs(settings, ['watchdog', 'healthcheck']) : new Map()
  for (const [tier, job] of jobs)
    if (job.registered === undefined) journal.info(`whether ${tier} is registered is unknown: ${job.detail}`)
  if ([...jobs.values()].some((job) => job.registered === false)) suspects.push(...(await unregistered(run, suspects)))

  for (const group of byCause(suspects))
    if (!group.some(({ tier }) => isSettled(care, tier))) await treat(run, watcher, book, care, group, jobs)
  return care
}

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

/** Jobs that launchd or systemd does not have, asked a second time: an installer at work takes them out for a moment. */
async function unregistered(run: TierRun, suspects: Suspect[]): Promise<Suspect[]> {
  await delay(3000)
  if (!isInstalled(run.settings)) return []
  const jobs = await askJobs(run.settings, ['watchdog', 'healthcheck'])
  return [...jobs].flatMap(([tier, { registered, detail, pid }]) =>
    registered !== false || suspects.some((suspect) => suspect.tier === tier)
      ? []
      : [{ tier, sign: 'unregistered' as const, evidence: `is not registered (${detail})`, pid }],
  )
}

/** What cron starts has one cause when it is silent together; the human gets one message. */
function byCause(suspects: Suspect[]): Suspect[][] {
  const isCrons = ({ tier, sign }: Suspect) => sign === 'silent' && (tier === 'monitor' || tier === 'guardian')
  const silentByCron = suspects.filter(isCrons)
  const others = suspects.filter((suspect) => !isCrons(suspect)).map((suspect) => [suspect])
  return silentByCron.length > 0 ? [...others, silentByCron] : others
}

/** @param suspects one peer, or several with one cause */
async function treat(
  run: TierRun,
  watcher: Watcher,
  book: PeerBook,
  care: PeerCare,
  suspects: Suspect[],
  jobs: Jobs,
): Promise<void> {
  const { settings, journal, dryRun } = run
  const [first] = suspects as [Suspect]
  const isRunning = (await lockHolder(settings, first.tier)) !== undefined
  // A long run writes no log for as long as it waits for the gateway; and a dead run's lock file is no hanging run.
  if (first.sign === (isRunning ? 'silent' : 'overdue')) return
  const found = suspects.map(({ tier, evidence }) => `${tier} ${evidence}`).join('; ')
  const tiers = suspects.map(({ tier }) => tier)
  if (dryRun) {
    journal.info(`dry run: would revive: ${found}`)
    care.dead.push(...tiers)
    return
  }

  journal.warn(found)
  const revival = await revive(run, first, jobs)
  if (revival.did) journal.info(`revival: ${revival.did}`)
  if (revival.failure) journal.error(`not revived: ${oneLine(revival.failure)}`)
  if (revival.alive) care.revived.push(...tiers)
  else care.dead.push(...tiers)

  // Level 3 has no schedule: its end is all there is to do, and the next run is another story.
  if (first.tier === 'emergency-recovery') return
  for (const tier of tiers) book.peers[tier] = afterRevival(book.peers[tier]!)
  const revivals = Math.max(...tiers.map((tier) => book.peers[tier]!.revivals))
  const limit = settings.guardianMaxRevivals
  const isHopeless = revivals > limit || (revivals === limit && revival.failure !== undefined)
  if (isHopeless && !tiers.some((tier) => book.peers[tier]!.humanCalled)) {
    const why = revival.failure ? `: ${oneLine(revival.failure)}` : ''
    journal.error(MARKER.manual(`${found}; ${watcher} tried to revive it ${revivals} times in a row${why}`))
    for (const tier of tiers) book.peers[tier]!.humanCalled = true
  }
  writePeerBook(settings, watcher, book)
}

async function revive(run: TierRun, suspect: Suspect, jobs: Jobs): Promise<Revival> {
  const { tier, sign } = suspect
  if (sign === 'overdue') await endRun(run, tier, suspect.pid)
  switch (tier) {
    case 'watchdog':
    case 'healthcheck':
      return reviveScheduled(run, tier, sign, jobs.get(tier))
    case 'monitor':
    case 'guardian':
      // Cron starts the next run by itself.
      return sign === 'overdue' ? { alive: true } : reviveCron(run)
    case 'emergency-recovery':
      callForHungDoctor(run, suspect)
      return { alive: true }
  }
}

/** A Level 3 that had to be killed left no call for a human; nobody but the one who killed it can make up for that. */
function callForHungDoctor(run: TierRun, { evidence }: Suspect): void {
  const log = recentLogs(run.settings, ['emergency-recovery'], 86_400).at(-1)
  if (log && markedLines(log).some(({ marker }) => marker.kind === 'manual')) return
  run.journal.error(MARKER.manual(`emergency-recovery ${evidence} and was ended`))
}
