/**
 * The user's crontab: our lines stand between two marker lines, everything else in it stays as it is, byte for byte.
 * The block goes to the top: then no `SHELL=`, `PATH=` or `MAILTO=` of the user's own applies to it. Every profile has a
 * block of its own, in the order of their names.
 */
import type { CommandResult } from '../tier/command.ts'
import { oneLine, TIERS, type TierName } from '../tier/contract.ts'
import { DEFAULT_PROFILE } from '../tier/profile.ts'
import type { Settings } from '../tier/settings.ts'
import { readReceipt } from './receipt.ts'
import type { ActionResult } from './supervisor.ts'

const BEGIN = '# BEGIN openclaw-self-healing'
const END = '# END openclaw-self-healing'
/** Behind the marker's words stands the profile; nothing does for the default one. */
const MARKER = /^# (BEGIN|END) openclaw-self-healing(?: ([A-Za-z0-9_-]+))?$/

/** On macOS writing the crontab may wait for the user's consent in a dialog. */
const WRITE_TIMEOUT_MS = 120_000
const READ_TIMEOUT_MS = 20_000

/** The crontab, one character per byte (latin1): it may hold bytes that are no UTF-8. */
export interface Crontab {
  text: string
  /** False: the user has none, which is not the same as an empty one. */
  exists: boolean
}

