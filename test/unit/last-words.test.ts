/** Ends of logs as OpenClaw 2026.9.6, Node, dyld and systemd write them, each with the reason that it names. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { lastWords } from '../../lib/gateway/last-words.ts'
import { linesOf, readGatewayLogs } from '../../lib/gateway/logs.ts'
import type { Service } from '../../lib/services/supervisor.ts'
import { redact } from '../../lib/tier/redact.ts'
import { loadSettings } from '../../lib/tier/settings.ts'

const at = (seconds: number) => new Date(Date.UTC(2026, 10, 29, 2, 0, seconds)).toISOString().replace('Z', '+00:00')
/** As console style `pretty` writes it. */
const localTime = (iso: string) => new Date(iso).toTimeString().slice(0, 8)
const BEGAN = `${at(8)} [gateway] loading configuration…
${at(8)} [gateway] resolving authentication…
${at(8)} [gateway] starting...`
const SERVED = `${at(0)} [gateway] ready\n${at(1)} [whatsapp] inbound: hello`
const BUNDLE = `${at(9)} [gateway] wrote stability bundle: /home/otto/.openclaw/logs/stability/openclaw-stability.json`
const failed = (why: string) =>
  `${BEGAN}\n${BUNDLE}\n${at(9)} Gateway failed to start: ${why}. Run openclaw gateway status --deep for diagnostics.\n${at(9)} Automatic triage is preparing the installed CLI; diagnostics will follow.`

/** As a start says it that finds its state in need of maintenance. */
const maintenance = (why: string) => {
  const then =
    'Stop the service with openclaw gateway stop (or its service owner), then run openclaw doctor --fix, then start it again with openclaw gateway start.'
  return `${why}\n[gateway] requires state migration. ${then}\nGateway failed to start: ${why} | gateway.maintenance_required. ${then}`
}

const hide = (text: string) => redact(text, ['correct horse battery staple zebra', 'Ahsh7eethoo8ohFaeyoo'])

/** @param writtenAt when the file was last written, in seconds */
const wordsOf = (text: string, writtenAt: number, isWhole = true) => {
  const writtenMs = Date.parse(at(writtenAt))
  return lastWords([{ lines: linesOf(text, writtenMs), writtenMs, isWhole }], Date.parse(at(0)) - 1, false, hide)
}

const NODE_CRASH = (error: string) => `node:internal/modules/cjs/loader:1386
  throw err;
  ^

Error: ${error}
Require stack:
- /opt/openclaw/dist/index.js
    at Module._resolveFilename (node:internal/modules/cjs/loader:1383:15)
  code: 'MODULE_NOT_FOUND',

Node.js v24.21.0`

