/** Plays all faults that can be played on a stage, each through all tiers, and again those that it concerns; prints what came of them as a table. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { restartsIn } from '../support/tier-logs.ts'
import type { Healer, Scene, StageName } from './fault.ts'
import { faults, fieldFaults, type Part, partsOf } from './library.ts'

export interface Performance<S extends Scene = Scene> {
  scene: S
  run(script: string): Promise<{ code: number | null; stdout: string; stderr: string }>
  examine(): Promise<string>
  /** The processes of the gateway's user. */
  processes(): Promise<number[]>
  /** What reached a human, and what Discord would have refused of it. */
  received(): { texts: string[]; problems: string[] }
  close(): Promise<void>
}

interface Stage {
  open(settings?: Record<string, string>): Promise<Performance>
  close(): Promise<void>
}

const HEAD = ['#', 'class', 'stage', 'verdict', 'healed by', 'restarts', 'seconds', 'a human is told']
const NOT_RIGHT = 'NOT AS IT SHOULD BE'
const EXITS: Record<Healer, readonly [level1: number, level2: number]> = {
  'nobody needed': [0, 0],
  itself: [0, 0],
  'level 1': [0, 0],
  'level 2': [1, 0],
  'level 3': [1, 0],
  'a human': [1, 1],
}

/** @param inTurn the stage is one for all faults */
export function playAll(
  name: StageName,
  build: () => Promise<Stage>,
  inTurn = true,
  among = [...faults, ...fieldFaults],
): void {
  let stage: Stage
  const parts = partsOf(name, among)
  const rows = new Map<string, string[]>()
  beforeAll(async () => {
    stage = await build()
  })
  afterAll(async () => {
    const played = parts.flatMap(({ id }) => (rows.has(id) ? [rows.get(id)!] : []))
    process.stdout.write(`\n${tableOf(played)}\n`)
    noteResults(played)
    await stage.close()
  })

  for (const part of parts) {
    test(`${part.id} ${part.name}: ${part.healedBy}`, { concurrent: !inTurn }, async ({ skip }) => {
      const about = [part.id, part.name, name]
      const why = part.cannotBeMade?.()
      rows.set(part.id, [...about, part.verdict, why ?? NOT_RIGHT, '', '', ''])
      if (why) skip(why)
      const tiers = await stage.open(part.settings)
      try {
        // The first tick gets to know the gateway, a second keeps its config as known-good.
        for (let i = part.healedBy === 'level 2' ? 2 : 1; i > 0; i--) await tick(tiers, 'gateway-watchdog', 0)
        rows.set(part.id, [...about, ...(await play(part, tiers))])
      } finally {
        await tiers.close()
      }
    })
  }
}

