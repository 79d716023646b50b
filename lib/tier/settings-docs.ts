/** `.env.example` and the README's settings table, made from the settings table. */
import { SETTINGS } from './settings.ts'

/** The text of `.env.example`: every setting, commented out, with its default. */
export function envExample(): string {
  const entries = Object.values(SETTINGS).map(
    ({ name, fallback, unit, meaning }) => `# ${meaning} (${unit})\n#${name}=${quoted(fallback)}\n`,
  )
  return [
    '# Settings of openclaw-self-healing. Copy to ~/.openclaw/.env (OpenClaw reads that file too) and keep it private:',
    '#   cp .env.example ~/.openclaw/.env && chmod 600 ~/.openclaw/.env',
    '# Only what you want to change needs to stand there. The environment wins over this file. $HOME and ~ are understood.',
    '',
    ...entries,
  ].join('\n')
}

/** The README's table. */
export function settingsTable(): string {
  const rows = Object.values(SETTINGS).map(
    ({ name, fallback, unit, meaning }) =>
      `| \`${name}\` | ${fallback ? `\`${fallback}\`` : ''} | ${unit} | ${meaning} |`,
  )
  return ['| setting | default | unit | meaning |', '|---|---|---|---|', ...rows].join('\n')
}

function quoted(value: string): string {
  return /\s/.test(value) ? `"${value}"` : value
}
