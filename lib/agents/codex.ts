/** OpenAI's Codex as the doctor: `codex exec` with our instruments, in a home of the session's own. */
import { existsSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Launch } from '../services/terminal.ts'
import type { Settings } from '../tier/settings.ts'
import { isRecord } from '../tier/state.ts'
import type { Commission, Doctor, DoctorEvent, Found, Trouble } from './agent.ts'
import { at, compact, findProgram, parseMessage, plainEnv, textOfResult, trouble } from './agent.ts'

export const codex: Doctor = { name: 'codex', title: 'Codex', find, prepare, read, readError }

const MACHINE_WIDE = ['/etc/codex/config.toml', '/etc/codex/managed_config.toml']

async function find(settings: Settings): Promise<Found> {
  const { env, key, login } = signIn(settings)
  const found = await findProgram(settings, codex, [0, 171, 0], env)
  const managed = MACHINE_WIDE.find((path) => existsSync(path))
  if ('version' in found && managed) return { failure: `Codex cannot be kept from reading ${managed}` }
  if ('failure' in found || existsSync(login) || key) return found
  return { failure: `Codex is not signed in: there is no ${login} (\`codex login\`) and no OPENAI_API_KEY` }
}

/** What would add a tool of its own, run something of the user's, or never stop trying. */
const OFF =
  'shell_tool unified_exec view_image image_generation goals sleep_tool apps plugins hooks memories tool_suggest skill_search browser_use computer_use in_app_browser unbounded_connection_retries'

/** `--strict-config`: a release that does not know one of these keys any more does not start. */
function prepare({ settings, folder, server, instruments }: Commission): Launch {
  const { env, key, login, baseUrl } = signIn(settings)
  const [home, work] = [join(folder, 'codex-home'), join(folder, 'codex-work')]
  for (const path of [home, work]) mkdirSync(path, { recursive: true, mode: 0o700 })
  const auth = join(home, 'auth.json')
  rmSync(auth, { force: true })
  // A refresh token works once: renewed through a copy, the login would be lost to the user.
  if (existsSync(login)) symlinkSync(login, auth)
  else writeFileSync(auth, JSON.stringify({ auth_mode: 'apikey', OPENAI_API_KEY: key }), { mode: 0o600 })
  const names = instruments.map((name) => `tools.mcp__doctor__${name}`).join(', ')
  const order = `Your only tools are the instruments of the MCP server doctor; in exec they are ${names}, and ALL_TOOLS describes them. There is no shell, and no file can be read or written.`
  const config: Record<string, unknown> = {
    ...(baseUrl && !existsSync(login) ? { openai_base_url: baseUrl } : {}),
    approval_policy: 'never',
    // `apply_patch`, which cannot be removed, tells whether a line stands in a file that can be read: only the system's can.
    default_permissions: 'doctor',
    'permissions.doctor.filesystem.":minimal"': 'read',
    web_search: 'disabled',
    developer_instructions: order,
    cli_auth_credentials_store: 'file',
    check_for_update_on_startup: false,
    project_doc_max_bytes: 0,
    project_root_markers: [],
    'history.persistence': 'none',
    'analytics.enabled': false,
    'feedback.enabled': false,
    'agents.enabled': false,
    'skills.include_instructions': false,
    'skills.bundled.enabled': false,
    'tools.update_plan.enabled': false,
    'tools.experimental_request_user_input.enabled': false,
    ...Object.fromEntries(OFF.split(' ').map((feature) => [`features.${feature}`, false])),
    'mcp_servers.doctor.command': server.command,
    'mcp_servers.doctor.args': server.args,
    // Without their names it passes on little more than PATH.
    'mcp_servers.doctor.env_vars': Object.keys(env).filter((name) => name !== 'HOME'),
    'mcp_servers.doctor.env.HOME': settings.home,
    'mcp_servers.doctor.required': true,
    'mcp_servers.doctor.enabled_tools': instruments,
    'mcp_servers.doctor.default_tools_approval_mode': 'approve',
    'mcp_servers.doctor.startup_timeout_sec': 60,
    'mcp_servers.doctor.tool_timeout_sec': 1000,
  }
  const lines = Object.entries(config).map(([name, value]) => `${name} = ${compact(value)}\n`)
  writeFileSync(join(home, 'config.toml'), lines.join(''), { mode: 0o600 })
  const args = ['exec', '--json', '--ephemeral', '--strict-config', '--ignore-rules', '--skip-git-repo-check']
  return {
    program: 'codex',
    args: [...args, '--color', 'never', '--cd', work, '-'],
    // HOME, too: a word `$name` of the prompt puts the skill of that name from ~/.agents before the model.
    env: { ...env, HOME: home, CODEX_HOME: home },
  }
}

function signIn(settings: Settings) {
  const { CODEX_HOME, CODEX_API_KEY, OPENAI_API_KEY, OPENAI_BASE_URL, ...env } = plainEnv(settings, SIGN_IN_ENV)
  const login = join(CODEX_HOME ?? join(settings.home, '.codex'), 'auth.json')
  return { env, login, key: CODEX_API_KEY ?? OPENAI_API_KEY, baseUrl: OPENAI_BASE_URL }
}

const SIGN_IN_ENV = /^(?:CODEX_HOME|CODEX_API_KEY|CODEX_CA_CERTIFICATE|OPENAI_API_KEY|OPENAI_BASE_URL)$/

function read(line: string): DoctorEvent[] {
  const message = parseMessage(line)
  if (message?.type === 'thread.started') return [{ kind: 'connected' }]
  if (message?.type === 'turn.completed') return [{ kind: 'finished' }]
  const words = String(at(message, 'error', 'message') ?? message?.message)
  const isOver = message?.type === 'turn.failed' || (message?.type === 'error' && !words.startsWith('Reconnecting...'))
  if (isOver) return trouble(troubleOf(words), words)
  const isStart = message?.type === 'item.started'
  return isRecord(message?.item) && (isStart || message.type === 'item.completed') ? eventOf(message.item, isStart) : []
}

function eventOf(item: Record<string, unknown>, isStart: boolean): DoctorEvent[] {
  if (item.type === 'agent_message') return isStart ? [] : [{ kind: 'said', text: String(item.text) }]
  if (OWN_TOOLS.test(String(item.type))) return trouble('instruments', `it used a tool of its own: ${item.type}`)
  if (item.type !== 'mcp_tool_call') return []
  // `codex`: its question which resources the MCP servers have.
  if (item.server !== 'doctor' && item.server !== 'codex')
    return trouble('instruments', `it used another MCP server: ${item.server}`)
  if (isStart) return [{ kind: 'called', text: `${item.tool} ${compact(item.arguments)}` }]
  const failure = String(at(item, 'error', 'message') ?? '')
  if (/transport closed/i.test(failure)) return trouble('instruments', 'its MCP server has ended')
  return [{ kind: 'answered', text: failure || (isRecord(item.result) ? textOfResult(item.result) : '') }]
}

const OWN_TOOLS = /^(?:command_execution|file_change|web_search|collab_tool_call)$/

function readError(line: string): DoctorEvent[] {
  const detail = /required MCP servers failed to initialize: (.*)/.exec(line)?.[1]
  return detail ? trouble('instruments', detail) : []
}

function troubleOf(message: string): Trouble {
  if (/quota|usage limit|billing|credits|\b402\b|\b429\b/i.test(message)) return 'quota'
  return /api key|unauthorized|sign in|log ?in|access token|\b40[13]\b/i.test(message) ? 'login' : 'service'
}
