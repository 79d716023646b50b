/**
 * A sandbox on which the system counts as installed: receipt, living peers, and a launchctl, systemctl or crontab that
 * records how it is called. Time passes by making everything that the watchers remember older.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { formatLine, type TierName } from '../../lib/tier/contract.ts'
import { logName } from '../../lib/tier/journal.ts'
import { createSandbox, projectDir, type SandboxOptions } from './sandbox.ts'
import { letTimePass } from './time-passing.ts'

export type Installed = Awaited<ReturnType<typeof createInstalled>>

export async function createInstalled(
  scheduler: 'launchd' | 'systemd' | 'cron',
  options: SandboxOptions & { cron?: boolean } = {},
) {
  const box = await createSandbox(options)
  const watchdogDir = join(box.stateDir, 'watchdog')
  const receipt = join(watchdogDir, 'receipt.json')
  const callsFile = join(box.controlDir, 'scheduler-calls')
  const crontabFile = join(box.controlDir, 'crontab')
  const cronLines =
    options.cron === false
      ? []
      : ['emergency-recovery-monitor', 'watchdog-guardian'].map(
          (script) => `*/5 * * * * /bin/sh '${join(projectDir, 'scripts', 'run-tier.sh')}' ${script} >/dev/null 2>&1`,
        )
  mkdirSync(watchdogDir, { recursive: true })
  mkdirSync(box.memoryDir, { recursive: true })
  const content = { installedAt: new Date().toISOString(), root: projectDir, scheduler, cronLines, entries: [] }
  writeFileSync(receipt, JSON.stringify(content))
  writeCrontab(cronLines)
  addSchedulers()
  for (const tier of ['watchdog', 'healthcheck', 'monitor', 'guardian'] as const) writesLog(tier)

  /** The tier writes a line into its log, as a run of it would. */
  function writesLog(tier: TierName): void {
    const now = new Date()
    appendFileSync(join(box.memoryDir, logName(tier, now)), `${formatLine(now, tier, 'INFO', 'I am alive')}\n`)
  }

  /** The tier ran when it was due: of the guardian, its own memory says so. */
  function runsByItself(tier: TierName): void {
    writesLog(tier)
    const book = { lastTickMs: Date.now(), onTimeSinceMs: Date.now(), revived: {} }
    if (tier === 'guardian') writeFileSync(join(watchdogDir, 'peers-guardian.json'), JSON.stringify(book))
  }

  /** Whether launchd has the job, or systemd's timer is active. */
  function setRegistered(tier: TierName, isRegistered: boolean): void {
    const path = join(box.controlDir, `com.openclaw.${tier}.off`)
    if (isRegistered) rmSync(path, { force: true })
    else writeFileSync(path, '')
  }

  /** From now on starting a job fails, until what it returns is called. */
  function breakStarting(): () => void {
    const path = join(box.controlDir, 'broken')
    writeFileSync(path, '')
    return () => rmSync(path)
  }

  function writeCrontab(lines: string[]): void {
    writeFileSync(crontabFile, lines.map((line) => `${line}\n`).join(''))
  }

  function addSchedulers(): void {
    // A started job writes into its log, as the real one would within a second.
    const common = `
echo "\${0##*/} $*" >>'${callsFile}'
off() { [ -e "${box.controlDir}/$1.off" ]; }
start() {
  [ ! -e '${box.controlDir}/broken' ] || { echo 'Domain does not support specified action' >&2; exit 125; }
  rm -f "${box.controlDir}/$1.off"
  echo started >>"${box.memoryDir}/\${1#com.openclaw.}-$(date +%Y-%m-%d).log"
}
unplanned() { echo "unplanned: $*" >&2; exit 64; }`
    if (scheduler === 'launchd')
      box.addTool(
        'launchctl',
        `${common}
for last; do :; done
name=\${last##*/}; name=\${name%.plist}
case $1 in
  print | kickstart) off "$name" && { echo "Could not find service \\"$name\\" in domain for user gui: 501" >&2; exit 113; } ;;
esac
case $1 in
  print) printf '%s = {\\n\\tstate = not running\\n\\truns = 7\\n\\tlast exit code = 0\\n}\\n' "$2" ;;
  enable) ;;
  kickstart | bootstrap) start "$name" ;;
  *) unplanned "$@" ;;
esac`,
      )
    if (scheduler === 'systemd')
      box.addTool(
        'systemctl',
        `${common}
case $2/$3 in
  show/com.openclaw.*)
    off "\${3%.*}" && state=inactive sub=dead || state=active sub=waiting
    printf 'LoadState=loaded\\nActiveState=%s\\nSubState=%s\\n' $state $sub ;;
  show/*) printf 'LoadState=not-found\\nActiveState=inactive\\n' ;;
  restart/--no-block) start "\${4%.service}" ;;
  daemon-reload/ | enable/* | restart/*) ;;
  *) unplanned "$@" ;;
esac`,
      )
    box.addTool(
      'crontab',
      `${common}
case $1 in
  -l) cat '${crontabFile}' ;;
  -) cat >'${crontabFile}' ;;
  *) unplanned "$@" ;;
esac`,
    )
  }

  return {
    ...box,
    receipt,
    cronLines,
    writesLog,
    runsByItself,
    /** Everything that the watchers remember becomes older by this. */
    letTimePass: (sec: number) => letTimePass({ watchdogDir, memoryDir: box.memoryDir }, sec),
    setRegistered,
    breakStarting,
    writeCrontab,
    crontab: () => readFileSync(crontabFile, 'utf8'),
    /** How launchctl, systemctl and crontab were called, but for mere questions. */
    actions: () =>
      (existsSync(callsFile) ? readFileSync(callsFile, 'utf8') : '')
        .split('\n')
        .filter((call) => call && !/^(?:launchctl print|systemctl --user show|crontab -l)/.test(call)),
  }
}
