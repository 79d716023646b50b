/** Edits of the gateway's config, judged by what changes between before and after, not by how it is written. */
import JSON5 from 'json5'
import { secretValues } from '../alerts/redact.ts'
import { isRecord } from '../tier/state.ts'
import { Refused } from './guard.ts'
import {
  assertMayBecome,
  assertMayGo,
  assertNoHarm,
  isProtected,
  sectionsIn,
  type Yardstick,
} from './guard-config-rules.ts'
import { differsInMarksOnly, keepsOrder, standsWhole } from './guard-config-text.ts'
import {
  changesOf,
  type Leaf,
  lastName,
  leavesOf,
  lenientLeaves,
  nearId,
  parseOrNothing,
  without,
} from './guard-config-tree.ts'

/** An edit may not throw away more settings than a repair plausibly does; whoever rewrites the file loses data. */
const MOST_REMOVED = 12

export interface ConfigEdit {
  /** The file's text before; undefined when there is no file. */
  before: string | undefined
  /** The text of the last config that booted, when it is known. */
  knownGood: string | undefined
  /** The port that is watched: the only one that `gateway.port` may be set to. */
  gatewayPort: number
}

/** Judges a new text of the config. Throws `Refused` with the setting that may not change. */
export function judgeConfigText(after: string, edit: ConfigEdit): void {
  let parsed: unknown
  try {
    parsed = JSON5.parse(after)
  } catch (error) {
    throw new Refused(
      'unclear',
      `After this edit the config could still not be parsed (${(error as Error).message.replace(/^JSON5: /, '')}). Repair everything in one Edit or Write.`,
    )
  }
  judgeConfigValue(parsed, edit, after)
}

/** Judges the parsed config that an edit would leave; its text, where there is one, tells a slip from a change. */
export function judgeConfigValue(after: unknown, edit: ConfigEdit, afterText = JSON.stringify(after)): void {
  if (!isRecord(after)) throw new Refused('delete', 'After this edit the config would hold no settings.')
  const known = edit.knownGood === undefined ? undefined : parseOrNothing(edit.knownGood)
  const yardstick = { port: edit.gatewayPort, known: leavesOf(known ?? {}) }
  const before = edit.before === undefined ? undefined : parseOrNothing(edit.before)
  if (before) judgeExactly(before, after, known, yardstick)
  else judgeRepair(edit.before ?? '', { value: after, text: afterText }, known, yardstick)
}

type Config = Record<string, unknown>

/** Both sides are readable: every setting that changed must be one that may. */
function judgeExactly(before: Config, after: Config, known: Config | undefined, yardstick: Yardstick): void {
  const { removed, added } = changesOf(before, after)
  for (const leaf of added) assertMayBecome(leaf, yardstick)
  const replaced = new Set(added.map((one) => one.path.join('\0')))
  // What was replaced was judged as the value that it became.
  for (const leaf of removed) if (!replaced.has(leaf.path.join('\0'))) assertMayGo(leaf, yardstick)
  const lost = sectionsIn(before).find((name) => !(name in after) && !(known && !(name in known)))
  if (lost !== undefined) throw new Refused('delete', `This edit would throw away the whole section ${lost}.`)
  assertFewLost(removed.length - added.length)
}

/**
 * The file before cannot be read. It may come out with the same words and a mark added or taken away, or as the last
 * config that booted (Level 2 would put that one back), or, when more is wrong, with the same settings in the same order
 * as a parser finds there that forgives everything.
 */
function judgeRepair(
  text: string,
  after: { value: Config; text: string },
  known: Config | undefined,
  yardstick: Yardstick,
): void {
  const leaves = leavesOf(after.value)
  const before = lenientLeaves(text)
  const isOrdered = () => keepsOrder(text, after.text)
  if (isSlip(text, after.text, leaves, yardstick)) {
    const stood = new Set([...before, ...yardstick.known].map(nearId))
    for (const leaf of leaves)
      if (!isProtected(leaf.path) && !stood.has(nearId(leaf))) assertNoHarm(leaf, yardstick.port)
  } else if (!(known && isRestored(known, after.value, { leaves: before, isOrdered }, yardstick))) {
    judgeGuessed(before, leaves, isOrdered, yardstick)
  }
  assertFewLost((before.length || yardstick.known.length) - leaves.length)
}

/** The same words, and what protects the gateway is all there. */
function isSlip(text: string, afterText: string, after: Leaf[], { known }: Yardstick): boolean {
  const names = new Set(protectedIn(after).map((leaf) => leaf.path.join('\0')))
  return (
    differsInMarksOnly(text, afterText) &&
    protectedIn(after).every((leaf) => standsWhole(leaf.value, text)) &&
    protectedIn(known).every((leaf) => names.has(leaf.path.join('\0')))
  )
}

/**
 * The last config that booted, and what the user has changed in it since as far as it protects nothing. Values that are
 * only found somewhere in the broken text count when nothing has changed places: by swapping two names an agent could
 * be given the rights of another.
 */
function isRestored(
  known: Config,
  after: Config,
  found: { leaves: Leaf[]; isOrdered: () => boolean },
  yardstick: Yardstick,
): boolean {
  const { removed, added } = changesOf(known, after)
  if (protectedIn([...removed, ...added]).length > 0) return false
  const stood = new Set(found.leaves.map(nearId))
  for (const leaf of added) {
    if (!(stood.has(nearId(leaf)) && found.isOrdered())) assertMayBecome(leaf, yardstick)
  }
  const replaced = new Set(added.map((one) => one.path.join('\0')))
  for (const leaf of removed) {
    if (stood.has(nearId(leaf)) && !replaced.has(leaf.path.join('\0'))) assertMayGo(leaf, yardstick)
  }
  return true
}

/** Compares with what a forgiving parser finds: everything that protects must stand on both sides, in the same order. */
function judgeGuessed(before: Leaf[], after: Leaf[], isOrdered: () => boolean, yardstick: Yardstick): void {
  if (before.length === 0) {
    throw new Refused(
      'security',
      'The config is empty and no earlier one is known, so nothing says how it was protected.',
    )
  }
  for (const leaf of without(after, before, nearId)) assertMayBecome(leaf, yardstick)
  for (const leaf of without(before, after, nearId)) assertMayGo(leaf, yardstick)
  if (!isOrdered())
    throw new Refused('security', 'This edit moves settings about in a config that cannot be parsed. Keep their order.')
}

function protectedIn(leaves: readonly Leaf[]): Leaf[] {
  return leaves.filter((leaf) => isProtected(leaf.path))
}

function assertFewLost(count: number): void {
  if (count > MOST_REMOVED) {
    throw new Refused('delete', `This edit would throw away ${count} settings. Change only what is broken.`)
  }
}

/** The secret values in a config's text, also when it cannot be parsed. */
export function configSecrets(text: string): string[] {
  const parsed = parseOrNothing(text)
  if (parsed) return secretValues(parsed)
  return lenientLeaves(text).flatMap((leaf) => secretValues(leaf.value, lastName(leaf.path)))
}