test.each<[name: string, text: string, verdict: string | undefined, words: RegExp]>([
  [
    'an unknown key',
    `${BEGAN}
${at(9)} Gateway failed to start: Invalid config at /home/otto/.openclaw/openclaw.json:
<root>: Unrecognized key: "nosuchkey"
Run "openclaw doctor --fix" to repair, then retry.
If startup is still blocked, inspect the adjacent .bak backup before restoring it manually.
${at(9)} Run "openclaw doctor --fix" to repair the config, then retry.`,
    'misconfigured',
    /^Gateway failed to start: Invalid config at \/home\/otto\/.openclaw\/openclaw.json: <root>: Unrecognized key: "nosuchkey"$/,
  ],
  [
    'no mode, said on standard error alone',
    `Gateway start blocked: existing config is missing gateway.mode. Treat this as suspicious or clobbered config.
Config write audit: SQLite diagnostic_events/config-audit state (latest 50000 rows)`,
    'misconfigured',
    /^Gateway start blocked: existing config is missing gateway.mode/,
  ],
  [
    'no auth',
    `${BEGAN}
${at(9)} Refusing to bind gateway to lan without auth.
Container environment detected — the gateway defaults to bind=auto (0.0.0.0) for port-forwarding compatibility.
Set OPENCLAW_GATEWAY_TOKEN or OPENCLAW_GATEWAY_PASSWORD, or pass --token/--password to start with auth.`,
    'misconfigured',
    /^Refusing to bind gateway to lan without auth\.$/,
  ],
  [
    'an address that is not there',
    failed('gateway bind=custom requested 10.99.99.99 but resolved 0.0.0.0; refusing fallback'),
    'misconfigured',
    /refusing fallback$/,
  ],
  ['no certificate', failed('gateway tls: cert/key missing'), 'misconfigured', /gateway tls: cert\/key missing$/],
  [
    'no secret',
    `${BEGAN}
${at(9)} [secrets] [SECRETS_DEGRADED] cold gateway:ingress-auth: secret reference was not found. Retry: openclaw secrets reload.
${at(9)} Gateway failed to start: Startup failed: required secrets are unavailable.. Run openclaw gateway status --deep for diagnostics.
${at(9)} Automatic triage is preparing the installed CLI; diagnostics will follow.

${at(10)} Debugging prompt: $OPENCLAW_STATE_DIR/logs/support/openclaw-triage-prompt.md
No supported coding-agent CLI executable was found on this process's PATH.
Next step:
  env OPENCLAW_STATE_DIR='$OPENCLAW_STATE_DIR' openclaw triage
No configured embedded agent or directly launchable external agent is available.

${at(10)} Original failure retained; inspect the triage verification evidence before retrying.`,
    'blocked',
    /^Gateway failed to start: Startup failed: required secrets are unavailable$/,
  ],
  [
    'a migration that a busy machine cut off',
    failed(
      'OpenClaw startup migrations did not complete cleanly; refusing to report the gateway ready. - state lease heartbeat did not become ready (phase=startup, trigger=timeout, status=starting, elapsedMs=5003, timeoutMs=5000)',
    ),
    'needs-migration',
    /startup migrations did not complete/,
  ],
  [
    'another gateway holds its place',
    `${BEGAN}\n${at(9)} gateway.maintenance_required: another OpenClaw process owns gateway-lifecycle`,
    'refused-by-another-gateway',
    /owns gateway-lifecycle/,
  ],
  [
    'a second one under its supervisor',
    `${BEGAN}\n${at(9)} gateway already running under launchd; existing gateway is healthy, exiting with code 78`,
    'refused-by-another-gateway',
    /existing gateway is healthy/,
  ],
  ['a locked database', failed('database is locked'), 'refused-by-another-gateway', /database is locked/],
  [
    'a newer database',
    failed('state database uses newer schema version 41; this build supports 40'),
    'unusable-state',
    /newer schema/,
  ],
  ['a damaged database', failed('file is not a database'), 'unusable-state', /not a database/],
  ['damaged pages', failed('SqliteError: database disk image is malformed'), 'unusable-state', /image is malformed/],
  [
    'a missing module',
    `${SERVED}\n${NODE_CRASH("Cannot find module './run-command.mjs'")}`,
    'broken-install',
    /^Error: Cannot find module '.\/run-command.mjs'/,
  ],
  [
    'a module for another Node',
    failed(
      'The module better_sqlite3.node was compiled against a different Node.js version using NODE_MODULE_VERSION 115',
    ),
    'broken-install',
    /compiled against a different Node/,
  ],
  [
    'a package whose parts do not fit',
    `SyntaxError: The requested module './a.mjs' does not provide an export named 'b'`,
    'broken-install',
    /does not provide an export named/,
  ],
  ['no Node', 'env: node: No such file or directory', 'broken-install', /env: node/],
  [
    'a library of Node is gone',
    'dyld[812]: Library not loaded: /opt/homebrew/opt/icu4c/lib/libicui18n.73.dylib',
    'broken-install',
    /Library not loaded/,
  ],
  [
    'a file that it may not write',
    failed("EACCES: permission denied, open '/home/otto/.openclaw/state.db'"),
    'blocked',
    /EACCES/,
  ],
  [
    'a disk that may not be written',
    failed("EROFS: read-only file system, mkdir '/home/otto/.openclaw/logs'"),
    'blocked',
    /EROFS/,
  ],
  ['a quota', failed('EDQUOT: disk quota exceeded, write'), 'disk-full', /EDQUOT/],
  ['a full disk, by now with room', failed('database or disk is full'), undefined, /disk is full/],
  [
    'its port was taken',
    failed('another gateway instance is already listening on ws://127.0.0.1:18789 | listen EADDRINUSE'),
    undefined,
    /EADDRINUSE/,
  ],
  ['no memory for a child', failed('spawn ENOMEM'), undefined, /ENOMEM/],
  [
    'another gateway, as a start in its place says it',
    maintenance(
      'Doctor could not enter maintenance. StateDatabaseCoordinatorContentionError: another OpenClaw process owns gateway-lifecycle Stop the Gateway service and other OpenClaw processes using this state, then run openclaw doctor --fix from an independent shell.',
    ),
    'refused-by-another-gateway',
    /^Gateway failed to start: Doctor could not enter maintenance.*owns gateway-lifecycle/,
  ],
  [
    'a database that is none, as a start says it',
    maintenance(
      'Doctor cannot repair this state: shared state database is unreadable at /home/otto/.openclaw/state/openclaw.sqlite: file is not a database.',
    ),
    'unusable-state',
    /^Gateway failed to start: .*file is not a database/,
  ],
  [
    'a state folder of root',
    maintenance(
      "Doctor cannot repair this state: shared state database is unreadable at /home/otto/.openclaw/state/openclaw.sqlite: EACCES: permission denied, stat '/home/otto/.openclaw/state/openclaw.sqlite'.",
    ),
    'blocked',
    /EACCES/,
  ],
  [
    'a state folder on a read-only disk',
    `[state/db] skipped permission hardening for /home/otto/.openclaw/state: Error: EROFS: read-only file system, chmod '/home/otto/.openclaw/state'
${maintenance('attempt to write a readonly database')}`,
    'blocked',
    /^Gateway failed to start: attempt to write a readonly database/,
  ],
  [
    'a migration that a busy machine cut off, with all that it says',
    `- Migration step "sessions" was not run because prior step "media-persistence" refused execution.
Run "openclaw doctor --fix" against the same state/config, then restart the gateway.
[gateway] requires state migration. Stop the service with openclaw gateway stop (or its service owner), then run openclaw doctor --fix, then start it again with openclaw gateway start.
Gateway failed to start: OpenClaw startup migrations did not complete cleanly; refusing to report the gateway ready.
- Agent database maintenance deferred: agent database maintenance lease core:agent-database-maintenance/global was lost | state lease heartbeat did not become ready (phase=startup, trigger=timeout, status=starting, elapsedMs=5032, timeoutMs=5000, onlineObserved=true, startupPhase=entry-not-observed)
${'- Migration step "profile-workspace" was not run because prior step "media-persistence" refused execution.\n'.repeat(41)}Run "openclaw doctor --fix" against the same state/config, then restart the gateway. | gateway.maintenance_required | Doctor stopped because a state migration refused to continue. Resolve the reported migration failure before retrying. Later repairs were not run.
Failing check media-persistence (step-refused): Agent database maintenance deferred: agent database maintenance lease core:agent-database-maintenance/global was lost | state lease heartbeat did not become ready (phase=startup, trigger=timeout, stat
Failing check migration-detection (blocked-by-prior-refusal): Migration step "migration-detection" was not run because prior step "media-persistence" refused execution.. Stop the service with openclaw gateway stop (or its service owner), then run openclaw doctor --fix, then start it again with openclaw gateway start.`,
    'needs-migration',
    /^Gateway failed to start: OpenClaw startup migrations did not complete cleanly; .*heartbeat/,
  ],
  [
    'a lease that a busy machine did not get, and no migration',
    `${BEGAN}
${at(8)} [gateway] owner lease heartbeat stopped; process identity remains recorded
${BUNDLE}
${at(9)} Gateway failed to start: state lease heartbeat did not become ready (phase=startup, trigger=timeout, status=starting, elapsedMs=5039, timeoutMs=5000, onlineObserved=true, startupPhase=entry-not-observed). Run openclaw gateway status --deep for diagnostics.`,
    'needs-migration',
    /^Gateway failed to start: state lease heartbeat/,
  ],
  [
    'something of its state that is not known, and is to be migrated',
    maintenance('the flux capacitor is of an older kind'),
    'needs-migration',
    /flux capacitor/,
  ],
  [
    'it is older than what wrote its config',
    `Your OpenClaw config was written by version 2027.3.1, but this command is running 2026.9.6.
Check: \`openclaw --version\`, \`which openclaw\`, and \`openclaw gateway status --deep\`.
If unexpected, update PATH so \`openclaw\` points to the version you want, or reinstall the Gateway service from that same OpenClaw install.
Refusing to run automatic gateway startup migrations because this OpenClaw binary (2026.9.6) is older than the config last written by OpenClaw 2027.3.1.
Run the newer openclaw binary on PATH, or reinstall the intended gateway service from the newer install.
Set OPENCLAW_ALLOW_OLDER_BINARY_DESTRUCTIVE_ACTIONS=1 only for an intentional downgrade or recovery action.`,
    'unusable-state',
    /^Refusing to run .*older than the config last written by OpenClaw 2027/,
  ],
  ['no Node, as coreutils quote it', '/usr/bin/env: ‘node’: No such file or directory', 'broken-install', /‘node’/],
  ['no Node, as dash says it', '/usr/local/bin/openclaw: 2: exec: node: not found', 'broken-install', /exec: node/],
  [
    'a Node that is too old',
    `openclaw: Node 20.20.2: node:sqlite is unavailable; use 24.16+/26.1+ or a build with the fix.
If you use nvm, run:
  nvm install 26`,
    'broken-install',
    /^openclaw: Node 20.20.2: node:sqlite is unavailable/,
  ],
  [
    'a key that its version does not know, with its place',
    `${BEGAN}
${at(9)} Gateway failed to start: Invalid config at /home/otto/.openclaw/openclaw.json:
openclaw.json:1 — gateway: Unrecognized key: "nosuch"
Run "openclaw doctor --fix" to repair, then retry.
${at(9)} Run "openclaw doctor --fix" to repair the config, then retry.`,
    'misconfigured',
    /gateway: Unrecognized key: "nosuch"$/,
  ],
  ['a child for which the kernel had no room', failed('Out of memory: Killed process 4711'), undefined, /Killed/],
  ['a file that macOS does not give it', failed("EPERM: operation not permitted, open '/x'"), 'blocked', /EPERM/],
  [
    'an address that is not there yet',
    failed('listen EADDRNOTAVAIL: address not available 100.64.1.2:18789'),
    'misconfigured',
    /EADDRNOTAVAIL/,
  ],
  ['a port that is root’s', failed('listen EACCES: permission denied 0.0.0.0:80'), 'misconfigured', /EACCES/],
  ['an old SQLite’s words', failed('file is encrypted or is not a database'), 'unusable-state', /not a database/],
  ['a locked table', failed('database table is locked'), 'refused-by-another-gateway', /locked/],
  ['no Node, in German', '/usr/bin/env: „node“: Datei oder Verzeichnis nicht gefunden', 'broken-install', /„node“/],
  ['no Node, as bash says it', 'start.sh: line 3: node: command not found', 'broken-install', /command not found/],
  ['half a package', 'Error [ERR_INVALID_PACKAGE_CONFIG]: Invalid package config /x.', 'broken-install', /config \/x/],
  ['a Node of another processor', '/usr/bin/node: cannot execute: Exec format error', 'broken-install', /Exec format/],
  [
    'an older C library',
    "Error: /lib/libc.so.6: version `GLIBC_2.38' not found (required by /x.node)",
    'broken-install',
    /GLIBC/,
  ],
  [
    'the beginning of its boot was rotated away',
    `${at(8)} [gateway] starting...\n${at(9)} Gateway failed to start: file is not a database. Run openclaw`,
    'unusable-state',
    /not a database/,
  ],
  [
    'console style pretty',
    failed('file is not a database').replaceAll(/^2026\S+ /gm, (time) => `${localTime(time.trim())} `),
    'unusable-state',
    /^Gateway failed to start: file is not a database$/,
  ],
  [
    'console style json',
    [
      { time: at(8), subsystem: 'gateway', message: 'loading configuration…' },
      {
        time: at(9),
        message: 'Gateway failed to start: Invalid config at /x:\na: Unrecognized key: "b"\nRun "openclaw"',
      },
    ]
      .map((line) => JSON.stringify(line))
      .join('\n'),
    'misconfigured',
    /^Gateway failed to start: Invalid config at \/x: a: Unrecognized key: "b"$/,
  ],
  ['something that no rule knows', failed('flux capacitor exceeded 1.21 gigawatts'), undefined, /flux capacitor/],
])('%s', (_name, text, verdict, words) => {
  const found = wordsOf(text, 40)
  expect(found?.text).toMatch(words)
  expect(found?.reason?.verdict).toBe(verdict)
})

