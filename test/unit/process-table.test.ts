/** What /proc says of processes and sockets, and that ps and lsof, which a Mac has, say the same. */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { which } from 'zx'
import { commandOf, listeners, listProcesses } from '../../lib/tier/process-table.ts'
import type { Settings } from '../../lib/tier/settings.ts'
import { projectDir } from '../support/sandbox.ts'
import { typescriptLoader } from '../support/script-process.ts'
import { waitFor } from '../support/wait-for.ts'

const settings = { childEnv: { PATH: process.env.PATH } } as unknown as Settings
const run = (file: string, args: string[]) => {
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  onTestFinished(() => void child.kill('SIGKILL'))
  return child
}

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'odd-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  chmodSync(folder, 0o777)
  return folder
}

/** The port of a server of this process. */
async function serverAt(host: string): Promise<number> {
  const server = createServer().listen(0, host)
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}
const own = async (port: number) => (await listeners(settings)).filter(({ address }) => address.endsWith(`:${port}`))

describe.runIf(existsSync('/proc/self/stat'))('/proc', () => {
  test('a name may hold parentheses and blanks, an argument a line feed', async () => {
    const path = join(temporaryFolder(), 'a) Z (b')
    copyFileSync(which.sync('sleep'), path)
    const { pid } = run(path, ['60'])
    expect(await listProcesses(settings, [pid!])).toEqual([
      expect.objectContaining({ pid, parentPid: process.pid, uid: process.getuid!(), command: `${path} 60` }),
    ])
    const shell = run('/bin/sh', ['-c', 'read line; exit', '1\n4711 2'])
    expect(await commandOf(settings, shell.pid!)).toBe('/bin/sh -c read line; exit 1 4711 2')
  })

  test('what is dead and not yet reaped is gone, and so is a pid that nobody has', async () => {
    const parent = run('/bin/sh', ['-c', 'sleep 0.5 & echo $!; exec sleep 60'])
    const [line] = await once(parent.stdout!, 'data')
    await waitFor(async () => (await listProcesses(settings, [Number(line)])).length === 0, 'its end')
    expect(() => process.kill(Number(line), 0)).not.toThrow()
    expect(await commandOf(settings, Number(line))).toBe('')
    expect(await listProcesses(settings, [])).toEqual([])
  })

  test.each([
    ['127.0.0.1', '127.0.0.1'],
    ['0.0.0.0', '*'],
    ['::', '*'],
    ['::1', '[::1]'],
    ['::ffff:127.0.0.1', '127.0.0.1'],
  ])('a server at %s listens at %s', async (host, shown) => {
    const port = await serverAt(host)
    expect(await own(port)).toEqual([{ pid: process.pid, uid: process.getuid!(), address: `${shown}:${port}` }])
  })

  test.runIf(process.getuid?.() === 0)('whom another user may not see is said to be another user', async () => {
    const port = await serverAt('127.0.0.1')
    const code = `
      const { hiddenOwner, portOwners } = await import('${join(projectDir, 'lib/gateway/processes.ts')}')
      const settings = { gatewayPort: ${port} }
      console.log(JSON.stringify([await portOwners(settings), await hiddenOwner(settings), await hiddenOwner({ gatewayPort: 1 })]))`
    const argv = [...typescriptLoader(), '--input-type=module', '-e', code]
    const env = { PATH: process.env.PATH, TMPDIR: temporaryFolder() }
    const [owners, hidden, nobody] = JSON.parse(
      execFileSync(process.execPath, argv, { uid: 65_534, gid: 65_534, env, cwd: '/', encoding: 'utf8' }),
    )
    expect(owners).toEqual([])
    expect(hidden).toBe('a process of another user (uid 0)')
    expect(nobody).not.toMatch(/uid/)
  })

  const hasTools = ['ps', 'lsof'].every((tool) => which.sync(tool, { nothrow: true }))
  test.runIf(hasTools)('ps and lsof say the same', async () => {
    const port = await serverAt('127.0.0.1')
    const child = run('/bin/sh', ['-c', 'read line; exit'])
    const look = async () => {
      const [found] = await listProcesses(settings, [child.pid!])
      const { pid, parentPid, group, uid, command } = found!
      const isListed = (await listProcesses(settings)).some((one) => one.pid === pid)
      const where = (await own(port)).map((one) => [one.pid, one.address])
      const kind = Object.entries(found!).map(([name, value]) => [name, typeof value])
      return { same: { pid, parentPid, group, uid, command, isListed, where, kind: Object.fromEntries(kind) }, found }
    }
    const proc = await look()
    await import(new URL('../support/without-proc.mjs', import.meta.url).href)
    const tools = await look()
    expect(tools.same).toEqual(proc.same)
    expect(tools.found!.started).not.toBe(proc.found!.started)
    expect(Math.abs(tools.found!.ageSec - proc.found!.ageSec)).toBeLessThan(60)
    expect(Math.abs(tools.found!.memoryMb - proc.found!.memoryMb)).toBeLessThan(10)
  })
})
