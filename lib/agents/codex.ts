/** OpenAI's Codex as the doctor: `codex exec` with our instruments, in a home of the session's own. */
import { existsSync, mkdirSync, rmSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { Settings } from '../tier/settings.ts'
import { type Doctor, findProgram, plainEnv, writeOwn } from './agent.ts'
import { at, called, parse, refused, SERVER_ENDED, textOf, trouble } from './messages.ts'

export const codex: Doctor = {
  name: 'codex',
  title: 'Codex',
  async find(settings) {
    const { env, key, login } = signIn(settings)
    const found = await findProgram(settings, codex, '0.171.0', env)
    if ('failure' in found) return found
    const managed = ['/etc/codex/config.toml', '/etc/codex/managed_config.toml'].find((path) => existsSync(path))
    if (managed) return { failure: `Codex cannot be kept from reading ${managed}` }
    if (existsSync(login) || key) return found
    return { failure: `Codex is not signed in: there is no ${login} (\`codex login\`) and no OPENAI_API_KEY` }
  },
  /** `--strict-config`: a release that does not know one of these keys any more does not start. */
  prepare({ settings, folder, server, instruments }) {
    const { env, key, login, baseUrl } = signIn(settings)
    const [home, work] = [join(folder, 'codex-home'), join(folder, 'codex-work')]
    for (const path of [home, work]) mkdirSync(path, { recursive: true, mode: 0o700 })
    const auth = join(home, 'auth.json')
    rmSync(auth, { force: true })
    // A refresh token works once: renewed through a copy, the login would be lost to the user.
    if (existsSync(login)) symlinkSync(login, auth)
    else writeOwn(auth, { auth_mode: 'apikey', OPENAI_API_KEY: key })
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
      project_doc_max_bytes: 0,
      project_root_markers: [],
      'history.persistence': 'none',
      ...Object.fromEntries(OFF.split(' ').map((key) => [key, false])),
      ...Object.fromEntries(FEATURES_OFF.split(' ').map((name) => [`features.${name}`, false])),
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
    const lines = Object.entries(config).map(([name, value]) => `${name} = ${JSON.stringify(value)}\n`)
    writeOwn(join(home, 'config.toml'), lines.join(''))
    const flags = '--json --ephemeral --strict-config --ignore-rules --skip-git-repo-check --color never'.split(' ')
    // HOME, too: a word `$name` of the prompt puts the skill of that name from ~/.agents before the model.
    return {
      program: 'codex',
      args: ['exec', ...flags, '--cd', work, '-'],
      env: { ...env, HOME: home, CODEX_HOME: home },
    }
  },
  read(line) {
    const { type, item, ...message } = parse(line)
    if (type === 'thread.started') return [{ kind: 'connected' }]
    if (type === 'turn.completed') return [{ kind: 'finished' }]
    const words = String(at(message, 'error', 'message') ?? message.message)
    if (type === 'turn.failed' || (type === 'error' && !words.startsWith('Reconnecting...'))) return refused(words)
    const isStart = type === 'item.started'
    if (!isStart && type !== 'item.completed') return []
    const [kind, server] = [String(at(item, 'type')), at(item, 'server')]
    if (/^(?:command_execution|file_change|web_search|collab_tool_call)$/.test(kind))
      return trouble('instruments', `it used a tool of its own: ${kind}`)
    if (kind === 'agent_message' && !isStart) return [{ kind: 'said', text: String(at(item, 'text')) }]
    if (kind !== 'mcp_tool_call') return []
    // `codex`: its question which resources the MCP servers have.
    if (server !== 'doctor' && server !== 'codex')
      return trouble('instruments', `it used another MCP server: ${server}`)
    if (isStart) return called(at(item, 'tool'), at(item, 'arguments'))
    const failure = String(at(item, 'error', 'message') ?? '')
    if (/transport closed/i.test(failure)) return SERVER_ENDED
    return [{ kind: 'answered', text: failure || textOf(at(item, 'result', 'content')) }]
  },
  readError(line) {
    const detail = /required MCP servers failed to initialize: (.*)/.exec(line)?.[1]
    return detail ? trouble('instruments', detail) : []
  },
}

/** What would add a tool of its own, run something of the user's, call another service, or never stop trying. */
const FEATURES_OFF =
  'shell_tool unified_exec view_image image_generation goals sleep_tool apps plugins hooks memories tool_suggest skill_search browser_use computer_use in_app_browser unbounded_connection_retries'
const OFF =
  'check_for_update_on_startup analytics.enabled feedback.enabled agents.enabled skills.include_instructions skills.bundled.enabled tools.update_plan.enabled tools.experimental_request_user_input.enabled'

const SIGN_IN = /^(?:CODEX_HOME|CODEX_API_KEY|CODEX_CA_CERTIFICATE|OPENAI_API_KEY|OPENAI_BASE_URL)$/

function signIn(settings: Settings) {
  const { CODEX_HOME, CODEX_API_KEY, OPENAI_API_KEY, OPENAI_BASE_URL, ...env } = plainEnv(settings, SIGN_IN)
  const login = join(CODEX_HOME ?? join(settings.home, '.codex'), 'auth.json')
  return { env, login, key: CODEX_API_KEY ?? OPENAI_API_KEY, baseUrl: OPENAI_BASE_URL }
}
