/**
 * A small Linux machine of its own for a test: a real systemd as PID 1 with a real cron and a user who has a real user
 * manager, in a systemd-nspawn container. It shares /usr with this machine, read-only, and nothing else: processes,
 * network (only a loopback), /home, /etc and crontabs are its own. Needs root, and systemd-container, dbus,
 * dbus-user-session and cron.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import {
  appendFileSync,
  chmodSync,
  chownSync,
  closeSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import { waitFor } from './wait-for.ts'

/** The user whose gateway it is. */
export const USER = { name: 'otto', uid: 4711, home: '/home/otto' }

export type Container = Awaited<ReturnType<typeof bootContainer>>

export interface Ran {
  code: number | null
  stdout: string
  stderr: string
}

const NSPAWN_ENV = {
  PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
  // Today's cgroups also where this machine still has the old ones, under which systemd in a container is not told that
  // the last process of a unit is gone.
  SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: '1',
}
/** Goes into the cgroups given in front of `--`, and becomes the command behind it. */
const ENTER_CGROUPS = 'while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs"; shift; done; shift; exec "$@"'
/** systemd's SIGRTMIN+4, as Linux counts. */
const POWER_OFF = 38

/**
 * Boots the machine.
 * @param binds folders of this machine that it sees, read-only: path here → path there
 * @param init what runs as PID 1: systemd, or (for a machine without systemd) a stub with a cron daemon
 */
