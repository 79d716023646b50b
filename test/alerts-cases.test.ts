import { expect, test } from 'vitest'
import { type Case, updateCases } from '../lib/alerts/cases.ts'
import type { Sighting } from '../lib/alerts/sightings.ts'
import { MARKER, parseMarker, type TierName } from '../lib/tier/contract.ts'

const at = (minute: number) => new Date(Date.UTC(2026, 10, 22, 2, minute))
const see = (minute: number, tier: TierName, text: string): Sighting => ({
  scope: tier === 'guardian' ? 'watchers' : 'gateway',
  tier,
  log: `/${tier}.log`,
  at: at(minute),
  marker: parseMarker(text)!,
})
const healthy = MARKER.runEnded('healthy', 0, 1)

/** Runs the ticks one after another; for each the calls that were news. */
function newsOf(...ticks: Sighting[][]): string[][] {
  let cases: Case[] = []
  return ticks.map((sightings) => {
    const result = updateCases(cases, sightings)
    cases = result.cases
    return result.news.map(({ marker }) => (marker.kind === 'manual' ? marker.why : marker.kind))
  })
}

test('a failure that is called again and again is news once', () => {
  const call = (minute: number) => see(minute, 'healthcheck', MARKER.manual('no doctor left today'))
  expect(newsOf([call(0)], [call(5), call(10)], [], [call(15)])).toEqual([['no doctor left today'], [], [], []])
})

test('other pids, ports and seconds do not make it another failure', () => {
  const call = (minute: number, pid: number) =>
    see(minute, 'emergency-recovery', MARKER.manual(`pid ${pid} has the port for ${minute} s`))
  expect(newsOf([call(0, 4711)], [call(5, 999)])).toEqual([['pid 4711 has the port for 0 s'], []])
})

test('another reason in the same incident is news', () => {
  const first = see(0, 'emergency-recovery', MARKER.manual('Claude Code is not logged in'))
  const second = see(60, 'emergency-recovery', MARKER.manual('the doctor gave up'))
  expect(newsOf([first], [second])).toEqual([['Claude Code is not logged in'], ['the doctor gave up']])
})

test('the same failure after a recovery is news again', () => {
  const call = (minute: number) => see(minute, 'emergency-recovery', MARKER.manual('x'))
  expect(newsOf([call(0)], [see(5, 'watchdog', healthy), call(30)])).toEqual([['x'], ['x']])
  expect(newsOf([call(0)], [see(5, 'watchdog', MARKER.recovered(undefined, 300))], [call(30)])).toEqual([
    ['x'],
    [],
    ['x'],
  ])
})

test('a healthy observation from before the call ends nothing', () => {
  const call = (minute: number) => see(minute, 'emergency-recovery', MARKER.manual('x'))
  expect(newsOf([see(0, 'watchdog', healthy), call(3)], [see(1, 'watchdog', healthy), call(6)])).toEqual([['x'], []])
})

test('a well guardian says nothing about the gateway, and a healthy gateway nothing about the watchers', () => {
  const gateway = see(0, 'emergency-recovery', MARKER.manual('x'))
  const watchers = see(0, 'guardian', MARKER.manual('y'))
  const well = see(1, 'guardian', MARKER.runEnded('all watchers are well', 0, 1))
  expect(newsOf([gateway], [well, { ...gateway, at: at(2) }])).toEqual([['x'], []])
  expect(newsOf([watchers], [see(1, 'watchdog', healthy), { ...watchers, at: at(2) }])).toEqual([['y'], []])
  expect(newsOf([watchers], [well, { ...watchers, at: at(2) }])).toEqual([['y'], ['y']])
})