/** Returns the cells of the table that tell what came of it. */
async function play(part: Part, tiers: Performance): Promise<string[]> {
  const { scene } = tiers
  const { verdict, keeps = ['config'], restarts = part.healedBy.startsWith('level') ? 1 : 0 } = part
  const [level1, level2] = EXITS[part.healedBy]
  const exits = part.exits ?? [level1, level2, level2]
  const config = readFileSync(scene.configPath, 'utf8')
  const logs = ['watchdog', 'healthcheck', 'emergency-recovery-2']
  const before = logs.map((tier) => scene.log(tier).length)
  await part.produce(scene)
  let isOver = false
  const clock = secondsUntilLive(scene, () => isOver)
  expect(await tiers.examine(), 'what `examine` says').toBe(verdict)

  await Promise.all([tick(tiers, 'gateway-watchdog', exits[0]), part.meanwhile?.(scene)])
  await tick(tiers, 'gateway-healthcheck', exits[1])
  isOver = !(await scene.isLive())
  const seconds = await clock
  // Ten minutes later: what still stands is for a human; what was done must not be done again.
  letTimePass(scene)
  await part.again?.(scene)
  await tick(tiers, 'gateway-watchdog', exits[2])
  if (exits[2] === 1) await tick(tiers, 'gateway-healthcheck', 1)
  await tick(tiers, 'emergency-recovery-monitor', 0)

  const log = logs.map((tier, i) => scene.log(tier).slice(before[i])).join('')
  const { texts, problems } = tiers.received()
  const told = texts.join('\n')
  expect(problems).toEqual([])
  expect(restartsIn(log), `restarts spent:\n${log}`).toBe(restarts)
  expect((await scene.isLive()) ? healer(log, verdict) : 'a human', `healed by:\n${log}`).toBe(part.healedBy)
  if (part.told) expect(told, `told:\n${log}${scene.log('monitor')}`).toMatch(part.told)
  else expect(told, `told:\n${log}`).toBe('')
  if (exits[0] === 1) expect(scene.log('escalations')).toMatch(/ESCALATE to level 2: /)
  if (keeps.includes('process')) expect(await tiers.processes()).toContain(scene.pid)
  if (keeps.includes('config')) expect(readFileSync(scene.configPath, 'utf8')).toBe(config)
  await part.check?.(scene)

  if (part.repair) {
    await part.repair(scene)
    await tick(tiers, 'gateway-watchdog', 0)
    expect(await scene.isLive(), 'live after the repair').toBe(true)
  }
  const words =
    part.told &&
    new RegExp(`(?:[^\\s"\\\\]+ ){0,4}(?:${part.told.source})[^\\s"\\\\]*(?: [^\\s"\\\\]+){0,3}`).exec(
      told.replaceAll('\\n', ' '),
    )?.[0]
  return [verdict, part.healedBy, String(restarts), seconds?.toFixed(1) ?? '–', words?.slice(0, 60) ?? '–']
}

async function tick(tiers: Performance, script: string, code: number): Promise<void> {
  const run = await tiers.run(script)
  expect(run, `${script}:\n${run.stdout}${run.stderr}`).toMatchObject({ code })
}

/** Whose work it is by the logs of a gateway that is up now, and that `examine` found so in the beginning. */
function healer(log: string, verdict: string): string {
  const recovery = /\] RECOVERED by (?:(level \d)|itself)/.exec(log)
  return recovery?.[1] ?? (recovery || !['healthy', 'orphan'].includes(verdict) ? 'itself' : 'nobody needed')
}

/** Moves what Level 1 remembers of standing warnings eleven minutes into the past. */
export function letTimePass({ stateDir }: Scene): void {
  const path = join(stateDir, 'watchdog', 'watchdog.json')
  const state = JSON.parse(readFileSync(path, 'utf8'))
  for (const warning of state.warnings) warning.sinceMs -= 11 * 60_000
  writeFileSync(path, JSON.stringify(state))
}

/** Undefined when it was never away, or has not come back when that is over. */
async function secondsUntilLive(scene: Scene, isOver: () => boolean): Promise<number | undefined> {
  const started = performance.now()
  if (await scene.isLive(1000)) return undefined
  while (!isOver()) {
    if (await scene.isLive(1000)) return (performance.now() - started) / 1000
    await delay(100)
  }
  return undefined
}

/** For the documentation: the rows replace those of the same fault and stage in the file that `FAULTS_RESULTS` names. */
export function noteResults(played: string[][]): void {
  const path = process.env.FAULTS_RESULTS
  if (!path) return
  const known: string[][] = existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : []
  const keyOf = ([id, , stage]: string[]) => `${id} ${stage}`
  const now = new Map([...known, ...played].map((row) => [keyOf(row), row]))
  const all = [...now.values()].sort((a, b) => keyOf(a).localeCompare(keyOf(b), 'en', { numeric: true }))
  writeFileSync(path, `[\n${all.map((row) => `  ${JSON.stringify(row)}`).join(',\n')}\n]\n`)
}

function tableOf(rows: string[][]): string {
  const widths = HEAD.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)))
  const line = (row: string[]) => `| ${widths.map((width, i) => (row[i] ?? '').padEnd(width)).join(' | ')} |`
  return [HEAD, widths.map((width) => '-'.repeat(width)), ...rows].map(line).join('\n')
}
