/** Ports for tests that run side by side. */
import { createServer, type Server } from 'node:net'

const ROWS = 200
const ROW_SIZE = 60
let row: Promise<number> | undefined
let nextPort = 0

/**
 * A port that no other test process will take: below the ports that the system gives out by itself, in a row that
 * belongs to this process. A row is so long that a port comes up again only when those who got it are done with it, also
 * when several tests of a file run at once: until somebody listens on it, it looks free.
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

/** A row belongs to whoever listens on its first port, for as long as he lives. */
async function claimRow(): Promise<number> {
  for (let i = 0; i < ROWS; i++) {
    const first = 20_000 + ((process.pid + i) % ROWS) * ROW_SIZE
    const claim = await listen(first, '127.0.0.1')
    if (claim === 'in use' || claim === 'impossible') continue
    claim.unref()
    return first
  }
  throw new Error('no free row of ports')
}

async function isFree(port: number, host: string): Promise<boolean> {
  const server = await listen(port, host)
  if (server === 'in use') return false
  // A machine without IPv6 has nobody on that port.
  if (server !== 'impossible') await new Promise((resolve) => server.close(resolve))
  return true
}

function listen(port: number, host: string): Promise<Server | 'in use' | 'impossible'> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) =>
      resolve(error.code === 'EADDRINUSE' ? 'in use' : 'impossible'),
    )
    server.listen(port, host, () => resolve(server))
  })
}
