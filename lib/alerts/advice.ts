/** What the woken human does next, in our own words: at most three steps, commands in backticks. */
import type { Verdict } from '../gateway/examine.ts'
import { pausePath } from '../tier/pause.ts'
import type { Settings } from '../tier/settings.ts'

/** Steps for a gateway that no level could bring back. */
export function adviceFor(verdict: Verdict | undefined, settings: Settings): string[] {
  const port = settings.gatewayPort
  const first: Partial<Record<Verdict, string>> = {
    impostor: `see who has the port with \`lsof -nP -iTCP:${port} -sTCP:LISTEN\`; end it, or give one of the two another port`,
    misconfigured:
      'see what is wrong with `openclaw config validate`; earlier configs are kept in `known-good`, beside the state files',
    blocked:
      'see the reason with `openclaw gateway status`: a missing secret, or a database that is newer or damaged; do not delete data',
    'broken-install':
      'reinstall the version that you had with `npm install -g openclaw@<version>`, then `openclaw gateway restart`',
    hung: 'see what it hangs on with `openclaw logs`, then `openclaw gateway restart`',
  }
  return [
    (verdict && first[verdict]) ??
      'see why with `openclaw gateway status` and `openclaw logs`, then `openclaw gateway restart`',
    `keep the watchers’ hands off while you work: \`touch ${pausePath(settings)}\`; remove it afterwards`,
  ]
}

/** Steps for watchers that the guardian could not revive. */
export function adviceForWatchers(): string[] {
  return [
    'the gateway itself may be well: see with `openclaw gateway status`',
    'run `npm run setup` in the checkout to register the jobs again; the guardian’s log says what it tried',
  ]
}

/** Steps for folders that cannot be written. */
export function adviceForDisk(): string[] {
  return [
    'see with `df -h ~` and `ls -ld` of the folders named',
    'until then the tiers restart nothing: they could not count their restarts',
  ]
}
