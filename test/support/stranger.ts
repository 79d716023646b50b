/** A process that has the gateway's port and is not the gateway: it answers 200 to everything, like `python3 -m http.server`. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Sandbox } from './sandbox.ts'

export type Stranger = Awaited<ReturnType<typeof startStranger>>

/** Starts it with arguments that mean nothing to it; a gateway that was just killed may hold the port for a moment. */
export async function startStranger(box: Sandbox, args: string[] = [], isSilent = false) {
  const script = join(box.root, 'stranger.mjs')
  writeFileSync(
    script,
    `import { createServer } from 'node:http'
const server = createServer((_, res) => ${isSilent} || res.end('<h1>Directory listing</h1>'))
const listen = () => server.listen(${box.port}, '127.0.0.1')
server.on('listening', () => console.log('up')).on('error', () => setTimeout(listen, 100))
listen()`,
  )
  // Its HOME is the sandbox's: closing the sandbox ends it.
  const child = spawn(process.execPath, [script, ...args], {
    env: { HOME: box.home },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(child.stdout, 'data')
  return {
    pid: child.pid!,
    isAlive: () => child.exitCode === null && child.signalCode === null,
    end: () => void child.kill('SIGKILL'),
  }
}
