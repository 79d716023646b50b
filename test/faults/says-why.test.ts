/** What is made of each text with which a boot can end. */
import { expect } from 'vitest'
import { test } from '../support/boxes.ts'
import { startWebhookReceiver } from '../support/webhook-receiver.ts'
import { tiersIn } from './stand-in-stage.ts'

/** What `Gateway failed to start:` goes on with, and how often it is started all the same. */
test.concurrent.for<[text: string, verdict: string, starts: number, code?: number]>([
  ['database is locked', 'refused-by-another-gateway', 1],
  ['file is not a database', 'unusable-state', 0, 78],
  ["The module 'better_sqlite3.node' was compiled against a different Node.js version", 'broken-install', 0],
  ["The requested module './a.mjs' does not provide an export named 'b'", 'broken-install', 0],
  ['dyld[812]: Library not loaded: /opt/homebrew/opt/icu4c/lib/libicui18n.73.dylib', 'broken-install', 0],
  ["EACCES: permission denied, open '/home/otto/.openclaw/state/openclaw.sqlite'", 'blocked', 1],
  ['gateway tls: cert/key missing', 'misconfigured', 0],
  ['gateway bind=custom requested 10.99.99.99 but resolved 0.0.0.0; refusing fallback', 'misconfigured', 0],
  ['EDQUOT: disk quota exceeded, write', 'disk-full', 0],
  // Each may have passed by now: that is tried, but not for a third time.
  ['database or disk is full', 'absent', 2],
  ['spawn ENOMEM', 'absent', 2],
  ['Out of memory: Killed process 4711 (openclaw-gatewa)', 'absent', 2],
])('%s: %s, %i starts', async ([text, verdict, starts, code = 1], { sandbox }) => {
  const receiver = await startWebhookReceiver()
  // What only a human can settle is not waited for.
  const HEALTH_CHECK_ESCALATION_WAIT = verdict === 'unusable-state' ? '1000' : '1'
  const settings = { DISCORD_WEBHOOK_URL: receiver.url, HEALTH_CHECK_ESCALATION_WAIT }
  const box = await sandbox({ absent: ['claude'], settings })
  await box.startGateway({ exitAtBoot: { code, stderr: `Gateway failed to start: ${text}` } }, 'exit')
  const tiers = tiersIn(box, receiver, 180_000)
  expect(await tiers.examine()).toBe(verdict)
  for (const name of ['gateway-watchdog', 'gateway-healthcheck'])
    expect(await tiers.run(name)).toMatchObject({ code: 1 })
  await tiers.run('emergency-recovery-monitor')
  await receiver.close()
  const log = box.log()
  expect(box.restarts() + box.restarts('healthcheck'), log).toBe(starts)
  expect(receiver.requests.map(({ text: sent }) => sent).join('\n'), log).toContain(JSON.stringify(text).slice(1, -1))
})
