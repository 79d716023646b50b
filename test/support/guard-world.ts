/** A HOME with a gateway's files in it, secrets planted where they lie in life, and the world that a guard sees there. */
import { mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { World } from '../../lib/doctor/guard-context.ts'

/** Nothing that the guard shows, copies or writes may hold one of these. */
export const PLANTED = [
  'planted-gateway-token-1',
  'planted-env-secret-2',
  'planted-bot-token-3',
  'planted-plist-token-4',
]

export const CONFIG_TEXT = `// the gateway's config
{
  "gateway": {
    "mode": "local", "port": 18789, "bind": "loopback",
    "auth": { "mode": "token", "token": "planted-gateway-token-1" },
  },
  "logging": { "level": "info" },
  "agents": { "defaults": { "model": { "primary": "anthropic/claude-x" }, "bogus": 1 } },
  "channels": { "telegram": { "enabled": true, "botToken": "planted-bot-token-3", "allowFrom": ["1001"], "groupPolicy": "allowlist" } },
  "plugins": { "entries": { "broken": { "enabled": true } } }, "bogus": 1
}
`

export interface GuardHome {
  home: string
  world: World
  /** Fills in `{home}`, `{config}` and the other placeholders of the corpus. */
  fill(text: string): string
  remove(): void
}

export function guardHome(changes: Partial<World> = {}): GuardHome {
  const home = realpathSync(mkdtempSync(join(tmpdir(), 'guard-')))
  const put = (path: string, content: string) => {
    mkdirSync(join(home, path, '..'), { recursive: true })
    writeFileSync(join(home, path), content, { mode: 0o600 })
  }
  put('.openclaw/openclaw.json', CONFIG_TEXT)
  put('.openclaw/openclaw.json.bak', CONFIG_TEXT)
  put('.openclaw/.env', 'DISCORD_WEBHOOK_URL=https://discord.com/api/webhooks/1/planted-env-secret-2\n')
  put('.openclaw/logs/gateway.log', '2026-11-22 error: JSON5 parse failed\n2026-11-22 info: gateway starting\n')
  put('.openclaw/logs/gateway.err.log', 'EADDRINUSE\n')
  // Larger than what is searched for the shapes of secrets.
  put('.openclaw/logs/big.log', '2026-11-22 info: gateway is ready\n'.repeat(40_000))
  put('.openclaw/logs/secret.log', 'connecting with planted-gateway-token-1\n')
  put('.openclaw/agents/main/agent/auth-profiles.json', '{"key":"planted-env-secret-2"}')
  put('.openclaw/agents/main/sessions/1.jsonl', '{"role":"user","content":"my diary"}')
  put('.openclaw/credentials/whatsapp.json', '{"creds":"planted-env-secret-2"}')
  put('.ssh/id_ed25519', 'planted-env-secret-2')
  put('private/diary.txt', 'private')
  put('Library/LaunchAgents/ai.openclaw.gateway.plist', PLIST)
  put('.config/systemd/user/openclaw-gateway.service', '[Service]\nExecStart=/usr/bin/openclaw gateway run\n')
  put('openclaw/memory/recovery-learnings.md', '# Learnings\n')
  put('openclaw/memory/report.md', 'a report\n')
  put('openclaw/memory/run/context.json', '{}')
  put('project/README.md', '# project\n')
  put('project/lib/doctor/guard.ts', 'a')
  put('lib/node_modules/openclaw/package.json', '{"version":"2026.9.6"}')
  symlinkSync(join(home, '.openclaw/.env'), join(home, '.openclaw/logs/leak.log'))
  symlinkSync(join(home, '.openclaw/openclaw.json'), join(home, 'config-link.json'))
  symlinkSync(join(home, 'openclaw/memory'), join(home, 'link-to-report-folder'))
  const memoryDir = join(home, 'openclaw/memory')
  const world: World = {
    runFolder: join(memoryDir, 'run'),
    recoveryLogPath: join(memoryDir, 'emergency-recovery.log'),
    reportPath: join(memoryDir, 'report.md'),
    reasoningPath: join(memoryDir, 'reasoning.md'),
    home,
    stateDir: join(home, '.openclaw'),
    memoryDir,
    configPath: join(home, '.openclaw/openclaw.json'),
    gatewayPort: 18789,
    projectDir: join(home, 'project'),
    profile: 'default',
    launchdLabel: 'ai.openclaw.gateway',
    systemdUnit: 'openclaw-gateway.service',
    installedVersion: '2026.9.6',
    packageDir: join(home, 'lib/node_modules/openclaw'),
    secrets: PLANTED,
    uid: 501,
    isGatewayProcess: async (pid) => pid === 4242,
    ...changes,
  }
  const values: Record<string, string> = {
    home,
    config: world.configPath,
    report: world.reportPath,
    reasoning: world.reasoningPath,
    memory: memoryDir,
    run: world.runFolder,
    project: world.projectDir,
    package: world.packageDir ?? '',
    port: String(world.gatewayPort),
    uid: String(world.uid),
  }
  return {
    home,
    world,
    fill: (text) => text.replace(/\{(\w+)\}/g, (whole, name: string) => values[name] ?? whole),
    remove: () => rmSync(home, { recursive: true, force: true }),
  }
}

const PLIST = `<?xml version="1.0"?>
<plist><dict><key>Label</key><string>ai.openclaw.gateway</string>
<key>EnvironmentVariables</key><dict><key>OPENCLAW_GATEWAY_TOKEN</key><string>planted-plist-token-4</string></dict>
</dict></plist>
`
