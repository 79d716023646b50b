/** The root folder of a test's own machine (container.ts): everything but /usr, which is bound into it. */
import { createHash, randomBytes } from 'node:crypto'
import {
  appendFileSync,
  chmodSync,
  chownSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'

/** The user whose gateway it is. */
export const USER = { name: 'otto', uid: 4711, home: '/home/otto' }

/** What the machine takes from this machine's /etc: what login, dbus, cron and the linker need, and no secrets. */
const FROM_ETC =
  'passwd group pam.d pam.conf security login.defs nsswitch.conf ld.so.cache ld.so.conf ld.so.conf.d alternatives dbus-1 default/cron default/locale localtime timezone shells crontab host.conf hosts'.split(
    ' ',
  )

export function buildRoot(root: string): void {
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
