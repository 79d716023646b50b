/** Fills in the templates in launchagents/, systemd/ and cron/, each in the quoting of its format. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { JobTier } from '../services/jobs.ts'
import { DEFAULT_PROFILE, profileSuffix } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'

/** What the templates have holes for. */
export interface JobFacts {
  settings: Settings
  /** The checkout whose scripts the jobs run. */
  root: string
  /** Environment of the jobs; the rest they get from their scheduler. */
  environment: Record<string, string>
}

export const launcherOf = (root: string): string => `${root}/scripts/run-tier.sh`

/** A LaunchAgent's property list. */
export function launchAgent(tier: JobTier, { settings, root, environment }: JobFacts): string {
  const variables = Object.entries(environment).map(
    ([key, value]) => `    <key>${xml(key)}</key>\n    <string>${xml(value)}</string>`,
  )
  return fill(`launchagents/com.openclaw.${tier}.plist`, {
    suffix: profileSuffix(settings.profile, '.'),
    launcher: xml(launcherOf(root)),
    environment: variables.join('\n'),
    memoryDir: xml(settings.memoryDir),
    home: xml(settings.home),
  })
}

/** A systemd unit of a tier. */
export function systemdFile(
  tier: JobTier,
  kind: 'service' | 'timer',
  { settings, root, environment }: JobFacts,
): string {
  const variables = Object.entries(environment).map(([key, value]) => `Environment=${unitQuote(`${key}=${value}`)}`)
  // In a command line, but not in Environment=, systemd expands $ too.
  const launcher = unitQuote(launcherOf(root)).replaceAll('$', '$$$$')
  const { profile } = settings
  return fill(`systemd/com.openclaw.${tier}.${kind}`, {
    launcher,
    environment: variables.join('\n'),
    suffix: profileSuffix(profile, '.'),
    profile: profile === DEFAULT_PROFILE ? '' : `, profile ${profile}`,
  })
}

/**
 * The crontab lines of monitor and guardian; with `all` those of Level 1 and Level 2 as well, for machines that have
 * neither launchd nor systemd.
 */
export function cronLines({ root, environment }: JobFacts, all: boolean): string[] {
  // cron gives HOME and a PATH, and the launcher knows a better one; a % would be a line break to cron.
  const values = {
    launcher: cronQuote(launcherOf(root)),
    environment: Object.entries(environment)
      .map(([key, value]) => `${key}=${cronQuote(value)} `)
      .join(''),
  }
  const files = [...(all ? ['levels-1-and-2'] : []), 'openclaw-self-healing']
  return files
    .flatMap((file) => fill(`cron/${file}.cron`, values).split('\n'))
    .filter((line) => line !== '' && !line.startsWith('#'))
}

function fill(template: string, values: Record<string, string>): string {
  const source = readFileSync(fileURLToPath(new URL(`../../${template}`, import.meta.url)), 'utf8')
  return source.replace(/\{\{(\w+)\}\}/g, (_, name: string) => {
    const value = values[name]
    if (value === undefined) throw new Error(`${template}: nothing to fill in for {{${name}}}`)
    return value
  })
}

function xml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

/** systemd.syntax(7): C escapes inside double quotes; % begins a specifier everywhere. */
function unitQuote(text: string): string {
  return `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('%', '%%')}"`
}

function cronQuote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`.replaceAll('%', '\\%')
}
