/** Written-down evidence, and the verdict on it. */
import { expect, test } from 'vitest'
import { type Absence, type Evidence, judge } from '../../lib/gateway/judge.ts'
import type { Probe } from '../../lib/gateway/probe.ts'
import { REASONS } from '../../lib/gateway/reasons.ts'
import { fingerprintOf } from '../../lib/incidents/history.ts'
import type { Service } from '../../lib/services/supervisor.ts'
import type { Settings } from '../../lib/tier/settings.ts'

const settings = {
  startupGraceSec: 300,
  crashLoopDeaths: 5,
  crashLoopMin: 10,
  gatewayPort: 18789,
  stateDir: '/home/otto/.openclaw',
} as Settings
const gateway = { pid: 7, parentPid: 1, memoryMb: 200, ageSec: 1000, command: 'openclaw-gateway' }
const answer = (kind: Probe['kind'], more: Partial<Probe> = {}): Probe => ({
  ...{ kind, detail: kind, failing: [], suppressed: [] },
  ...more,
})
const unit = (more: Partial<Service> = {}): Service => ({
  ...{ kind: 'systemd', name: 'openclaw-gateway.service', scope: '--user', loaded: true, detail: 'systemd' },
  ...{ restarting: false, stopping: false, parked: false, stopped: undefined },
  ...more,
})
const live: Evidence = {
  ...{ answer: answer('live'), process: gateway, wasHealthy: true, troubleSec: 0, service: undefined, recentDeaths: 0 },
}
const process = (answered: Probe, more: Partial<Evidence> = {}): Evidence => ({ ...live, answer: answered, ...more })
const words = (text: string) => ({
  text,
  ms: 1,
  isRefusal: true,
  reason: REASONS.find(({ pattern }) => pattern.test(text)),
})
const healthyConfig = {
  problem: undefined,
  validation: undefined,
  isNewerThanWords: false,
  isUnchanged: false,
  isWritable: true,
}
const down = (more: Partial<Absence> = {}, service = unit()): Evidence => ({
  ...live,
  ...{ answer: answer('refused'), process: undefined, wasHealthy: false, service },
  down: { stop: undefined, freeMb: 9000, words: undefined, config: healthyConfig, ...more },
})
const stranger = { ...gateway, command: 'python3 -m http.server 18789' }
const invalid = words('Invalid config at /x: <root>: Unrecognized key: "a"')

