/** Ports for tests that run side by side. */
import { createServer } from 'node:net'

let nextPort = 0

/**
 * A port that no other test process will take: below the ports that the system gives out by itself, in a row of
 * twenty that belongs to this process.
 */
export async function freePort(): Promise<number> {
  for (let i = 0; i < 20; i++) {
    const port = 20_000 + (process.pid % 600) * 20 + (nextPort++ % 20)
    if ((await isFree(port, '127.0.0.1')) && (await isFree(port, '::1'))) return port
  }
  throw new Error('no free port')
}

function isFree(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error: NodeJS.ErrnoException) => resolve(error.code !== 'EADDRINUSE'))
    server.listen(port, host, () => server.close(() => resolve(true)))
  })
}
