/** The stand-in's reading of `openclaw.json`: the refusals and words of OpenClaw 2026.9.6, measured on the real one. */
import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import JSON5 from 'json5'

export const stateDir = process.env.OPENCLAW_STATE_DIR || join(process.env.HOME || homedir(), '.openclaw')
export const configPath = process.env.OPENCLAW_CONFIG_PATH || join(stateDir, 'openclaw.json')

/** The top-level sections that the real schema knows and a test may use. */
const KNOWN_SECTIONS = [
  'gateway',
  'commands',
  'logging',
  'agents',
  'channels',
  'plugins',
  'meta',
  'tools',
  'session',
  'env',
  'mcp',
  'models',
  'messages',
]

/** Parses and checks the config: its text, its value, and what is wrong with it in the form of `config validate --json`. */
export function readConfig() {
  let text
  try {
    text = readFileSync(configPath, 'utf8')
  } catch (error) {
    return {
      value: {},
      issues: [{ path: '<root>', message: error.code === 'ENOENT' ? 'file not found' : error.message }],
    }
  }
  let value
  try {
    value = JSON5.parse(text)
  } catch (error) {
    return { text, value: {}, issues: [{ path: '<root>', message: `JSON5 parse failed: ${error}` }] }
  }
  const issues = []
  for (const key of Object.keys(value))
    if (!KNOWN_SECTIONS.includes(key)) issues.push({ path: '<root>', message: `Unrecognized key: "${key}"` })
  const port = value.gateway?.port
  if (port !== undefined && typeof port !== 'number')
    issues.push({ path: 'gateway.port', message: `Invalid input: expected number, received ${typeof port}` })
  return { text, value, issues }
}

/** Why a gateway with this config refuses to start; undefined when it does not. All of these end with exit code 78. */
export function bootRefusal({ value, issues }) {
  // A file that cannot be parsed counts as empty at this point, so it gets the same words as one without a mode.
  if (value.gateway?.mode === undefined)
    return 'Gateway start blocked: existing config is missing gateway.mode. Treat this as suspicious or clobbered config. Re-run `openclaw onboard --mode local` or `openclaw setup`, set gateway.mode=local manually, or pass --allow-unconfigured.\nConfig write audit: SQLite diagnostic_events/config-audit state (latest 50000 rows)'
  if (issues.length > 0) {
    const listed = issues.map((issue) => `${issue.path}: ${issue.message}`).join('\n')
    return `Gateway failed to start: Invalid config at ${configPath}:\n${listed}\nRun "openclaw doctor --fix" to repair, then retry.\nIf startup is still blocked, inspect the adjacent .bak backup before restoring it manually.`
  }
  if (value.gateway.bind === 'lan' && (value.gateway.auth?.mode ?? 'none') === 'none')
    return 'Refusing to bind gateway to lan without auth.'
  return undefined
}

/** The gateway's port by its config. */
export function configuredPort({ value }) {
  return typeof value.gateway?.port === 'number' ? value.gateway.port : 18789
}