test.each([
  [
    'a chat quotes an error',
    `${SERVED}\n${at(2)} [whatsapp] inbound: what does this mean?\ndatabase disk image is malformed`,
    2,
  ],
  [
    'a chat quotes a refusal',
    `${SERVED}\n${at(2)} [whatsapp] inbound: see\nGateway start blocked: existing config is missing gateway.mode`,
    3,
  ],
  ['a tool logs an error', `${SERVED}\n${at(2)} [tools] exec failed: Cannot find module './foo'`, 40],
  [
    'a chat quotes an error, console style pretty',
    `${localTime(at(0))} [gateway] ready\n${localTime(at(2))} [whatsapp] inbound: huh?\nfile is not a database`,
    2,
  ],
  [
    'a chat quotes an error, console style json',
    ['ready', 'huh?\nGateway failed to start: file is not a database']
      .map((message, i) => JSON.stringify({ time: at(i), subsystem: i ? 'gateway/whatsapp' : 'gateway', message }))
      .join('\n'),
    2,
  ],
  [
    'a chat quotes the end of a gateway, a tool logs an error later',
    `${SERVED}\n${at(2)} [whatsapp] inbound: [shutdown] completed\n${at(30)} [tools] exec failed: Cannot find module './foo'`,
    40,
  ],
  ['the boot went well', `${BEGAN}\n${at(9)} [gateway] ready`, 9],
  [
    'a chat that goes on where the log was cut',
    `Gateway failed to start: file is not a database\n${at(2)} [agent] run`,
    40,
    false,
  ],
  ['a chat that fills the log', `${'word\n'.repeat(99)}database disk image is malformed`, 40, false],
])('%s: no reason', (_name, text, writtenAt, isWhole = true) => {
  expect(wordsOf(text, writtenAt, isWhole)?.reason).toBeUndefined()
})

