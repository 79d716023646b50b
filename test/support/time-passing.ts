/** Hours go by in a test: everything that the watchers know the age of becomes older. */
import { existsSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Makes the watchers' memories, the logs and the receipt older by this. The files keep their owners. */
export function letTimePass(folders: { watchdogDir: string; memoryDir: string }, sec: number): void {
  const inFolder = (folder: string) => (existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [])
  for (const path of inFolder(folders.watchdogDir).filter((path) => /\/peers-[a-z]+\.json$/.test(path))) {
    const older = (key: string, value: unknown) => (/Ms$/.test(key) && value ? Number(value) - sec * 1000 : value)
    writeFileSync(path, JSON.stringify(JSON.parse(readFileSync(path, 'utf8'), older)))
  }
  const receipt = inFolder(folders.watchdogDir).filter((path) => path.endsWith('/receipt.json'))
  for (const path of [...receipt, ...inFolder(folders.memoryDir)]) {
    const changed = new Date(Math.round(statSync(path).mtimeMs) - sec * 1000)
    utimesSync(path, changed, changed)
  }
}
