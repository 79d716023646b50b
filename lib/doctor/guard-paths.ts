/** Files: which the doctor may read, which two it may write, and what stands in them before it sees it. */
import { createHash } from 'node:crypto'
import {
  closeSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  realpathSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { redact } from '../alerts/redact.ts'
import { isForeignLog } from '../tier/profile.ts'
import { Refused } from './guard.ts'
import type { World } from './guard-context.ts'

/** Larger files are only read from their end, with `tail`. */
const LARGEST_READ_BYTES = 64 * 1024 * 1024
/** So much of a log's end is searched for the shapes of secrets, and put into a redacted copy. */
const SHAPE_CHECK_BYTES = 1024 * 1024
/** A folder that is searched is looked through file by file first, which must not take long. */
const LARGEST_TREE_FILES = 400
const LARGEST_TREE_BYTES = 16 * 1024 * 1024

/**
 * Where a path leads once `~`, `..` and symlinks are resolved, in both readings of `..` (the kernel's, and by the words).
 * @param cwds every folder that a relative path may start from; one that is not absolute is not known
 */
export function realPaths(path: string, cwds: readonly string[], home: string): string[] {
  if (path === '' || path.includes('\0')) throw new Refused('unclear', `"${path}" is no path.`)
  const expanded = path.replace(/^~(?=\/|$)/, home)
  if (expanded.startsWith('~')) throw new Refused('unclear', `Write the folder that "${path}" means.`)
  const found = new Set<string>()
  for (const cwd of expanded.startsWith('/') ? ['/'] : cwds) {
    if (!expanded.startsWith('/') && !cwd.startsWith('/')) {
      throw new Refused('unclear', `Write ${path} with its whole path, beginning with / or ~.`)
    }
    const absolute = expanded.startsWith('/') ? expanded : `${cwd}/${expanded}`
    found.add(followed(absolute))
    found.add(followed(resolve(absolute)))
  }
  return [...found]
}

/** For paths that are absolute anyway. */
export const NO_FOLDER: readonly string[] = ['?']

/** The real path, or for something that does not exist yet the real path of its nearest existing folder and the rest. */
function followed(absolute: string): string {
  try {
    // The native one asks the system: it follows `..` behind a symlink as the kernel does, and gives the true case on macOS.
    return realpathSync.native(absolute)
  } catch {
    const parent = dirname(absolute)
    const name = basename(absolute)
    if (parent === absolute) return absolute
    if (isSymlink(absolute)) throw new Refused('unclear', `${absolute} is a symlink that leads nowhere.`)
    if (name === '..' || name === '.') throw new Refused('unclear', `Write ${absolute} without "${name}".`)
    return join(followed(parent), name)
  }
}

function isSymlink(path: string): boolean {
  try {
    return lstatSync(path).isSymbolicLink()
  } catch {
    return false
  }
}

export function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith('/') ? folder : `${folder}/`)
}

function real(path: string): string {
  try {
    return realpathSync.native(path)
  } catch {
    return path
  }
}

export function isConfigFile(path: string, world: World): boolean {
  return path === followed(world.configPath)
}

/** How closely a file is looked at before it is shown: `full` for everything that a gateway or a human writes. */
type Scrutiny = 'full' | 'known-secrets'

/** The places that may be read, and how closely their files are looked at first. */
function readablePlaces(world: World): { place: string; scrutiny: Scrutiny }[] {
  const { home, stateDir, memoryDir } = world
  const full = [
    join(stateDir, 'logs'),
    join(stateDir, 'watchdog'),
    join(stateDir, 'extensions'),
    memoryDir,
    join(world.runFolder, 'redacted'),
    world.reportPath,
    world.reasoningPath,
    '/tmp/openclaw',
    join(home, 'Library/Logs/openclaw'),
    join(home, '.npm/_logs'),
    join(home, 'Library/LaunchAgents', `${world.launchdLabel}.plist`),
    join(home, '.config/systemd/user', world.systemdUnit),
    join(home, '.config/systemd/user', `${world.systemdUnit}.d`),
    ...(world.logPaths ?? []),
  ]
  const known = [
    world.projectDir,
    ...(world.packageDir ? [world.packageDir] : []),
    '/etc/hosts',
    '/etc/os-release',
    '/usr/lib/os-release',
    '/etc/resolv.conf',
    '/proc/loadavg',
    '/proc/meminfo',
    '/proc/uptime',
    '/proc/version',
    '/proc/cpuinfo',
  ]
  return [
    ...full.map((place) => ({ place: real(place), scrutiny: 'full' as const })),
    ...known.map((place) => ({ place: real(place), scrutiny: 'known-secrets' as const })),
  ]
}

