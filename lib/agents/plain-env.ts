/** The part of the environment that every doctor gets. */
import { join } from 'node:path'
import type { Settings } from '../tier/settings.ts'

const PLAIN =
  /^(?:HOME|PATH|USER|LOGNAME|SHELL|TMPDIR|TZ|LANG|LC_\w+|XDG_\w+|DBUS_SESSION_BUS_ADDRESS|TMUX_TMPDIR|NVM_DIR|HTTPS?_PROXY|https?_proxy|NO_PROXY|no_proxy|ALL_PROXY|NODE_EXTRA_CA_CERTS|SSL_CERT_FILE|SSL_CERT_DIR|OPENCLAW_(?:HOME|PROFILE|STATE_DIR|CONFIG_PATH|GATEWAY_URL|GATEWAY_PORT|MEMORY_DIR))$/

/**
 * An allow list of the tier's own environment, which may hold any secret and switches for the doctor's program.
 * @param signIn the names of the variables with which this doctor signs in
 */
export function plainEnv(settings: Settings, signIn: RegExp): Record<string, string> {
  const ours = {
    OPENAI_API_KEY: settings.openaiApiKey,
    OPENAI_BASE_URL: settings.openaiBaseUrl,
    OPENAI_MODEL: settings.openaiModel,
    GEMINI_API_KEY: settings.geminiApiKey,
  }
  const given = Object.entries({ ...settings.childEnv, ...ours }).filter(([, value]) => value)
  const wanted = given.filter(([name]) => PLAIN.test(name) || signIn.test(name))
  const env = Object.fromEntries(wanted)
  // Where installers of a user put programs; a job's PATH often lacks it.
  env.PATH = [env.PATH, join(settings.home, '.local/bin')].join(':')
  // launchd and cron set none, and without one signs beyond ASCII come out as question marks.
  if (!env.LANG && !env.LC_ALL) env.LANG = process.platform === 'darwin' ? 'en_US.UTF-8' : 'C.UTF-8'
  return env
}
