/** What becomes of alerts that had to wait: one message, in which what is still open is not lost. */
import { expect, test } from 'vitest'
import { type Alert, checkAlert } from '../lib/alerts/alert.ts'
import { dispatch, envelope } from '../lib/alerts/dispatch.ts'
import type { Ledger } from '../lib/alerts/ledger.ts'
import { mergeAlerts } from '../lib/alerts/merge.ts'
import type { Journal } from '../lib/tier/journal.ts'

const now = new Date('2026-11-22T12:00:00Z')
const BLANK = { writtenAt: '2026-11-22T09:00:00Z', host: 'h', title: 't', lead: '', whys: [], tried: [], todo: [] }
const failed = (scope: Alert['scope'], parts: Partial<Alert> = {}): Alert => ({
  ...BLANK,
  kind: 'failure',
  scope,
  title: `${scope} needs you`,
  whys: ['port taken'],
  verdict: 'impostor',
  todo: ['do this'],
  log: { path: '/l', lines: ['the end'] },
  ...parts,
})
const isWell = (scope: Alert['scope']): Alert => ({ ...BLANK, kind: 'resolved', scope, title: `${scope} is back` })
const notice: Alert = { ...BLANK, kind: 'notice', title: 'noticed', whys: ['config rolled back'] }
const digest: Alert = { ...BLANK, kind: 'digest', title: 'the week', todo: ['nothing'] }

test('the end of one failure does not hide another that is open', () => {
  const merged = mergeAlerts([failed('watchers'), failed('gateway'), isWell('watchers')], now)
  expect(merged).toMatchObject({ kind: 'several', verdict: 'impostor', todo: ['do this'], log: { path: '/l' } })
  expect(merged.title).toBe('3 messages about OpenClaw on h; above all: gateway needs you')
  expect(merged.whys.at(-1)).toMatch(/✅ watchers is back$/)
})

test('what is over wakes nobody, whatever came after its end', () => {
  for (const after of [[notice], [digest], [notice, digest]]) {
    const merged = mergeAlerts([failed('gateway'), isWell('gateway'), ...after], now)
    expect(merged).toMatchObject({ kind: 'resolved', todo: [] })
    expect(merged.log).toBeUndefined()
    expect(merged.title).toContain('above all: gateway is back')
  }
})

test('a failure after the end of the one before it is open', () => {
  const merged = mergeAlerts([failed('gateway'), isWell('gateway'), failed('gateway', { title: 'again' })], now)
  expect(merged).toMatchObject({ kind: 'several', title: '3 messages about OpenClaw on h; the last: again' })
})

test('what an alert is about is still known after it was on disk', () => {
  expect(checkAlert(JSON.parse(JSON.stringify(failed('watchers'))))?.scope).toBe('watchers')
  expect(checkAlert({ ...notice, scope: 'the moon' })?.scope).toBeUndefined()
})

/** Runs in which this is added to the outbox and no channel takes it; answers what is left in it. */
async function withoutChannel(...runs: Alert[][]): Promise<Alert[]> {
  let ledger: Ledger = {
    saved: 0,
    positions: {},
    book: { cases: [], histories: [] },
    outbox: [],
    channels: {},
    digestUntil: '',
  }
  const office = {
    channels: [],
    journal: {} as Journal,
    signal: new AbortController().signal,
    save: () => {},
    count: () => {},
  }
  for (const alerts of runs)
    ledger = await dispatch({ ...ledger, outbox: [...ledger.outbox, ...alerts.map(envelope)] }, office)
  return ledger.outbox.map(({ alert }) => alert)
}

test('without a channel the outbox does not grow without end', async () => {
  const sizeAfter = async (runs: number) => {
    const outbox = await withoutChannel(...Array.from({ length: runs }, () => [failed('gateway'), notice]))
    return JSON.stringify(outbox).length
  }
  // So many runs that what was merged has been merged again and again.
  expect(await sizeAfter(600)).toBeLessThan(2 * (await sizeAfter(100)))
})

test('of failures that waited so long that they were merged it is still seen which is over', async () => {
  const both = [failed('gateway'), failed('watchers')]
  const first = [...both, ...both, ...Array.from({ length: 60 }, () => notice)]
  const waiting = await withoutChannel(first, [isWell('watchers')])
  expect(waiting.length).toBeLessThan(60)
  expect(mergeAlerts(waiting, now)).toMatchObject({ kind: 'several', scope: 'gateway' })
  expect(mergeAlerts([...waiting, isWell('gateway')], now)).toMatchObject({ kind: 'resolved' })
})