test('what it writes on its way out is no refusal', () => {
  const end = `${at(5)} [shutdown] completed cleanly in 904ms\n${at(6)} [lifecycle] stopped after SIGTERM 3 times in 5 min: another supervisor may be managing this Gateway`
  expect(wordsOf(`${SERVED}\n${end}`, 6)).toBeUndefined()
})

test.each<[string, from: string, said: unknown, words: RegExp]>([
  ['coloured text', 'node', [...Buffer.from('\u001b[31mGateway failed to start: flux\u001b[0m')], /^Gateway .*: flux$/],
  ['console style pretty', 'node', '23:59:59 Gateway failed to start: flux', /^Gateway failed to start: flux$/],
  ['only systemd knows', 'systemd', 'x.service: Failed to load environment files: No such file', /environment files/],
])('the journal of a unit: %s', async (_name, from, said, words) => {
  const home = mkdtempSync(join(tmpdir(), 'oc-words-'))
  onTestFinished(() => rmSync(home, { recursive: true }))
  const entry = (comm: string, message: unknown) =>
    JSON.stringify({ MESSAGE: message, _COMM: comm, __REALTIME_TIMESTAMP: String(Date.now() * 1000) })
  const newestFirst = [entry(from, said), entry('systemd', 'Started x.service.')]
  writeFileSync(join(home, 'journalctl'), `#!/bin/sh\ncat <<'EOF'\n${newestFirst.join('\n')}\nEOF\n`)
  chmodSync(join(home, 'journalctl'), 0o700)
  const settings = loadSettings({ HOME: home, PATH: `${home}:/usr/bin:/bin` })
  const service = { kind: 'systemd', loaded: true, name: 'x.service', scope: '--user' } as Service
  expect(lastWords(await readGatewayLogs(settings, 0, service), 0, false, hide)?.text).toMatch(words)
})

