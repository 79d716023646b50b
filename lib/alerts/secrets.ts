/** The values that are secret on this machine: what redaction is told to look for. */
import { readFileSync } from 'node:fs'
import { knownGoods } from '../gateway/known-good.ts'
import { redact } from '../tier/redact.ts'
import type { Settings } from '../tier/settings.ts'

/**
 * Secret values of the settings, the environment, the gateway's config and its kept copies. A config that cannot be
 * parsed may be why we are here: its secrets are guessed, and the kept copies hold the same tokens.
 */
export async function knownSecrets(settings: Settings): Promise<string[]> {
  const { configSecrets } = await import('../gateway/config-tree.ts')
  const configs = ['', '.bak', '.last-good'].map((suffix) => readText(`${settings.configPath}${suffix}`))
  const texts = [...configs, ...knownGoods(settings).map(({ text }) => text)]
  return [...new Set([...settings.secrets, ...texts.flatMap(configSecrets)])]
}

/** Redaction that knows the secrets of this machine. */
export async function hiding(settings: Settings): Promise<(text: string) => string> {
  const known = await knownSecrets(settings)
  return (text) => redact(text, known)
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