/** Names under which secrets are kept, wherever they lie. */
const SECRET_FILES =
  /^(\.env.*|\.netrc|\.npmrc|\.git-credentials|\.pgpass|auth-profiles.*|credentials.*|oauth.*\.json|secrets?(\..*)?|.*\.(pem|p12|pfx|key|keychain(-db)?|kdbx|sqlite.*|db)|id_(rsa|dsa|ecdsa|ed25519).*|.*_history|environ|mem|kcore)$/i
const SECRET_FOLDERS =
  /^(\.git|\.ssh|\.gnupg|\.aws|\.claude|\.docker|\.kube|credentials|secrets|keychains|identity|devices)$/i

function scrutinyOf(path: string, world: World): Scrutiny {
  const parts = path.split('/')
  const name = parts.at(-1) ?? ''
  if (SECRET_FILES.test(name) || parts.slice(0, -1).some((part) => SECRET_FOLDERS.test(part))) {
    throw new Refused('secrets', `${path} is a place where secrets are kept.`)
  }
  const run = real(world.runFolder)
  if (isWithin(path, run) && !isWithin(path, join(run, 'redacted'))) {
    throw new Refused('guard', `${path} belongs to this session.`)
  }
  // The config, and the copies that OpenClaw keeps beside it (openclaw.json.bak, …).
  const config = followed(world.configPath)
  if (path === config || (path.startsWith(`${config}.`) && dirname(path) === dirname(config))) return 'full'
  // What the kernel says of a process, but its environment, its memory and its files.
  if (/^\/proc\/\d+\/(status|stat|limits|io|comm|cmdline|cgroup)$/.test(path)) return 'known-secrets'
  const place = readablePlaces(world).find((one) => isWithin(path, one.place))
  // Into these two the gateways of all profiles write.
  const isInShared = ['/tmp/openclaw', join(world.home, 'Library/Logs/openclaw')].some(
    (folder) => dirname(path) === real(folder),
  )
  if (isInShared && isForeignLog(name, world.profile))
    throw new Refused('not-allowed', `${path} is the log of another profile’s gateway.`)
  if (!place) throw new Refused('not-allowed', `${path} is none of the gateway’s logs, reports or files.`)
  return place.scrutiny
}

/**
 * Refuses unless every file that `path` may mean can be read and holds no secret. A file that holds some is refused too,
 * and a redacted copy of its end is put into the run's folder for the doctor.
 * @param fromEnd only the end of the file will be shown (`tail`), so that a huge log can be looked at; a number: that many lines
 * @returns whether all that will be shown was looked through; of a large log it was the end
 */
export function assertReadable(
  path: string,
  cwds: readonly string[],
  world: World,
  fromEnd: boolean | number = false,
): boolean {
  return realPaths(path, cwds, world.home)
    .map((target) => assertHarmlessContent(target, scrutinyOf(target, world), world, fromEnd))
    .every(Boolean)
}

/** As `assertReadable` for a whole folder: everything below it. */
export function assertTreeReadable(path: string, cwds: readonly string[], world: World): boolean {
  let isSeen = true
  for (const root of realPaths(path, cwds, world.home)) {
    // What was installed from the registry holds nobody's secrets, and too many files to look through.
    if (world.packageDir && isWithin(root, real(world.packageDir))) continue
    let seen = 0
    let bytes = 0
    const visit = (at: string) => {
      const stats = statOrNone(at)
      if (stats === undefined) return
      if (stats.isDirectory()) {
        // A folder that is none of the readable places is refused before anything in it is opened.
        if (!readablePlaces(world).some((one) => isWithin(at, one.place))) scrutinyOf(at, world)
        for (const name of readdirSync(at)) visit(join(at, name))
        return
      }
      seen++
      bytes += Math.min(stats.size, SHAPE_CHECK_BYTES)
      if (seen > LARGEST_TREE_FILES || bytes > LARGEST_TREE_BYTES) {
        throw new Refused('unclear', `${root} holds too much to look through; name the files.`)
      }
      for (const target of realPaths(at, NO_FOLDER, world.home)) {
        isSeen = assertHarmlessContent(target, scrutinyOf(target, world), world, false) && isSeen
      }
    }
    visit(root)
  }
  return isSeen
}

