/** What the woken human does next, in our own words: at most three steps, commands in backticks. */
import { pausePath } from '../tier/pause.ts'
import type { Settings } from '../tier/settings.ts'
import type { Scope } from './sightings.ts'

/** @param verdict what the gateway's trouble was called last, when that is known */
export function adviceFor(scope: Scope, verdict: string | undefined, settings: Settings): string[] {
  if (scope === 'watchers')
    return [
      'the gateway itself may be well: see with `openclaw gateway status`',
      'run `npm run setup` in the checkout to register the jobs again; the guardian’s log says what it tried',
    ]
  if (scope === 'disk')
    return [
      'see with `df -h ~` and `ls -ld` of the folders named',
      'until then no tier restarts anything: it could not count its restarts',
    ]
  return [
    forVerdict(verdict, settings),
    `keep the watchers’ hands off while you work: \`touch ${pausePath(settings)}\`; remove it afterwards`,
  ]
}

function forVerdict(verdict: string | undefined, settings: Settings): string {
  switch (verdict) {
    case 'impostor':
      return `see who has the port with \`lsof -nP -iTCP:${settings.gatewayPort} -sTCP:LISTEN\`; end it, or give one of the two another port`
    case 'misconfigured':
      return `see what is wrong with \`openclaw config validate\`; configs that worked are in \`${settings.watchdogDir}/known-good\``
    case 'blocked':
      return 'see the reason with `openclaw gateway status`: a missing secret, or a database that is newer or damaged; delete no data'
    case 'broken-install':
      return 'reinstall the version that you had with `npm install -g openclaw@<version>`, then `openclaw gateway restart`'
    default:
      return 'see why with `openclaw gateway status` and `openclaw logs`, then `openclaw gateway restart`'
  }
}
