/**
 * A small Linux machine of its own for a test: a real systemd as PID 1 with a real cron and a user who has a real user
 * manager, in a systemd-nspawn container. It shares /usr with this machine, read-only, and nothing else: processes,
 * network (only a loopback), /home, /etc and crontabs are its own. Needs root, and systemd-container, dbus,
 * dbus-user-session and cron.
 */
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { tried } from '../../lib/tier/state.ts'
import { waitFor } from './wait-for.ts'

/** The user whose gateway it is. */
export const USER = { name: 'otto', uid: 4711, home: '/home/otto' }

type Init = 'systemd' | 'cron'

interface Ran {
  code: number | null
  stdout: string
  stderr: string
}

const ROOT_ENV = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', HOME: '/root' }
/** Goes into the cgroups given in front of `--`, and becomes the command behind it. */
const ENTER_CGROUPS = 'while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs"; shift; done; shift; exec "$@"'
/** systemd's SIGRTMIN+4, as Linux counts. */
const POWER_OFF = 38

/** @param binds folders of this machine that it sees, read-only: path here → path there */
export async function bootContainer(binds: Record<string, string>, init: Init) {
  const scratch = mkdtempSync('/var/tmp/machine-')
  const root = join(scratch, 'root')
  const name = basename(scratch).toLowerCase()
  const log = join(scratch, 'console.log')
  const cgroups = ownCgroups(name)
  execFileSync('sh', ['-c', BUILD_ROOT, 'sh', root])
  const output = openSync(log, 'a')
  const options = [
    ...['--directory', root, '--machine', name, '--bind-ro=/usr', '--private-network', '--console=pipe'],
    ...['--register=no', '--keep-unit', '--link-journal=no', '--settings=no', '--resolv-conf=off', '--timezone=off'],
    ...Object.entries(binds).map(([here, there]) => `--bind-ro=${here}:${there}`),
    ...(init === 'systemd' ? ['--boot'] : ['--as-pid2', '/usr/sbin/cron', '-f']),
  ]
  // Should the test run itself be killed, the machine gets the signal to power off.
  const command = ['setpriv', '--pdeathsig', 'TERM', 'systemd-nspawn', ...options]
  const nspawn = spawn('sh', ['-c', ENTER_CGROUPS, 'sh', ...cgroups, '--', ...command], {
    stdio: ['ignore', output, output],
    // Today's cgroups also where this machine still has the old ones, under which systemd in a container does not learn
    // that the last process of a unit is gone.
    env: { ...ROOT_ENV, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: '1' },
    detached: true,
  })
  const ended = new Promise<void>((resolve) => nspawn.once('exit', () => resolve()))
  let pid1 = 0
  try {
    pid1 = await waitFor(() => firstProcess(nspawn, init), "the machine's first process")
    const isUp =
      init === 'cron'
        ? async () => (await runAsRoot(['pgrep', '-x', 'cron'])).code === 0
        : async () => (await run(['systemctl', '--user', 'is-system-running'])).stdout.trim() === 'running'
    await waitFor(isUp, 'the boot of the machine', 180_000)
    return { root, run, runAsRoot, stop }
  } catch (error) {
    const text = readFileSync(log, 'utf8').slice(-3000)
    await stop()
    throw new Error(`${error}\n${text}`)
  }

  function inside(command: string[], env: Record<string, string>, timeoutMs: number): Promise<Ran> {
    const variables = Object.entries(env).map(([key, value]) => `${key}=${value}`)
    const words = ['-t', String(pid1), '-a', '/usr/bin/env', '-i', '-C', '/', ...variables, ...command]
    return new Promise((resolve) => {
      execFile('nsenter', words, { timeout: timeoutMs, maxBuffer: 32 << 20 }, (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : null
        resolve({ code, stdout, stderr: code === null ? `${stderr}\n${error}` : stderr })
      })
    })
  }

  function runAsRoot(command: string[]): Promise<Ran> {
    return inside(command, ROOT_ENV, 60_000)
  }

  /** Runs a command inside as the user, with the environment of a login and what is added. */
  function run(command: string[], env: Record<string, string> = {}, timeoutMs = 60_000): Promise<Ran> {
    const login = {
      ...{ HOME: USER.home, USER: USER.name, LOGNAME: USER.name, SHELL: '/bin/bash', PATH: '/usr/bin:/bin' },
      ...(init === 'systemd' ? { XDG_RUNTIME_DIR: `/run/user/${USER.uid}` } : {}),
      ...env,
    }
    const asUser = ['setpriv', `--reuid=${USER.uid}`, `--regid=${USER.uid}`, '--init-groups', ...command]
    return inside(asUser, login, timeoutMs)
  }

  /** Ends every process of the machine and removes every trace of it. */
  async function stop(): Promise<void> {
    if (pid1 && init === 'systemd') tried(() => process.kill(pid1, POWER_OFF))
    // Killing its PID 1 ends every process of the machine.
    const end = () => tried(() => process.kill(pid1 || nspawn.pid!, 'SIGKILL'))
    const plug = setTimeout(end, init === 'systemd' && pid1 ? 30_000 : 0)
    if (nspawn.exitCode === null && nspawn.signalCode === null) await ended
    clearTimeout(plug)
    // The kernel lets go of a cgroup a moment after its last process.
    for (const folder of cgroups) await waitFor(() => removeCgroup(folder), `the removal of ${folder}`)
    rmSync(scratch, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 })
    rmSync(`/run/systemd/nspawn/propagate/${name}`, { recursive: true, force: true })
  }
}

