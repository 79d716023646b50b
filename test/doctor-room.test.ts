/** The doctor's room, when the run that opens it is killed in the middle. */
import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { clearLeftRooms } from '../lib/doctor/tmux.ts'

test('a room whose opening was cut short is cleared by the next run', async () => {
  const runs = mkdtempSync(join(tmpdir(), 'runs-'))
  onTestFinished(() => rmSync(runs, { recursive: true, force: true }))
  const env = { PATH: process.env.PATH ?? '', HOME: runs, TMUX_TMPDIR: runs }
  const socket = `openclaw-doctor-test-${process.pid}`
  onTestFinished(() => void spawnSync('tmux', ['-L', socket, 'kill-server'], { env }))
  // What a run leaves that is killed between opening the room and writing down who is in it.
  for (const name of ['opened', 'never-opened']) mkdirSync(join(runs, name))
  writeFileSync(join(runs, 'opened', 'room.json'), JSON.stringify({ socket, tierPid: 1 }))
  writeFileSync(join(runs, 'never-opened', 'room.json'), JSON.stringify({ socket: `${socket}-none`, tierPid: 1 }))
  execFileSync('tmux', ['-L', socket, '-f', '/dev/null', 'new-session', '-d', 'sleep 300'], { env })

  expect(await clearLeftRooms(runs, env)).toBe(1)
  expect(spawnSync('tmux', ['-L', socket, 'list-panes', '-a'], { env }).status).not.toBe(0)
  for (const name of ['opened', 'never-opened']) expect(existsSync(join(runs, name, 'room.json'))).toBe(false)
})
