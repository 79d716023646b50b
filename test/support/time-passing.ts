/** Hours go by in a test: everything that the watchers know the age of becomes older. */
import { existsSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** When time was last let pass there, by performance.now(). */
const lastPassedMs = new Map<string, number>()

/**
 * Makes the watchers' memories, the logs and the receipt older, so that this time has gone by since it was called last:
 * less what has really gone by, for the watchers add up the time between their ticks, and a slow machine is none of
 * what a test is about. The files keep their owners.
 */
export function letTimePass(folders: { watchdogDir: string; memoryDir: string }, sec: number): void {
  const nowMs = performance.now()
  const reallyPassedMs = nowMs - (lastPassedMs.get(folders.watchdogDir) ?? nowMs)
  lastPassedMs.set(folders.watchdogDir, nowMs)
  const shiftMs = Math.max(0, Math.round(sec * 1000 - reallyPassedMs))
  const inFolder = (folder: string) => (existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [])
  for (const path of inFolder(folders.watchdogDir).filter((path) => /\/peers-[a-z]+\.json$/.test(path))) {
    const older = (key: string, value: unknown) => (/Ms$/.test(key) && value ? Number(value) - shiftMs : value)
    writeFileSync(path, JSON.stringify(JSON.parse(readFileSync(path, 'utf8'), older)))
  }
  const receipt = inFolder(folders.watchdogDir).filter((path) => path.endsWith('/receipt.json'))
  for (const path of [...receipt, ...inFolder(folders.memoryDir)]) {
    const changed = new Date(Math.round(statSync(path).mtimeMs) - shiftMs)
    utimesSync(path, changed, changed)
  }
}
