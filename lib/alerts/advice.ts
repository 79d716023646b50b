/** What the woken human does next, in our own words: at most three steps, commands in backticks. */
import type { Verdict } from '../gateway/examine.ts'
import { pausePath } from '../tier/pause.ts'
import { DEFAULT_PROFILE } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'
import type { Scope } from './sightings.ts'

/** @param verdict what the gateway's trouble was called last, when that is known */
export function adviceFor(scope: Scope, verdict: string | undefined, settings: Settings): string[] {
  const openclaw = settings.profile === DEFAULT_PROFILE ? 'openclaw' : `openclaw --profile ${settings.profile}`
  const setup =
    settings.profile === DEFAULT_PROFILE ? 'npm run setup' : `npm run setup -- --profile ${settings.profile}`
  if (scope === 'watchers')
    return [
      `the gateway itself may be well: see with \`${openclaw} gateway status\``,
      `run \`${setup}\` in the checkout to register the jobs again; the guardian’s log says what it tried`,
    ]
  if (scope === 'disk')
    return [
      'see with `df -h ~` and `ls -ld` of the folders named',
      'until then no tier restarts anything: it could not count its restarts',
    ]
  return [
    forVerdict(settings, openclaw)[verdict as Verdict] ??
      `see why with \`${openclaw} gateway status\` and \`${openclaw} logs\`, then \`${openclaw} gateway restart\``,
    `keep the watchers’ hands off while you work: \`touch ${pausePath(settings)}\`; remove it afterwards`,
  ]
}

function forVerdict(settings: Settings, openclaw: string): Partial<Record<Verdict, string>> {
  return {
    impostor: `see who has the port with \`lsof -nP -iTCP:${settings.gatewayPort} -sTCP:LISTEN\`; end it, or give one of the two another port`,
    misconfigured: `see what is wrong with \`${openclaw} config validate\`; configs that worked are in \`${settings.watchdogDir}/known-good\``,
    blocked: `see which secret is missing with \`${openclaw} gateway status\`; provide it, then \`${openclaw} gateway restart\``,
    'unusable-state': `its database is damaged, or newer than the version that runs: see \`openclaw --version\` and \`${openclaw} gateway status\`; delete no data`,
    'disk-full': `make room: \`df -h ~\` says how much there is, \`du -sh ${settings.stateDir} ${settings.memoryDir}\` who takes it`,
    'broken-install': `reinstall the version that you had with \`npm install -g openclaw@<version>\`, then \`${openclaw} gateway restart\``,
  }
}
