/** Instruments that change the gateway's config: one piece at a time, under the policy, and undone if it does not help. */
import { realpathSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { readConfig } from '../gateway/config.ts'
import { parseOrNothing, withoutSetting, withSetting } from '../gateway/config-tree.ts'
import { knownGoods, putBack } from '../gateway/known-good.ts'
import { writeFileAtomic } from '../tier/state.ts'
import { judgeConfigText, judgeSetting, VEIL, veiledConfig, yardstickOf } from './config-policy.ts'
import { type Arguments, acts, type Deed, type Instrument, integer, Refused, text } from './instrument.ts'
import { knownNames } from './read.ts'
import type { Session } from './session.ts'

const PATH = text('where it stands, names and places in lists joined by dots: agents.defaults.model.primary', 200)

export const CONFIG_INSTRUMENTS: Readonly<Record<string, Instrument>> = {
  set_config: {
    description:
      'Sets one setting of the gateway’s config. Allowed: gateway.mode to local, log levels, models, timeouts and limits, `enabled` to false, and values of the known-good config.',
    arguments: { path: PATH, value: { type: 'value', description: 'its new value, as JSON', max: 2000 } },
    ...acts(20),
    prepare: (session, { path, value }) => {
      const names = splitPath(path)
      judgeSetting(names, value, yardstick(session))
      return edit(session, (text) => withSetting(text, names, value))
    },
  },
  unset_config: {
    description:
      'Takes one setting out of the gateway’s config, e.g. one that OpenClaw refuses and the default replaces.',
    arguments: { path: PATH },
    ...acts(20),
    prepare: (session, { path }) => {
      const names = splitPath(path)
      return edit(session, (text) => withoutSetting(text, names))
    },
  },
  replace_in_config: {
    description:
      'Replaces a piece of the config’s text in one line, for a config that cannot be parsed: add or take away a comma, quote, colon or brace. The old piece may hold only what read_config shows, and must stand once in that line.',
    arguments: {
      line: integer('the line’s number, as read_config shows it'),
      old: text('the piece that is there now', 200),
      new: text('what replaces it', 200),
    },
    ...acts(20),
    prepare: replaceInLine,
  },
  restore_known_good_config: {
    description:
      'Puts back the newest config that the gateway was healthy on, without showing it. The present file is kept beside it.',
    ...acts(20, 2),
    prepare: (session) => {
      const { settings } = session
      if (!settings.configRollback) throw new Refused('CONFIG_ROLLBACK is off: whether it is put back is for a human.')
      const good = knownGoods(settings)[0]
      if (!good) throw new Refused('No known-good config was kept on this machine.')
      if (good.hash === readConfig(settings)?.hash) throw new Refused('The known-good config is in place already.')
      return async () => {
        const kept = await session.editConfig(() => putBack(settings, good, new Date()))
        return `The known-good config is in place; ${kept ? `the one before is kept as ${kept}` : 'there was none before'}.`
      }
    },
  },
}

/** `agents.defaults.model` in its parts. Only plain names: brackets and escapes can be read in several ways. */
function splitPath(path: unknown): string[] {
  const names = String(path).split('.')
  if (!names.every((name) => /^[A-Za-z0-9_$-]+$/.test(name)) || names.includes('__proto__'))
    throw new Refused(`Write the path with plain names and dots: agents.defaults.model.primary`)
  return names
}

function edit(session: Session, change: (text: string) => string): Deed {
  const text = configText(session)
  if (!parseOrNothing(text))
    throw new Refused(
      'The config cannot be parsed: repair its text with replace_in_config, or restore_known_good_config.',
    )
  let after: string
  try {
    after = change(text)
  } catch (error) {
    throw new Refused(`It cannot stand there: ${(error as Error).message}.`)
  }
  return writing(session, text, after)
}

function replaceInLine(session: Session, args: Arguments): Deed {
  const [old, replacement] = [String(args.old), String(args.new)]
  if (/[\n\r]/.test(replacement)) throw new Refused('The new piece is one line.')
  const text = configText(session)
  if (parseOrNothing(text)) throw new Refused('The config can be parsed: use set_config or unset_config.')
  const lines = text.split('\n')
  const at = Number(args.line) - 1
  const line = lines[at]
  if (line === undefined) throw new Refused(`The config has ${lines.length} lines.`)
  // Sought in what is shown: whether a piece stands in a hidden value must not show.
  const isPiece = old !== '' && !old.includes(VEIL)
  const pieces = !isPiece ? [] : veiledConfig(text, knownNames(session.settings)).split('\n')[at]!.split(old)
  if (pieces.length !== 2)
    throw new Refused(
      `Of what read_config shows of line ${args.line}, that piece stands there ${Math.max(0, pieces.length - 1)} times; choose one that stands there once.`,
    )
  const start = pieces[0]!.length
  lines[at] = `${line.slice(0, start)}${replacement}${line.slice(start + old.length)}`
  return writing(session, text, lines.join('\n'))
}

function configText({ settings }: Session): string {
  const text = readConfig(settings)?.text
  if (text === undefined) throw new Refused('There is no config that can be read: restore_known_good_config.')
  return text
}

function yardstick({ settings }: Session) {
  return yardstickOf(knownGoods(settings)[0]?.text, settings.gatewayPort)
}

function writing(session: Session, before: string, after: string): Deed {
  const { settings } = session
  // A second setting of the same name before it would change nothing today.
  if (isDeepStrictEqual(parseOrNothing(after), parseOrNothing(before) ?? after))
    throw new Refused('That changes nothing.')
  judgeConfigText(before, after, yardstick(session))
  return async () => {
    if (readConfig(settings)?.text !== before) throw new Refused('The config was changed meanwhile: read it again.')
    await session.editConfig(() => writeFileAtomic(realpathSync(settings.configPath), after))
    return 'Done. Validate it, then restart the gateway.'
  }
}