export async function bootContainer(binds: Record<string, string>, init: 'systemd' | 'cron' = 'systemd') {
  const scratch = mkdtempSync('/var/tmp/machine-')
  const root = join(scratch, 'root')
  const name = basename(scratch).toLowerCase()
  const log = join(scratch, 'console.log')
  const cgroups = ownCgroups(name)
  buildRoot(root)
  const console_ = openSync(log, 'a')
  const options = [
    ...['--directory', root, '--machine', name, '--bind-ro=/usr', '--private-network', '--console=pipe'],
    ...['--register=no', '--keep-unit', '--link-journal=no', '--settings=no', '--resolv-conf=off', '--timezone=off'],
    ...Object.entries(binds).map(([here, there]) => `--bind-ro=${here}:${there}`),
    ...(init === 'systemd' ? ['--boot'] : ['--as-pid2', '/usr/sbin/cron', '-f']),
  ]
  // Should the test run itself be killed, the machine is told to power off.
  const command = ['setpriv', '--pdeathsig', 'TERM', 'systemd-nspawn', ...options]
  const nspawn = spawn('sh', ['-c', ENTER_CGROUPS, 'sh', ...cgroups, '--', ...command], {
    stdio: ['ignore', console_, console_],
    env: NSPAWN_ENV,
    detached: true,
  })
  closeSync(console_)
  const ended = new Promise<void>((resolve) => nspawn.once('exit', () => resolve()))
  let pid1 = 0

  const machine = { root, run, runAsRoot, stop }
  try {
    pid1 = await waitFor(() => firstProcess(nspawn, init), "the machine's first process")
    if (init === 'systemd') {
      await waitFor(
        async () => /running|degraded/.test((await runAsRoot(['systemctl', 'is-system-running'])).stdout),
        'the boot of the machine',
        120_000,
      )
      await waitFor(
        async () => (await run(['systemctl', '--user', 'is-system-running'])).stdout.trim() === 'running',
        "the user's own systemd",
        60_000,
      )
    } else {
      await waitFor(async () => (await runAsRoot(['pgrep', '-x', 'cron'])).code === 0, 'cron')
    }
    return machine
  } catch (error) {
    const text = existsSync(log) ? readFileSync(log, 'utf8').slice(-3000) : ''
    await stop()
    throw new Error(`${error instanceof Error ? error.message : error}\n${text}`)
  }

  function nsenter(command: string[], env: Record<string, string>, timeoutMs: number): Promise<Ran> {
    const args = ['-t', String(pid1), '-a', '/usr/bin/env', '-i', '-C', '/']
    const words = [...args, ...Object.entries(env).map(([key, value]) => `${key}=${value}`), ...command]
    return new Promise((resolve) => {
      execFile('nsenter', words, { timeout: timeoutMs, maxBuffer: 32 << 20 }, (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : null
        resolve({ code, stdout, stderr: code === null ? `${stderr}\n${error}` : stderr })
      })
    })
  }

  /** Runs a command inside as root. */
  function runAsRoot(command: string[], timeoutMs = 60_000): Promise<Ran> {
    return nsenter(command, { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root' }, timeoutMs)
  }

  /** Runs a command inside as the user, with the environment of a login and what is added. */
  function run(command: string[], env: Record<string, string> = {}, timeoutMs = 60_000): Promise<Ran> {
    const login = {
      HOME: USER.home,
      USER: USER.name,
      LOGNAME: USER.name,
      SHELL: '/bin/bash',
      PATH: '/usr/local/bin:/usr/bin:/bin',
      ...(init === 'systemd' ? { XDG_RUNTIME_DIR: `/run/user/${USER.uid}` } : {}),
      ...env,
    }
    const asUser = ['setpriv', `--reuid=${USER.uid}`, `--regid=${USER.uid}`, '--init-groups', ...command]
    return nsenter(asUser, login, timeoutMs)
  }

  /** Ends every process of the machine and removes every trace of it. */
  async function stop(): Promise<void> {
    if (nspawn.exitCode === null && nspawn.signalCode === null) {
      if (pid1 && init === 'systemd') kill(pid1, POWER_OFF)
      // Killing its PID 1 ends every process of the machine.
      const plug = setTimeout(() => kill(pid1 || nspawn.pid!, 'SIGKILL'), init === 'systemd' && pid1 ? 30_000 : 0)
      await ended
      clearTimeout(plug)
    }
    // The kernel lets go of a cgroup a moment after its last process.
    for (const folder of cgroups) await waitFor(() => removeCgroup(folder), `the removal of ${folder}`)
    rmSync(scratch, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 })
    rmSync(`/run/systemd/nspawn/propagate/${name}`, { recursive: true, force: true })
  }
}

/** The machine's PID 1 as this machine counts; 0 while it is not there yet. systemd-nspawn has other children before it. */
function firstProcess(nspawn: ChildProcess, init: 'systemd' | 'cron'): number {
  if (nspawn.exitCode !== null || nspawn.signalCode !== null)
    throw new Error(`systemd-nspawn ended with ${nspawn.exitCode ?? nspawn.signalCode}`)
  const read = (path: string) => {
    try {
      return readFileSync(path, 'utf8')
    } catch {
      return ''
    }
  }
  const children = read(`/proc/${nspawn.pid}/task/${nspawn.pid}/children`).split(' ').filter(Boolean)
  const isFirst = (pid: string) => /^NSpid:\s+\d+\s+1$/m.test(read(`/proc/${pid}/status`))
  const isInit = (pid: string) => init === 'cron' || read(`/proc/${pid}/comm`).trim() === 'systemd'
  return Number(children.find((pid) => isFirst(pid) && isInit(pid)) ?? 0)
}

function kill(pid: number, signal: NodeJS.Signals | number): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It ended in the meantime.
  }
}

/** Makes cgroups of the machine's own, below ours: systemd-nspawn would let two machines share one. */
function ownCgroups(name: string): string[] {
  const unified = existsSync('/sys/fs/cgroup/unified') ? '/sys/fs/cgroup/unified' : '/sys/fs/cgroup'
  const mounts: Record<string, string> = { '': unified, 'name=systemd': '/sys/fs/cgroup/systemd' }
  return readFileSync('/proc/self/cgroup', 'utf8')
    .trim()
    .split('\n')
    .flatMap((line) => {
      const [, hierarchy = '', path = ''] = line.split(':')
      const mount = mounts[hierarchy]
      if (mount === undefined) return []
      const folder = join(mount, path, name)
      mkdirSync(folder)
      return [folder]
    })
}

/** Removes a cgroup; false while a process is left in it. */
function removeCgroup(folder: string): boolean {
  try {
    for (const name of readdirSync(folder)) {
      const path = join(folder, name)
      if (statSync(path).isDirectory() && !removeCgroup(path)) return false
    }
    rmdirSync(folder)
    return true
  } catch {
    return !existsSync(folder)
  }
}

// --- its root folder: everything but /usr, which is bound into it