/** The machine's PID 1 as this machine counts; 0 while it is not there yet. systemd-nspawn has other children before it. */
function firstProcess({ pid, exitCode, signalCode }: ChildProcess, init: Init): number {
  if (exitCode !== null || signalCode !== null) throw new Error(`systemd-nspawn ended with ${exitCode ?? signalCode}`)
  const read = (path: string) => tried(() => readFileSync(`/proc/${path}`, 'utf8')) ?? ''
  const isFirst = (child: string) =>
    /^NSpid:\s+\d+\s+1$/m.test(read(`${child}/status`)) && (init === 'cron' || read(`${child}/comm`) === 'systemd\n')
  return Number(read(`${pid}/task/${pid}/children`).split(' ').filter(Boolean).find(isFirst) ?? 0)
}

/** Makes cgroups of the machine's own, below ours: systemd-nspawn would let two machines share one. */
function ownCgroups(name: string): string[] {
  const unified = existsSync('/sys/fs/cgroup/unified') ? '/sys/fs/cgroup/unified' : '/sys/fs/cgroup'
  const mounts: Record<string, string> = { '': unified, 'name=systemd': '/sys/fs/cgroup/systemd' }
  const lines = readFileSync('/proc/self/cgroup', 'utf8').trim().split('\n')
  const folders = lines.flatMap((line) => {
    const [, hierarchy = '', path = ''] = line.split(':')
    return mounts[hierarchy] ? [join(mounts[hierarchy], path, name)] : []
  })
  for (const folder of folders) mkdirSync(folder)
  return folders
}

/** Removes a cgroup; false while a process is left in it. */
function removeCgroup(folder: string): boolean {
  tried(() => execFileSync('find', [folder, '-depth', '-type', 'd', '-exec', 'rmdir', '{}', ';'], { stdio: 'ignore' }))
  return !existsSync(folder)
}

/**
 * Its root folder: everything but /usr, which is bound into it. From this machine's /etc it takes what login, dbus, cron
 * and the linker need, and no secrets. A user who is not logged in has a systemd only when lingering is on.
 */
const BUILD_ROOT = `set -e
mkdir -p "$1" && cd "$1"
mkdir -p usr etc/default etc/systemd/system/multi-user.target.wants var/log var/lib/systemd/linger \
  var/spool/cron/crontabs var/tmp tmp proc sys dev run opt srv root home/${USER.name}
ln -s /run var/run
for link in /bin /sbin /lib*; do [ ! -L "$link" ] || cp -a "$link" .; done
for name in passwd group pam.d pam.conf security login.defs nsswitch.conf ld.so.cache ld.so.conf ld.so.conf.d \
  alternatives dbus-1 default/cron default/locale localtime timezone shells crontab host.conf hosts; do
  [ ! -e "/etc/$name" ] || cp -a "/etc/$name" "etc/$name"
done
cat /etc/os-release >etc/os-release
: >etc/environment
od -An -N16 -tx1 /dev/urandom | tr -d ' ' >etc/machine-id
echo patient >etc/hostname
echo '${USER.name}:x:${USER.uid}:${USER.uid}:Otto:${USER.home}:/bin/bash' >>etc/passwd
echo '${USER.name}:x:${USER.uid}:' >>etc/group
printf '%s:*:20000:0:99999:7:::\\n' root ${USER.name} >etc/shadow
printf '[Journal]\\nStorage=persistent\\n' >etc/systemd/journald.conf
ln -s /lib/systemd/system/cron.service etc/systemd/system/multi-user.target.wants/
: >var/lib/systemd/linger/${USER.name}
chgrp crontab var/spool/cron/crontabs
chmod 1730 var/spool/cron/crontabs
chmod 1777 tmp var/tmp
chmod 640 etc/shadow
chown ${USER.uid}:${USER.uid} home/${USER.name}`

/** Every file below the folders of the machine, with type, mode, owner, path as the machine sees it, and content's hash. */
export function listFiles(root: string, folders: string[]): string[] {
  const list = `find ${folders.join(' ')} -printf '%y %m %U:%G /%p %l\\n'; find ${folders.join(' ')} -type f -exec sha256sum {} + | sed 's|  |  /|'`
  return execFileSync('sh', ['-c', list], { cwd: root, encoding: 'utf8', maxBuffer: 32 << 20 })
    .trim()
    .split('\n')
    .sort()
}
