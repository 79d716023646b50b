import { dirname, resolve } from 'node:path'
import { readTail } from '../tier/journal.ts'
import { redact } from '../tier/redact.ts'
import type { Settings } from '../tier/settings.ts'
import { knownGoods } from './known-good.ts'

/** Of the settings, the environment, and the gateway's config with what it includes, its backups and its kept copies. */
export async function knownSecrets(settings: Settings): Promise<string[]> {
  const { configSecrets, leavesOf, parseOrNothing } = await import('./config-tree.ts')
  const configs = new Map<string, string>()
  const read = (path: string) => {
    if (configs.has(path)) return
    const text = readTail(path, 16_000_000)
    configs.set(path, text)
    const parts = text.includes('$include') ? leavesOf(parseOrNothing(text) ?? {}) : []
    for (const leaf of parts) if (leaf.path.includes('$include')) read(resolve(dirname(path), leaf.value))
  }
  for (const suffix of ['', '.bak', '.last-good']) read(`${settings.configPath}${suffix}`)
  const texts = [...configs.values(), ...knownGoods(settings).map(({ text }) => text)]
  return [...new Set([...settings.secrets, ...texts.flatMap(configSecrets)])]
}

export async function hiding(settings: Settings): Promise<(text: string) => string> {
  const known = await knownSecrets(settings)
  return (text) => redact(text, known)
}
