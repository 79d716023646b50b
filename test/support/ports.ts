/** Ports for tests that run side by side. */
import { createServer, type Server } from 'node:net'

const ROWS = 200
const ROW_SIZE = 60
let row: Promise<number> | undefined
let nextPort = 0

/**
 * A port that no other test process will take: below the ports that the system gives out by itself, in a row that
 * belongs to this process, which is so long that a port comes up again only when those who got it are done with it.
 */
export async function freePort(): Promise<number> {
  row ??= claimRow()
  const first = await row
  for (let i = 1; i < ROW_SIZE; i++) {
    const port = first + 1 + (nextPort++ % (ROW_SIZE - 1))
    if ((await isFree(port, '127.0.0.1')) && (await isFree(port, '::1'))) return port
  }
  throw new Error('no free port')
}

/** A row belongs to the process that listens on its first port, for as long as it runs. */
async function claimRow(): Promise<number> {
  for (let i = 0; i < ROWS; i++) {
    const first = 20_000 + ((process.pid + i) % ROWS) * ROW_SIZE
    const claim = await listen(first, '127.0.0.1')
    claim?.unref()
    if (claim) return first
  }
  throw new Error('no free row of ports')
}

async function isFree(port: number, host: string): Promise<boolean> {
  const server = await listen(port, host)
  await new Promise<unknown>((resolve) => (server ? server.close(resolve) : resolve(undefined)))
  return server !== undefined
}

/** Undefined when the port is in use. A machine without IPv6 has no process on ::1. */
function listen(port: number, host: string): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer().listen(port, host, () => resolve(server))
    server.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code === 'EADDRINUSE' ? undefined : server))
  })
}
