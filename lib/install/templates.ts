/** Fills in the templates in launchagents/, systemd/ and cron/, each in the quoting of its format. */
import { readFileSync } from 'node:fs'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DEFAULT_PROFILE, profileSuffix } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'

export interface JobFacts {
  settings: Settings
  root: string
  environment: Record<string, string>
}

/** systemd.syntax(7): C escapes inside double quotes; % begins a specifier everywhere. */
const unitQuote = (text: string) => `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('%', '%%')}"`

const FORMATS: Record<string, { quote(text: string): string; variable(name: string, value: string): string }> = {
  '.plist': {
    quote: (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;'),
    variable: (name, value) => `    <key>${name}</key>\n    <string>${FORMATS['.plist']!.quote(value)}</string>\n`,
  },
  '.service': {
    // In a command line, but not in Environment=, systemd expands $ too.
    quote: (text) => unitQuote(text).replaceAll('$', '$$$$'),
    variable: (name, value) => `Environment=${unitQuote(`${name}=${value}`)}\n`,
  },
  '.timer': { quote: unitQuote, variable: () => '' },
  '.cron': {
    // A % would be a line break to cron.
    quote: (text) => `'${text.replaceAll("'", "'\\''")}'`.replaceAll('%', '\\%'),
    variable: (name, value) => `${name}=${FORMATS['.cron']!.quote(value)} `,
  },
}

export function filledTemplate(template: string, { settings, root, environment }: JobFacts): string {
  const { quote, variable } = FORMATS[extname(template)]!
  const variables = Object.entries(environment).map(([name, value]) => variable(name, value))
  const values: Record<string, string> = {
    launcher: quote(`${root}/scripts/run-tier.sh`),
    environment: variables.join('').replace(/\n$/, ''),
    memoryDir: quote(settings.memoryDir),
    home: quote(settings.home),
    suffix: profileSuffix(settings.profile, '.'),
    profile: settings.profile === DEFAULT_PROFILE ? '' : `, profile ${settings.profile}`,
  }
  const source = readFileSync(fileURLToPath(new URL(`../../${template}`, import.meta.url)), 'utf8')
  return source.replace(/\{\{(\w+)\}\}/g, (_, name: string) => values[name]!)
}

export function cronLines(facts: JobFacts, all: boolean): string[] {
  const files = all ? ['levels-1-and-2', 'openclaw-self-healing'] : ['openclaw-self-healing']
  const lines = files.flatMap((file) => filledTemplate(`cron/${file}.cron`, facts).split('\n'))
  return lines.filter((line) => line !== '' && !line.startsWith('#'))
}
