/** A machine of its own for the bench: a HOME, something that answers as the gateway does, an installation's receipt. */
import { spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { freePort } from '../test/support/ports.ts'

const root = join(import.meta.dirname, '..')

export type World = Awaited<ReturnType<typeof createWorld>>

export async function createWorld() {
  const home = mkdtempSync(join(tmpdir(), 'bench-'))
  const stateDir = join(home, '.openclaw')
  const memoryDir = join(home, 'openclaw', 'memory')
  const binDir = join(home, 'bin')
  const port = await freePort()
  const env = { HOME: home, PATH: `${binDir}:${dirname(process.execPath)}:/usr/local/bin:/usr/bin:/bin` }
  for (const folder of [join(stateDir, 'watchdog'), join(stateDir, 'logs'), memoryDir, binDir])
    mkdirSync(folder, { recursive: true })
  writeFileSync(join(stateDir, '.env'), `OPENCLAW_GATEWAY_PORT=${port}\n`)
  writeFileSync(join(stateDir, 'openclaw.json'), `{ "gateway": { "mode": "local", "port": ${port} } }\n`)
  // Installed, with systemd: the watchers look at each other, and the guardian asks for the jobs.
  const receipt = { installedAt: new Date().toISOString(), root, scheduler: 'systemd', cronLines: ['x'], entries: [] }
  writeFileSync(join(stateDir, 'watchdog', 'receipt.json'), JSON.stringify(receipt))
  writeFileSync(join(stateDir, 'watchdog', 'launcher'), `${process.execPath}\n${env.PATH}\n`)
  const units = ['watchdog', 'healthcheck'].flatMap((tier) => [
    `Id=com.openclaw.${tier}.timer\nLoadState=loaded\nActiveState=active\nSubState=waiting\n`,
    `Id=com.openclaw.${tier}.service\nLoadState=loaded\nActiveState=inactive\nSubState=dead\nMainPID=0\n`,
  ])
  // No service of its own for the gateway: it runs as a bare process here.
  const systemctl = `#!/bin/sh
case $* in *openclaw-gateway*) echo LoadState=not-found ;; *) printf '%s' '${units.join('\n')}' ;; esac
`
  writeFileSync(join(binDir, 'systemctl'), systemctl, { mode: 0o755 })
  let gateway = await startGateway(port, env)
  return {
    stateDir,
    memoryDir,
    env,
    url: `http://127.0.0.1:${port}/health`,
    /** The command line with which launchd, systemd and cron start a tier. */
    tick: (script: string) => `sh '${join(root, 'scripts', 'run-tier.sh')}' ${script}`,
    stopGateway: () => void gateway.kill('SIGKILL'),
    startGateway: async () => {
      gateway = await startGateway(port, env)
    },
    close: () => {
      gateway.kill('SIGKILL')
      rmSync(home, { recursive: true, force: true })
    },
  }
}

async function startGateway(port: number, env: Record<string, string>) {
  const code = `
    process.title = 'openclaw-gateway'
    const bodies = { '/health': '{"ok":true,"status":"live"}', '/startupz': '{"ok":true,"status":"started","version":"2026.9.6"}', '/readyz': '{"ready":true,"failing":[]}' }
    require('node:http').createServer((q, r) => r.end(bodies[q.url] ?? '')).listen(${port}, '127.0.0.1', () => console.log('up'))`
  const child = spawn(process.execPath, ['-e', code], { env, stdio: ['ignore', 'pipe', 'inherit'] })
  await new Promise((resolve) => child.stdout.once('data', resolve))
  return child
}