test.each<[string, Evidence, verdict: string]>([
  ['live', live, 'healthy'],
  ['live and draining', process(answer('live', { phase: 'draining' })), 'draining'],
  [
    'live and starting, for longer than the grace',
    process(answer('live', { phase: 'starting' }), { troubleSec: 400 }),
    'healthy',
  ],
  ['live and starting', process(answer('live', { phase: 'starting' }), { troubleSec: 20 }), 'starting'],
  [
    'killed, after a chat said what a refusal says',
    down({ words: words('file is not a database'), ended: 'was killed by SIGKILL (9)' }),
    'absent',
  ],
  ['live beside its supervisor', { ...live, service: unit({ pid: 99 }) }, 'orphan'],
  ['a child of what is supervised', { ...live, service: unit({ pid: 1 }) }, 'healthy'],
  ['a stranger has the port', { ...live, portOwner: stranger }, 'impostor'],
  ['another user has the port', process(answer('other'), { portOwner: 'of another user' }), 'impostor'],
  ['no answer from one that was healthy', process(answer('timeout')), 'hung'],
  ['it was healthy and restarts itself', process(answer('refused'), { troubleSec: 20 }), 'starting'],
  ['it restarts itself for too long', process(answer('refused'), { troubleSec: 301 }), 'hung'],
  [
    'it is young and was never healthy',
    process(answer('refused'), { wasHealthy: false, process: { ...gateway, ageSec: 9 } }),
    'starting',
  ],
  ['it is old and was never healthy', process(answer('refused'), { wasHealthy: false }), 'hung'],
  ['an old version', process(answer('other', { status: 404 }), { rootAnswers: true }), 'healthy'],
  ['stopped by a user', down({ stop: 'by a user' }), 'stopped-on-purpose'],
  ['its unit is stopping', down({}, unit({ stopping: true })), 'draining'],
  ['no disk left', down({ freeMb: 3 }), 'disk-full'],
  ['no config', down({ config: { ...healthyConfig, problem: 'does not exist' } }), 'misconfigured'],
  ['its own words against the config', down({ words: invalid }), 'misconfigured'],
  [
    'the config was changed since',
    down({ words: invalid, config: { ...healthyConfig, isNewerThanWords: true } }),
    'absent',
  ],
  [
    'the config passes now',
    down({ words: invalid, config: { ...healthyConfig, validation: { valid: true } } }),
    'absent',
  ],
  [
    'a refusal that validation does not see',
    down({ words: words('Gateway start blocked: no mode'), config: { ...healthyConfig, validation: { valid: true } } }),
    'misconfigured',
  ],
  ['a secret', down({ words: words('required secrets are unavailable') }), 'blocked'],
  ['a module', down({ words: words("Cannot find module './x'") }), 'broken-install'],
  ['a port that is free by now', down({ words: words('listen EADDRINUSE') }), 'absent'],
  ['an unfinished migration', down({ words: words('startup migrations did not complete cleanly') }), 'needs-migration'],
  [
    'another gateway',
    down({ words: words('another OpenClaw process owns gateway-lifecycle') }),
    'refused-by-another-gateway',
  ],
  ['a program that is gone', down({}, unit({ lastExitCode: 203, parked: true })), 'broken-install'],
  [
    'a program that launchd cannot spawn',
    down({}, unit({ cannotStart: { program: '/x' }, parked: true })),
    'broken-install',
  ],
  [
    'its unit restarts it again and again',
    { ...down({}, unit({ restarting: true })), recentDeaths: 5 },
    'crash-looping',
  ],
  ['its unit restarts it', down({}, unit({ restarting: true })), 'starting'],
  [
    'its program rejects what it was healthy on',
    down({ config: { ...healthyConfig, validation: { valid: false, issues: 'x' }, isUnchanged: true } }),
    'needs-migration',
  ],
  [
    'its program rejects what was changed',
    down({ config: { ...healthyConfig, validation: { valid: false, issues: 'x' } } }),
    'misconfigured',
  ],
  ['exit 78 and no words', down({}, unit({ parked: true, lastExitCode: 78 })), 'unknown'],
  ['words that no rule knows', down({ words: words('flux capacitor exceeded') }), 'unknown'],
  ['its supervisor is out of reach', down({}, unit({ kind: 'elsewhere' })), 'supervised-elsewhere'],
  ['its unit gave up', down({}, unit({ parked: true, lastExitCode: 1 })), 'parked'],
  ['its job is not loaded', down({}, unit({ kind: 'launchd', loaded: false })), 'unloaded'],
  [
    'its job is not loaded, after many deaths',
    { ...down({}, unit({ kind: 'launchd', loaded: false })), recentDeaths: 9 },
    'unloaded',
  ],
  ['no process and no reason', down({}, unit({ kind: 'none', loaded: false })), 'absent'],
])('%s', (_name, evidence, verdict) => {
  expect(judge(evidence, settings).verdict).toBe(verdict)
})

test.each<[string, Evidence, RegExp[]]>([
  ['words that no rule knows', down({ words: words('flux capacitor exceeded') }), [/flux capacitor exceeded/]],
  [
    'a broken config',
    down({ config: { ...healthyConfig, problem: 'no JSON5' }, ended: 'exited with code 78' }),
    [/78/],
  ],
  [
    'a program that is gone',
    down({}, unit({ cannotStart: { program: '/x' }, detail: 'exit code 78' })),
    [/^\/x/, /78/],
  ],
  [
    'a crash loop whose next process boots',
    process(answer('refused'), { wasHealthy: false, recentDeaths: 6, wordsBefore: words('boom'), service: unit() }),
    [/^boom; 6 processes/, /systemd$/],
  ],
  [
    'a supervisor elsewhere',
    down({}, unit({ kind: 'elsewhere', command: 'pm2 restart claw' })),
    [/`pm2 restart claw`/],
  ],
])('the evidence has the cause and how it ended: %s', (_name, evidence, said) => {
  for (const text of said) expect(judge(evidence, settings).evidence).toMatch(text)
})

test('one crash loop is one failure at whatever moment it is seen', () => {
  const of = (evidence: Evidence) => fingerprintOf(judge(evidence, settings))
  const spawning = { ...down({ words: words('boom') }, unit({ restarting: true })), recentDeaths: 5 }
  const booting = {
    wasHealthy: false,
    recentDeaths: 9,
    wordsBefore: words('boom'),
    service: unit({ detail: 'running' }),
  }
  expect(of(process(answer('refused'), booting))).toBe(of(spawning))
  expect(of({ ...spawning, down: down({ words: words('bang') }).down! })).not.toBe(of(spawning))
})
