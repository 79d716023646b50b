/** What must not leave this machine in an alert. */
import { readConfig } from '../gateway/config.ts'
import { knownGoods } from '../gateway/known-good.ts'
import type { Settings } from '../tier/settings.ts'
import { redact, secretValues } from './redact.ts'

/**
 * Redaction that knows the secrets of this machine: those of the settings, and those of the gateway's config. A config
 * that cannot be parsed may be why we are here; its kept copies then hold the same tokens.
 */
export async function hiding(settings: Settings): Promise<(text: string) => string> {
  const { default: JSON5 } = await import('json5')
  const known = new Set(settings.secrets)
  for (const text of [readConfig(settings)?.text, ...knownGoods(settings).map((good) => good.text)]) {
    try {
      for (const secret of secretValues(JSON5.parse(text ?? '{}'))) known.add(secret)
    } catch {
      // Not JSON5. What looks like a secret is taken out all the same.
    }
  }
  return (text) => redact(text, known)
}