/** Reads the user's crontab, or says why that was not possible. */
export async function readCrontab(settings: Settings): Promise<Crontab | { failure: string }> {
  const result = await crontab(settings, ['-l'], READ_TIMEOUT_MS)
  if (result.code === 0) return { text: result.stdout, exists: true }
  // Debian and macOS: "no crontab for alice"; busybox: "can't open 'alice': No such file or directory".
  if (/no crontab for|can't open/i.test(result.stderr)) return { text: '', exists: false }
  return { failure: result.failure ?? 'crontab -l gave no answer' }
}

/** Replaces the user's crontab; `exists: false` removes it. Returns what went wrong, or undefined. */
export async function writeCrontab(settings: Settings, { text, exists }: Crontab): Promise<string | undefined> {
  const result = exists
    ? await crontab(settings, ['-'], WRITE_TIMEOUT_MS, text)
    : await crontab(settings, ['-r'], WRITE_TIMEOUT_MS)
  return result.failure
}

/** `text` with the profile's block at its top, in place of one that it may hold already. */
export function withBlock(text: string, lines: readonly string[], profile = DEFAULT_PROFILE): string {
  const name = profile === DEFAULT_PROFILE ? '' : ` ${profile}`
  const block = [BEGIN + name, ...lines.map((line) => Buffer.from(line).toString('latin1')), END + name]
  const rest = withoutBlock(text, profile)
  // crontab(1) takes no text without a line break at its end; one that was put into the spool by hand may lack it.
  const end = rest === '' || rest.endsWith('\n') ? '' : '\n'
  const at = placeOf(profile, rest)
  return `${rest.slice(0, at)}${block.join('\n')}\n${rest.slice(at)}${end}`
}

/** Where the profile's block goes: behind those at the top whose profiles come before it, so that none ever moves. */
function placeOf(profile: string, text: string): number {
  let place = 0
  let at = 0
  let inside: string | undefined
  for (const line of splitLines(text)) {
    const marker = markerIn(line)
    if (inside === undefined && (marker?.half !== 'BEGIN' || !comesBefore(marker.profile, profile))) return place
    if (marker?.half === 'BEGIN') inside = marker.profile
    at += line.length
    if (marker?.half === 'END' && marker.profile === inside && line.endsWith('\n')) {
      place = at
      inside = undefined
    }
  }
  return place
}

function comesBefore(one: string, other: string): boolean {
  return other !== DEFAULT_PROFILE && (one === DEFAULT_PROFILE || one < other)
}

function markerIn(line: string): { half: 'BEGIN' | 'END'; profile: string } | undefined {
  const m = MARKER.exec(line.trimEnd())
  return m ? { half: m[1] as 'BEGIN' | 'END', profile: m[2] ?? DEFAULT_PROFILE } : undefined
}

/**
 * `text` without the profile's block. Only the marker lines and lines that call our launcher go: what a user has written
 * between the markers stays, and so does everything behind a marker whose other half is missing.
 */
export function withoutBlock(text: string, profile = DEFAULT_PROFILE): string {
  return strip(text, (one) => one === profile)
}

/** The same for the blocks of all profiles: what is the user's own. */
export function withoutBlocks(text: string): string {
  return strip(text, () => true)
}

function strip(text: string, isMeant: (profile: string) => boolean): string {
  let inside = false
  return splitLines(text)
    .filter((line) => {
      const marker = markerIn(line)
      if (marker) {
        const goes = isMeant(marker.profile)
        inside = goes && marker.half === 'BEGIN'
        return !goes
      }
      return !(inside && callsLauncher(line))
    })
    .join('')
}

/** The tiers that this crontab starts for the profile: through lines of ours that are not commented out. */
export function cronTiers(text: string, profile = DEFAULT_PROFILE): TierName[] {
  const calls = splitLines(text).filter(
    (line) => callsLauncher(line) && !line.trimStart().startsWith('#') && profileIn(line) === profile,
  )
  return (Object.keys(TIERS) as TierName[]).filter((tier) =>
    calls.some((line) => new RegExp(`run-tier\\.sh'? ${TIERS[tier].script}(?:\\s|$)`).test(line)),
  )
}

function profileIn(line: string): string {
  return /\sOPENCLAW_PROFILE='?([A-Za-z0-9_-]+)'?\s/.exec(line)?.[1] ?? DEFAULT_PROFILE
}

/** Puts back the lines that the installation wrote, when the crontab does not hold them (any more). */
export async function putBackCronLines(settings: Settings): Promise<ActionResult> {
  const done = 'putting our crontab lines back'
  const receipt = readReceipt(settings)
  const lines = receipt?.cronLines ?? []
  if (!receipt || lines.length === 0) return { done, failure: 'the installation wrote no crontab lines' }
  const before = await readCrontab(settings)
  if ('failure' in before) return { done, failure: before.failure }
  // On a Mac a job without Full Disk Access may be told that there is no crontab: writing would replace the user's own.
  const hadOne = receipt.entries.some((entry) => entry.kind === 'cron-block' && entry.existed)
  if (!before.exists && hadOne && receipt.scheduler === 'launchd')
    return { done, failure: 'crontab -l says that there is no crontab, and there was one: nothing is written over it' }
  const text = withBlock(before.text, lines, settings.profile)
  if (text === before.text) return { done: 'our crontab lines are in place' }
  return { done, failure: await writeCrontab(settings, { text, exists: true }) }
}

/** Lines with their line breaks, so that joining them gives the text again. */
function splitLines(text: string): string[] {
  return text.match(/[^\n]*\n|[^\n]+$/g) ?? []
}

function callsLauncher(line: string): boolean {
  return /\/scripts\/run-tier\.sh'? [a-z-]+/.test(line)
}

/** execa and not `runCommand`: bytes must come back as they are, the last line break included. */
async function crontab(
  settings: Settings,
  args: string[],
  timeoutMs: number,
  input?: string,
): Promise<Pick<CommandResult, 'code' | 'stdout' | 'stderr' | 'failure'>> {
  const { execa } = await import('execa')
  const result = await execa('crontab', args, {
    env: settings.childEnv,
    extendEnv: false,
    cwd: '/',
    encoding: 'latin1',
    stripFinalNewline: false,
    reject: false,
    timeout: timeoutMs,
    ...(input === undefined ? { stdin: 'ignore' as const } : { input: Buffer.from(input, 'latin1') }),
  })
  const { stdout, stderr } = result
  const name = `crontab ${args.join(' ')}`
  let failure: string | undefined
  if (result.code === 'ENOENT') failure = 'crontab is not on the PATH (is cron installed?)'
  else if (result.timedOut) failure = `\`${name}\` gave no answer within ${timeoutMs / 1000} s`
  else if (result.exitCode !== 0) failure = `\`${name}\`: exit ${result.exitCode}: ${oneLine(stderr || stdout)}`
  return { code: result.exitCode ?? null, stdout, stderr, failure }
}