const KEY = ['MIIEvQIBADANBgkqhkiG9w0BAQEFAASC', 'MzEfYyjiWA4R4M2bS1GB4t7NXp98C3SC', 'NMoSfm76oqFvAp8Gy0iz5sxjZmSnXyCd']
const PEM = (separator: string) => ['-----BEGIN PRIVATE KEY-----', ...KEY, '-----END PRIVATE KEY-----'].join(separator)

// What cuts and joins lines comes after what takes out secrets: half of one is not recognised.
test.each([
  ['a key in the line of the refusal', failed(`bad key: ${PEM('\n')}`), KEY],
  ['a key in one line', failed(`bad key: ${PEM(' ')}`), KEY],
  ['a key below a crash', `Error: bad key\n${PEM('\n')}`, KEY],
  ['a pass phrase at the cut', failed(`${'word '.repeat(51)}correct horse battery staple zebra`), ['horse']],
  ['a token that goes over two lines', failed('no login with\nAhsh7eethoo8\nohFaeyoo'), ['Ahsh7', 'ohFaeyoo']],
  ['a password with blanks', failed('see\nGATEWAY_PASSWORD=abc def ghijk'), ['abc', 'ghijk']],
])('no secret in the last words: %s', (_name, text, secrets) => {
  const words = wordsOf(text, 40)!.text
  expect(words).toMatch(/REDACTED/)
  for (const secret of secrets) expect(words).not.toContain(secret)
})