/** What the machine takes from this machine's /etc: what login, dbus, cron and the linker need, and no secrets. */
const FROM_ETC =
  'passwd group pam.d pam.conf security login.defs nsswitch.conf ld.so.cache ld.so.conf ld.so.conf.d alternatives dbus-1 default/cron default/locale localtime timezone shells crontab host.conf hosts'.split(
    ' ',
  )

function buildRoot(root: string): void {
  for (const folder of [
    'usr',
    'etc',
    'var/log',
    'var/lib/systemd/linger',
    'proc',
    'sys',
    'dev',
    'run',
    'opt',
    'srv',
    'root',
  ])
    mkdirSync(join(root, folder), { recursive: true })
  for (const [folder, mode] of [
    ['tmp', 0o1777],
    ['var/tmp', 0o1777],
    ['var/spool/cron/crontabs', 0o1730],
  ] as const)
    makeFolder(join(root, folder), mode)
  symlinkSync('/run', join(root, 'var/run'))
  // /bin, /sbin, /lib…: links into /usr.
  for (const name of readdirSync('/').filter((entry) => /^(?:bin|sbin|lib\d*|libx32)$/.test(entry)))
    symlinkSync(readlinkSync(join('/', name)), join(root, name))
  for (const name of FROM_ETC)
    if (existsSync(join('/etc', name)))
      cpSync(join('/etc', name), join(root, 'etc', name), { recursive: true, verbatimSymlinks: true })

  const etc = (name: string, text: string, mode = 0o644) => {
    mkdirSync(join(root, 'etc', name, '..'), { recursive: true })
    writeFileSync(join(root, 'etc', name), text, { mode })
  }
  etc('environment', '')
  etc('os-release', readFileSync('/etc/os-release', 'utf8'))
  etc('machine-id', `${randomBytes(16).toString('hex')}\n`)
  etc('hostname', 'patient\n')
  appendFileSync(join(root, 'etc/passwd'), `${USER.name}:x:${USER.uid}:${USER.uid}:Otto:${USER.home}:/bin/bash\n`)
  appendFileSync(join(root, 'etc/group'), `${USER.name}:x:${USER.uid}:\n`)
  etc('shadow', `root:*:20000:0:99999:7:::\n${USER.name}:*:20000:0:99999:7:::\n`, 0o640)
  etc('systemd/journald.conf', '[Journal]\nStorage=persistent\n')
  mkdirSync(join(root, 'etc/systemd/system/multi-user.target.wants'), { recursive: true })
  symlinkSync('/lib/systemd/system/cron.service', join(root, 'etc/systemd/system/multi-user.target.wants/cron.service'))
  const crontabs = Number(/^crontab:[^:]*:(\d+):/m.exec(readFileSync('/etc/group', 'utf8'))?.[1])
  chownSync(join(root, 'var/spool/cron/crontabs'), 0, crontabs)
  makeFolder(join(root, USER.home), 0o755)
  chownSync(join(root, USER.home), USER.uid, USER.uid)
  // A user who is not logged in has a systemd only when lingering is on.
  writeFileSync(join(root, 'var/lib/systemd/linger', USER.name), '')
}

function makeFolder(path: string, mode: number): void {
  mkdirSync(path, { recursive: true })
  chmodSync(path, mode)
}

/** Every file below a folder of the machine, with type, mode, owner, path as the machine sees it, and content's hash. */
export function listFiles(root: string, below: string): string[] {
  return list(join(root, below)).map((line) => line.replaceAll(root, ''))
}

function list(path: string): string[] {
  const stat = lstatSync(path)
  const kind = stat.isDirectory() ? 'd' : stat.isSymbolicLink() ? 'l' : stat.isFile() ? '-' : '?'
  const content = stat.isFile()
    ? createHash('sha256').update(readFileSync(path)).digest('hex')
    : stat.isSymbolicLink()
      ? readlinkSync(path)
      : ''
  const line = `${kind} ${(stat.mode & 0o7777).toString(8)} ${stat.uid}:${stat.gid} ${path} ${content}`.trim()
  return stat.isDirectory()
    ? [
        line,
        ...readdirSync(path)
          .sort()
          .flatMap((name) => list(join(path, name))),
      ]
    : [line]
}
