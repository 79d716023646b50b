/** Plays all faults that can be played on a stage, each through all tiers, twice; table.ts prints what came of them. */
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { restartsIn } from '../support/tier-logs.ts'
import type { Expected, Healer, Scene, StageName, Way } from './fault.ts'
import { partsOf } from './library.ts'
import type { Line } from './table.ts'

/** What came of it. */
interface Outcome {
  verdict: string
  healedBy: Healer
  restarts: number
  /** From the fault to the first live answer; undefined: it was never away, or did not come back. */
  seconds: number | undefined
  /** What a human was told, around the words that were expected. */
  told: string
}

/** A scene, and the tiers on it. */
export interface Performance<S extends Scene> {
  scene: S
  /** Runs a tier's script to its end. */
  run(script: string): Promise<{ code: number | null; stdout: string; stderr: string }>
  /** What `examine` says. */
  examine(): Promise<string>
  /** The processes of the gateway's user. */
  processes(): Promise<number[]>
  /** What reached a human, and what Discord would have refused of it. */
  received(): { texts: string[]; problems: string[] }
  close(): Promise<void>
}

/** A fault as it is played on one stage. */
export type Part<S extends Scene> = { id: string; name: string } & Expected & Way<S>

interface Stage<S extends Scene> {
  open(settings?: Record<string, string>): Promise<Performance<S>>
  close(): Promise<void>
}

/** @param inTurn the stage is one for all faults */
export function playAll<S extends Scene>(name: StageName, build: () => Promise<Stage<S>>, inTurn = true): void {
  const note = (line: Line) => appendFileSync(inject('linesOfTable'), `${JSON.stringify(line)}\n`)
  let stage: Stage<S>
  beforeAll(async () => {
    stage = await build()
  })
  afterAll(() => stage?.close())

  for (const part of partsOf<S>(name)) {
    test(`${part.id} ${part.name}: ${part.healedBy}, ${part.restarts} restarts`, { concurrent: !inTurn }, async ({
      skip,
    }) => {
      const about = { id: part.id, name: part.name, stage: name, verdict: part.verdict }
      const why = part.cannotBeMade?.()
      note({ ...about, healedBy: why ?? 'NOT AS IT SHOULD BE', restarts: '', seconds: '', told: '' })
      if (why) skip(why)
      const { verdict, healedBy, restarts, seconds, told } = await play(part, await stage.open(part.settings))
      const words = told === '' ? '–' : told.slice(0, 60)
      const measured = { restarts: String(restarts), seconds: seconds?.toFixed(1) ?? '–', told: words }
      note({ ...about, verdict, healedBy, ...measured })
    })
  }
}

async function play<S extends Scene>(part: Part<S>, tiers: Performance<S>): Promise<Outcome> {
  try {
    // The first tick gets to know the gateway, the second keeps its config as known-good.
    for (let i = 0; i < 2; i++) await tick(tiers, 'gateway-watchdog', 0)
    return await playIn(part, tiers)
  } finally {
    await tiers.close()
  }
}

async function playIn<S extends Scene>(part: Part<S>, tiers: Performance<S>): Promise<Outcome> {
  const { scene } = tiers
  const config = readFileSync(scene.configPath, 'utf8')
  const logs = ['watchdog', 'healthcheck', 'emergency-recovery-2']
  const before = logs.map((tier) => scene.log(tier).length)
  await part.produce(scene)
  const clock = timeUntilLive(scene)

  const verdict = await tiers.examine()
  expect(verdict, 'what `examine` says').toBe(part.verdict)

  await Promise.all([tick(tiers, 'gateway-watchdog', part.exits[0]), part.meanwhile?.(scene)])
  await tick(tiers, 'gateway-healthcheck', part.exits[1])
  const isUp = await scene.isLive()
  const seconds = isUp ? await clock.seconds : undefined
  clock.stop()
  // Ten minutes later: what still stands is for a human; what was done must not be done again.
  letTimePass(scene)
  await part.again?.(scene)
  const again = part.healedBy === 'a human' ? part.exits : [0, 0]
  await tick(tiers, 'gateway-watchdog', again[0]!)
  await tick(tiers, 'gateway-healthcheck', again[1]!)
  await tick(tiers, 'emergency-recovery-monitor', 0)
  const isUpAtLast = await scene.isLive()

  const log = logs.map((tier, i) => scene.log(tier).slice(before[i])).join('')
  const restarts = restartsIn(log)
  const healedBy = isUpAtLast ? healer(log, verdict) : 'a human'
  const { texts, problems } = tiers.received()
  const told = texts.join('\n')
  expect(problems).toEqual([])
  expect(restarts, `restarts spent:\n${log}`).toBe(part.restarts)
  expect(healedBy, `healed by:\n${log}`).toBe(part.healedBy)
  if (part.told) expect(told, `told:\n${log}${scene.log('monitor')}`).toMatch(part.told)
  else expect(told, `told:\n${log}`).toBe('')
  if (part.exits[0] === 1) expect(scene.log('escalations')).toMatch(/ESCALATE to level 2: /)
  if (part.keeps.includes('process')) expect(await tiers.processes()).toContain(scene.pid)
  if (part.keeps.includes('config')) expect(readFileSync(scene.configPath, 'utf8')).toBe(config)
  await part.check?.(scene)

  if (part.repair) {
    await part.repair(scene)
    await tick(tiers, 'gateway-watchdog', 0)
    expect(await scene.isLive(), 'live after the repair').toBe(true)
  }
  return { verdict, healedBy, restarts, seconds, told: excerpt(told, part.told) }
}

/** The words around what was expected of them. */
function excerpt(told: string, expected: RegExp | undefined): string {
  return expected ? (new RegExp(`[^".\\\\]{0,30}(?:${expected.source})[^".\\\\]{0,30}`).exec(told)?.[0] ?? '') : ''
}

async function tick<S extends Scene>(tiers: Performance<S>, script: string, code: number): Promise<void> {
  const run = await tiers.run(script)
  expect(run, `${script}:\n${run.stdout}${run.stderr}`).toMatchObject({ code })
}

/** Whose work it is by the logs of a gateway that is up now, and that `examine` found so in the beginning. */
function healer(log: string, verdict: string): Healer {
  const level = /\] RECOVERED by (?:(level \d)|itself)/.exec(log)
  if (level?.[1]) return level[1] as Healer
  return level || !['healthy', 'orphan'].includes(verdict) ? 'itself' : 'nobody needed'
}

/** Moves what Level 1 remembers of standing warnings eleven minutes into the past. */
function letTimePass({ stateDir }: Scene): void {
  const path = join(stateDir, 'watchdog', 'watchdog.json')
  const state = JSON.parse(readFileSync(path, 'utf8'))
  for (const warning of state.warnings) warning.sinceMs -= 11 * 60_000
  writeFileSync(path, JSON.stringify(state))
}

/** Looks ten times a second. Resolves with undefined when it is live at the first look: it was never away. */
function timeUntilLive(scene: Scene) {
  // A gateway that is silent for longer is looked at anew.
  const LOOK_MS = 1000
  const started = performance.now()
  let stopped = false
  const seconds = (async () => {
    if (await scene.isLive(LOOK_MS)) return undefined
    while (!stopped) {
      if (await scene.isLive(LOOK_MS)) return (performance.now() - started) / 1000
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    return undefined
  })()
  return { seconds, stop: () => void (stopped = true) }
}