/** The two files that may be written. Neither may be a symlink or have become something else than a file. */
export function assertWritableReport(path: string, cwds: readonly string[], world: World): void {
  if (path === '/dev/null') return
  const allowedFiles = [world.reportPath, world.reasoningPath].map((one) => join(real(dirname(one)), basename(one)))
  for (const target of realPaths(path, cwds, world.home)) {
    if (isConfigFile(target, world)) {
      throw new Refused(
        'write',
        'The config is repaired with Edit, Write or `openclaw config set`, not from the shell.',
      )
    }
    if (isWithin(target, real(world.projectDir))) throw new Refused('project', `${target} belongs to it.`)
    if (!allowedFiles.includes(target)) {
      throw new Refused('write', `${target} is not one of ${world.reportPath} and ${world.reasoningPath}.`)
    }
    const stats = statOrNone(target)
    if (stats && !stats.isFile()) throw new Refused('write', `${target} is not a file.`)
  }
}

export function isFolder(path: string): boolean {
  return statOrNone(path)?.isDirectory() ?? false
}

function statOrNone(path: string) {
  try {
    return statSync(path)
  } catch {
    return undefined
  }
}

function assertHarmlessContent(path: string, scrutiny: Scrutiny, world: World, fromEnd: boolean | number): boolean {
  const stats = statOrNone(path)
  const isKernels = isWithin(path, '/proc')
  if (stats === undefined) return !isKernels // Nothing there: the command will say so itself.
  if (stats.isDirectory()) throw new Refused('unclear', `${path} is a folder; name files in it.`)
  if (!stats.isFile()) throw new Refused('unclear', `${path} is not a plain file.`)
  if (stats.size > LARGEST_READ_BYTES && fromEnd === false) {
    throw new Refused('unclear', `${path} has ${Math.round(stats.size / 1e6)} MB; look at its end with tail -n.`)
  }
  const fd = openSync(path, 'r')
  try {
    const size = fstatSync(fd).size
    const end = readSpan(fd, Math.max(0, size - SHAPE_CHECK_BYTES), size).toString('utf8')
    const isHarmless =
      !holdsKnown(fd, Math.max(0, size - LARGEST_READ_BYTES), size, world.secrets) &&
      (scrutiny === 'known-secrets' || redact(end, world.secrets) === end)
    if (isHarmless) {
      // What the kernel tells has no size, and a log's shapes of secrets are looked for in its end alone.
      if (isKernels) return false
      if (scrutiny === 'known-secrets' || size <= SHAPE_CHECK_BYTES) return true
      return typeof fromEnd === 'number' && end.split('\n').length > fromEnd + 1
    }
    const copy = redactedCopy(path, end, world)
    throw new Refused('secrets', `${path} holds secrets. A redacted copy of its end is at ${copy}: read that one.`)
  } finally {
    closeSync(fd)
  }
}

function readSpan(fd: number, from: number, to: number): Buffer {
  const buffer = Buffer.alloc(Math.max(0, to - from))
  let got = 0
  while (got < buffer.length) {
    const n = readSync(fd, buffer, got, buffer.length - got, from + got)
    if (n === 0) break
    got += n
  }
  return buffer.subarray(0, got)
}

function holdsKnown(fd: number, from: number, to: number, secrets: readonly string[]): boolean {
  const needles = secrets.filter((secret) => secret.length >= 6).map((secret) => Buffer.from(secret))
  const overlap = Math.max(0, ...needles.map((needle) => needle.length))
  const step = 4 * 1024 * 1024
  for (let at = from; at < to; at += step) {
    const span = readSpan(fd, at, Math.min(to, at + step + overlap))
    if (needles.some((needle) => span.includes(needle))) return true
  }
  return false
}

/** Writes the redacted end of a file into the run's folder and says where. */
function redactedCopy(path: string, end: string, world: World): string {
  const folder = join(world.runFolder, 'redacted')
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const mark = createHash('sha256').update(path).digest('hex').slice(0, 6)
  const copy = join(folder, `${mark}-${basename(path)}`)
  // Twice: a cut at the front may have made a secret's begin unrecognisable, and redaction is idempotent otherwise.
  writeFileSync(copy, redact(redact(end.slice(-SHAPE_CHECK_BYTES), world.secrets), world.secrets), { mode: 0o600 })
  return copy
}
