/** Command lines of processes, from field reports: which are a gateway's. */
import { expect, test } from 'vitest'
import { isGatewayCommand } from '../../lib/gateway/processes.ts'

test.each([
  'openclaw-gateway',
  'openclaw',
  '(openclaw-gateway)',
  'node /usr/lib/node_modules/openclaw/openclaw.mjs gateway --port 18789',
  '/opt/homebrew/opt/node/bin/node /opt/homebrew/lib/node_modules/openclaw/dist/index.js gateway',
  '/usr/bin/node --max-old-space-size=4096 /usr/lib/node_modules/openclaw/dist/entry.js gateway run',
  '/usr/bin/node -r /opt/agent.js /usr/lib/node_modules/openclaw/openclaw.mjs gateway',
  'node dist/index.js gateway',
  '/opt/node24/bin/node --max-old-space-size=8192 /opt/openclaw/node_modules/openclaw/dist/index.js gateway --port 18789',
  'openclaw --profile=work gateway run',
  'node /app/dist/index.js gateway --bind lan --port 18789',
  'node /Users/otto/openclaw-bundled/dist/index.js gateway run',
  'node /usr/lib/node_modules/openclaw/openclaw.mjs --profile work gateway run --force',
  'node /usr/lib/node_modules/openclaw/openclaw.mjs --log-level debug --dev gateway',
  '/usr/local/bin/openclaw gateway run',
  'bun /home/otto/openclaw/openclaw.mjs gateway',
  'node22 /usr/lib/node_modules/openclaw/openclaw.mjs gateway',
  'nodejs /usr/lib/node_modules/openclaw/openclaw.mjs gateway',
  'node-24 /usr/lib/node_modules/openclaw/openclaw.mjs gateway run',
  '/home/otto/.local/share/pnpm/global/5/node_modules/.pnpm/openclaw@2026.9.6/node_modules/openclaw/openclaw.mjs gateway',
])('a gateway: %s', (command) => {
  expect(isGatewayCommand(command)).toBe(true)
})

test.each([
  'ssh box openclaw gateway run',
  '/usr/bin/ssh -N -L 18789:127.0.0.1:18789 openclaw-gateway',
  'docker exec -it claw node dist/index.js gateway',
  'sudo -u otto openclaw gateway run',
  '/usr/bin/sudo -u otto /usr/bin/node /usr/lib/node_modules/openclaw/openclaw.mjs gateway',
  'timeout 60 openclaw gateway run',
  'podman exec claw node /app/dist/index.js gateway',
  'unshare --pid --fork openclaw gateway run',
  'systemd-run --user --scope openclaw gateway run',
  'PM2 v7.0.4: God Daemon (/home/otto/.pm2)',
  'node /usr/local/bin/pm2-runtime start openclaw -- gateway run',
  '/opt/openclaw/node_modules/openclaw/dist/process/spawn-broker/worker.js',
  'node /opt/openclaw/node_modules/openclaw/dist/process/spawn-broker/worker.js',
  'openclaw-triage',
  'sh -c openclaw gateway run',
  'vim openclaw gateway',
  'tail -f /home/otto/.openclaw/logs/gateway.log',
  'node /usr/lib/node_modules/openclaw/openclaw.mjs gateway status',
  'node /usr/lib/node_modules/openclaw/openclaw.mjs gateway restart',
  'node /usr/lib/node_modules/openclaw/openclaw.mjs --profile gateway status',
  'node /usr/lib/node_modules/openclaw/openclaw.mjs doctor',
  'node /home/otto/app/server.js gateway',
  'node /home/otto/dist/index.js serve gateway',
  'node --title openclaw-gateway /home/otto/other.js',
  'openclaw-update',
  'grep openclaw-gateway',
  '',
])('no gateway: %s', (command) => {
  expect(isGatewayCommand(command)).toBe(false)
})
