/**
 * Makes one file of what outputs.sh has kept, for a report to the project: without secrets, the names of this user and
 * host, values of environments, and other programs' jobs.  node --import tsx test/macos/share.ts [FOLDER] [FILE]
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { hostname, userInfo } from 'node:os'
import { join } from 'node:path'
import { withoutEnvironment } from '../../lib/gateway/host.ts'
import { knownSecrets } from '../../lib/gateway/secrets.ts'
import { redact } from '../../lib/tier/redact.ts'
import { loadSettings } from '../../lib/tier/settings.ts'

const [folder = 'mac-outputs', file = 'mac-outputs.txt'] = process.argv.slice(2)
const settings = loadSettings(undefined, { overlook: (problem) => console.error(`share: ${problem}`) })
const known = await knownSecrets(settings)

/** Of these only the lines about OpenClaw, its port, or the whole: `$ command`, a field one tab deep, `[exit N]`. */
const LISTS_ALL = /^domain|print-disabled$|^agents$|-lsof$/
const IS_OURS = new RegExp(`openclaw|^\\$ |^\\[exit|^\\t[^\\t{}"]+ = [^{]+$|^p\\d+$|:${settings.gatewayPort}$`, 'i')
/** In `launchctl print`: `environment = {`, then `NAME => value`; a value may have several lines. */
const ENVIRONMENT = /^([\t ]+)((?:\w+ )?environment = \{\n)([\s\S]*?)^\1\}/gm
const PLAIN =
  '(?:PATH|HOME|SHELL|TMPDIR|XPC_SERVICE_NAME|NODE_OPTIONS|OPENCLAW_(?:GATEWAY_PORT|STATE_DIR|CONFIG_PATH|PROFILE|LAUNCHD_LABEL))'
const HIDDEN_VARIABLE = new RegExp(`^(?!\\s+${PLAIN} => )(\\s*)(?:(\\S+ => ).*|.+)$`, 'gm')
/** What is not for others, in a command line: each with what stays of it in front. */
const PRIVATE: readonly RegExp[] = [
  // As launchd prints arguments, and as a property list holds them: each on a line of its own.
  /(--[\w-]*(?:token|password|secret|key)(?:\s+|<\/string>\s*<string>))[^\s<]+/gi,
  new RegExp(`(\\b(?!${PLAIN}=)[A-Z][A-Z0-9_]{2,}=)(?:'[^'\n]*'|"[^"\n]*"|[^\\s'"]+)`, 'g'),
  // What somebody writes to an agent.
  /(openclaw\S* .*? (?:--(?:message|prompt|text|to)|-[mpt])[ =]).*/g,
  // A webhook's address is a secret; of ours too, redaction knows it only whole.
  /(\bhttps?:\/\/(?!127\.|localhost\b|\[::1\]|www\.apple\.com\/)[^\s/"'<>]+\/)[^\s"'<>]+/g,
]

const whole = readdirSync(folder)
  .sort()
  .map((name) => {
    const kept = readFileSync(join(folder, name), 'utf8')
    const text = kept.includes('bplist00') ? '[a binary property list]' : kept
    const isList = LISTS_ALL.test(name.replace(/\.txt$/, ''))
    const lines = isList
      ? text
          .split('\n')
          .filter((line) => IS_OURS.test(line))
          .join('\n')
      : text
    const hide = (_: string, indent: string, head: string, block: string) =>
      `${indent}${head}${block.replace(HIDDEN_VARIABLE, '$1$2[hidden]')}${indent}}`
    return `=== ${name}\n${withoutEnvironment(lines).replace(ENVIRONMENT, hide).trimEnd()}\n`
  })

const computer = hostname().replace(/\..*/, '')
let text = redact(whole.join('\n'), known).replaceAll(settings.home, '~')
for (const pattern of PRIVATE) text = text.replace(pattern, '$1[hidden]')
for (const [name, shown] of [
  [computer, 'HOST'],
  [userInfo().username, 'USER'],
] as const)
  if (name.length > 1) text = text.replace(new RegExp(`(?<![\\w.])${name.replace(/\W/g, '\\$&')}(?!\\w)`, 'gi'), shown)
writeFileSync(file, text, { mode: 0o600 })
console.log(`${file} is written. Read it before you send it.`)
