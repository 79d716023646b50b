import { existsSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const lastPassedMs = new Map<string, number>()

/**
 * Makes the watchers' memories, the logs and the receipt older, as if this time had gone by since it was called last: less
 * what has really gone by, so that a slow machine changes nothing. The files keep their owners.
 */
export function letTimePass({ watchdogDir, memoryDir }: { watchdogDir: string; memoryDir: string }, sec: number): void {
  const nowMs = performance.now()
  const reallyPassedMs = nowMs - (lastPassedMs.get(watchdogDir) ?? nowMs)
  lastPassedMs.set(watchdogDir, nowMs)
  const shiftMs = Math.max(0, Math.round(sec * 1000 - reallyPassedMs))
  const filesIn = (folder: string) => readdirSync(folder).map((name) => join(folder, name))
  for (const path of [watchdogDir, memoryDir].filter(existsSync).flatMap(filesIn)) {
    if (/\/(?:peers-[a-z]+|watchdog)\.json$/.test(path)) {
      const older = (key: string, value: unknown) => (/Ms$/.test(key) && value ? Number(value) - shiftMs : value)
      writeFileSync(path, JSON.stringify(JSON.parse(readFileSync(path, 'utf8'), older)))
    } else if (path.endsWith('/receipt.json') || path.startsWith(memoryDir)) {
      const changed = new Date(Math.round(statSync(path).mtimeMs) - shiftMs)
      utimesSync(path, changed, changed)
    }
  }
}
