/** The values that are secret on this machine: what redaction is told to look for. */
import { readFileSync } from 'node:fs'
import { knownGoods } from '../gateway/known-good.ts'
import type { Settings } from '../tier/settings.ts'
import { configSecrets } from './guard-config.ts'

/** Secret values of the settings, the environment, the gateway's config (also a broken one) and its kept copies. */
export function knownSecrets(settings: Settings): string[] {
  const configs = [settings.configPath, `${settings.configPath}.bak`, `${settings.configPath}.last-good`].map(readText)
  const texts = [...configs, ...knownGoods(settings).map(({ text }) => text)]
  return [...new Set([...settings.secrets, ...texts.flatMap((text) => configSecrets(text))])]
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
