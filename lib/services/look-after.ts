/**
 * Looking after one's peers: finds the dead (lib/tier/peers.ts) and has them revived (revive-peers.ts). What only a dead
 * peer needs is loaded only then: this runs at every tick.
 */
import { oneLine, type TierName } from '../tier/contract.ts'
import {
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
import type { Job, JobTier } from './jobs.ts'
import type { PeerCare, Round } from './revive-peers.ts'

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

  const { readReceipt } = await import('./receipt.ts')
  const round: Round = { run, watcher, book, receipt: readReceipt(settings), jobs: new Map(), care }
  if (watcher === 'guardian' && onTime) suspects.push(...(await findUnregistered(round)))
  if (suspects.length > 0) {
    const { revivePeers } = await import('./revive-peers.ts')
    await revivePeers(round, suspects)
  }
  return withoutTheHopeless(care, book)
}

/**
 * A peer for which the human was called is dead until it runs by itself again: between two tries nobody suspects it, and
 * one that writes when it is kicked, and then no more, is not revived. The guardian's exit code 0 would end the alert.
 */
function withoutTheHopeless(care: PeerCare, { peers }: PeerBook): PeerCare {
  const hopeless = (Object.keys(peers) as TierName[]).filter((tier) => peers[tier]!.humanCalled)
  const revived = care.revived.filter((tier) => !hopeless.includes(tier))
  return { ...care, revived, dead: [...new Set([...care.dead, ...hopeless])] }
}

/**
 * `lookAfterPeers` for Levels 1 and 2, whose own work is the gateway: whatever goes wrong here is only said. Level 2 also
 * stands in for a dead cron.
 */
export async function glanceAtPeers(run: TierRun, watcher: 'watchdog' | 'healthcheck'): Promise<void> {
  if (run.signal.aborted) return
  try {
    await lookAfterPeers(run, watcher)
    if (watcher === 'healthcheck') {
      const { runMonitorIfCronIsDead } = await import('./stand-in.ts')
      await runMonitorIfCronIsDead(run)
    }
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
  const { askJobs } = await import('./jobs.ts')
  const missing = async () => {
    round.jobs = await askJobs(settings, scheduler, ['watchdog', 'healthcheck'])
    return [...round.jobs].filter(([, { registered }]) => registered === false)
  }
  let found = await missing()
  const isKnown = ([tier]: [JobTier, Job]) => (round.book.peers[tier]?.revivals ?? 0) > 0
  if (!found.every(isKnown)) {
    const { setTimeout: delay } = await import('node:timers/promises')
    await delay(round.run.settings.guardianPatienceSec * 1000)
    found = await missing()
  }
  for (const [tier, { registered, detail }] of round.jobs)
    if (registered === undefined) journal.info(`whether ${tier} is registered is unknown: ${detail}`)
  return found.map(([tier, { detail, pid }]) => {
    return { tier, sign: 'unregistered', evidence: `is not registered (${detail})`, pid }
  })
}
