/** `npm run status -- --fleet` by the real ssh, from real sshds on loopback: each is a machine with a HOME of its own. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { execa } from 'execa'
import { expect, onTestFinished, test } from 'vitest'
import { which } from 'zx'
import { installIn } from '../support/fleet.ts'
import { freePort } from '../support/ports.ts'
import { createSandbox, type Sandbox, waitFor } from '../support/sandbox.ts'

async function machine(): Promise<Sandbox> {
  const box = await createSandbox()
  onTestFinished(box.close)
  return box
}

async function writeKey(path: string): Promise<string> {
  await execa('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', path])
  return readFileSync(`${path}.pub`, 'utf8')
}

/** An sshd that lets the key in, with this HOME and else what a login has. */
async function startSshd({ root, home }: Sandbox, authorized: string) {
  const port = await freePort()
  const hostKey = await writeKey(join(root, 'host-key'))
  writeFileSync(join(root, 'authorized'), authorized)
  const lines = [
    `ListenAddress 127.0.0.1:${port}`,
    `HostKey ${root}/host-key`,
    `AuthorizedKeysFile ${root}/authorized`,
    `PidFile none`,
    'StrictModes no',
    'UsePAM no',
    'PasswordAuthentication no',
    'KbdInteractiveAuthentication no',
    `SetEnv HOME=${home}`,
  ]
  writeFileSync(join(root, 'sshd_config'), `${lines.join('\n')}\n`)
  // sshd wants to be called by its full name, and separates privileges in this folder.
  mkdirSync('/run/sshd', { recursive: true })
  const path = `${process.env.PATH}:/usr/sbin:/sbin`
  const argv = ['-D', '-e', '-f', join(root, 'sshd_config')]
  const child = execa(await which('sshd', { path }), argv, { all: true, reject: false })
  let said = ''
  child.all.on('data', (chunk) => (said += chunk))
  onTestFinished(async () => {
    child.kill()
    await child
  })
  await waitFor(() => {
    if (child.exitCode !== null) throw new Error(said)
    return said.includes('Server listening')
  }, 'sshd')
  return { port, known: `[127.0.0.1]:${port} ${hostKey}` }
}

test('well, down, refused, a key that is not let in, a host key that nobody has accepted, a port that says nothing', async () => {
  const [desk, alpha, beta] = await Promise.all([machine(), machine(), machine()])
  await alpha.startGateway()
  for (const box of [alpha, beta]) {
    await installIn(box)
    // As setup records them: a login by ssh has neither this Node nor this PATH.
    writeFileSync(join(box.stateDir, 'watchdog', 'launcher'), `${process.execPath}\n${box.env.PATH}\n`)
    writeFileSync(join(box.home, '.bashrc'), 'echo "Welcome to {beta}"; echo >&2 "mail waits"; printf half\n')
  }
  await beta.endProcesses()
  beta.writeConfig('{ "gateway": ')
  const [key, otherKey, known, none] = ['key', 'other-key', 'known', 'none'].map((name) => join(desk.root, name))
  const authorized = await writeKey(key!)
  await writeKey(otherKey!)
  const [ofAlpha, ofBeta] = await Promise.all([alpha, beta].map((box) => startSshd(box, authorized)))
  writeFileSync(known!, ofAlpha!.known + ofBeta!.known)
  const silent = createServer().listen(0, '127.0.0.1')
  onTestFinished(() => void silent.close())
  await waitFor(() => silent.listening, 'the port')
  const { port: silentPort } = silent.address() as { port: number }

  const host = (name: string, port: number, identity = key, hosts = known) =>
    `Host ${name}\n HostName 127.0.0.1\n Port ${port}\n IdentityFile ${identity}\n UserKnownHostsFile ${hosts}\n`
  const others = ' IdentitiesOnly yes\n GlobalKnownHostsFile /dev/null\n'
  const hosts = [
    host('alpha', ofAlpha!.port),
    // What a command over ssh could stumble on.
    `${host('beta', ofBeta!.port)} RemoteCommand tmux attach\n RequestTTY yes\n LocalForward 127.0.0.1:${silentPort} localhost:1\n ExitOnForwardFailure yes\n`,
    host('gone', await freePort()),
    host('locked', ofAlpha!.port, otherKey),
    host('stranger', ofAlpha!.port, key, none),
    host('silent', silentPort),
    `${host('behind', ofAlpha!.port)} ProxyJump stranger\n`,
    `${host('beyond', ofBeta!.port)} ProxyJump alpha\n`,
  ]
  writeFileSync(join(desk.root, 'ssh_config'), hosts.map((one) => one + others).join(''))
  // ssh reads the home folder from the passwd file, whatever HOME is.
  desk.addTool('ssh', `exec '${which.sync('ssh')}' -F '${desk.root}/ssh_config' "$@"`)

  const all = [
    'alpha',
    'beta',
    'gone',
    'locked',
    'stranger',
    'silent',
    'behind',
    'beyond',
    `ssh://127.0.0.1:${ofAlpha!.port}`,
  ]
  const { code, stdout, stderr } = await desk.runScript('status', ['--fleet', ...all])
  expect({ code, stderr }).toEqual({ code: 1, stderr: '' })
  expect(stdout).toMatch(/^alpha +● healthy /m)
  for (const name of ['beta', 'beyond']) expect(stdout).toMatch(new RegExp(`^${name} +○ misconfigured `, 'm'))
  for (const [name, why] of [
    ['gone', 'Connection refused'],
    ['locked', 'Permission denied'],
    ['stranger', 'Host key verification failed'],
    ['silent', 'timed out'],
    ['behind', 'Host key verification failed'],
    [all.at(-1), 'Host key verification failed'],
  ]) {
    expect(stdout).toMatch(new RegExp(`^${name} +✕ `, 'm'))
    expect(stdout.replace(/\n {2}/g, ' ')).toMatch(new RegExp(`^${name}: .*${why}`, 'm'))
  }
  expect(existsSync(none!)).toBe(false)

  const well = await desk.runScript('status', ['--fleet', 'alpha', '--json'])
  expect(well, well.stdout).toMatchObject({ code: 0, stderr: '' })
  expect(JSON.parse(well.stdout)).toMatchObject([
    { host: 'alpha', isWell: true, status: { installed: expect.anything() } },
  ])
})
