/** Package managers: information, and the gateway's package at the version that is installed. */
import { Refused, type RuleId } from './guard.ts'
import { literals } from './guard-arguments.ts'
import type { World } from './guard-context.ts'
import type { Command } from './guard-shell.ts'

/** Options that change how much is said, or whether what this machine has already is used. */
const HARMLESS =
  /^(-g|--global|--no-fund|--no-audit|--no-progress|--progress=false|--prefer-(offline|online)|--force|--verbose|--json|--depth=\d+|--loglevel=\w+)$/

export function packages(command: Command, world: World): RuleId {
  const args = command.program === 'npm' ? withValuesAttached(literals(command)) : literals(command)
  const plain = args.filter((arg) => !HARMLESS.test(arg))
  const isGlobal = args.includes('-g') || args.includes('--global') || plain[0] === 'global'
  const [verb = '', ...names] = plain[0] === 'global' ? plain.slice(1) : plain
  const what = names.join(' ')
  if (/^(--version|-v)$/.test(verb) && what === '') return 'diagnose'
  if (/^(ls|list|root|prefix|bin)$/.test(verb) && /^(openclaw)?$/.test(what)) return 'diagnose'
  if (verb === 'config' && /^get (prefix|cache|globalconfig|registry|engine-strict)$/.test(what)) return 'diagnose'
  if (!/^(install|i|add)$/.test(verb)) throw new Refused('not-allowed', `\`${command.program} ${verb}\`:`)
  if (!world.installedVersion) throw new Refused('not-allowed', 'Which version is installed could not be told.')
  if (!isGlobal || what !== `openclaw@${world.installedVersion}`) {
    throw new Refused('not-allowed', `Only \`npm install -g openclaw@${world.installedVersion}\` may be installed.`)
  }
  return 'reinstall'
}

/** `--depth 0` as `--depth=0`. Only npm is known to read it so: to others the word may be one more package. */
function withValuesAttached(args: readonly string[]): string[] {
  const isSplit = (at: number) => /^--(depth|loglevel)$/.test(args[at] ?? '') && /^\w+$/.test(args[at + 1] ?? '')
  return args.flatMap((arg, at) => (isSplit(at) ? [`${arg}=${args[at + 1]}`] : isSplit(at - 1) ? [] : [arg]))
}
