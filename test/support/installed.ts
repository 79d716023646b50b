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
  const box = await createSandbox({ ...options, settings: { GUARDIAN_PATIENCE: '0.5', ...options.settings } })
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

  /** From now on starting a job fails. */
  function breakStarting(): void {
    writeFileSync(join(box.controlDir, 'broken'), '')
  }

  function writeCrontab(lines: string[]): void {
    writeFileSync(crontabFile, lines.map((line) => `${line}\n`).join(''))
  }

  function addSchedulers(): void {
    // A started job writes into its log, as the real one would within a second.
    const starts = (name: string) => `
      [ -e '${box.controlDir}/broken' ] && { echo 'Domain does not support specified action' >&2; exit 125; }
      rm -f "${box.controlDir}/${name}.off"
      tier=${name}; tier=\${tier#com.openclaw.}
      echo started >>"${box.memoryDir}/$tier-$(date +%Y-%m-%d).log"`
    if (scheduler === 'launchd') addLaunchctl(starts)
    if (scheduler === 'systemd') addSystemctl(starts)
    box.addTool(
      'crontab',
      `echo "crontab $*" >>'${callsFile}'
case $1 in
  -l) cat '${crontabFile}' ;;
  -) cat >'${crontabFile}' ;;
  *) echo "unplanned: crontab $*" >&2; exit 64 ;;
esac`,
    )
  }

  function addLaunchctl(starts: (name: string) => string): void {
    box.addTool(
      'launchctl',
      `echo "launchctl $*" >>'${callsFile}'
name=\${2##*/}
case $1 in
  print)
    [ -e "${box.controlDir}/$name.off" ] && { echo "Could not find service \\"$name\\" in domain for user gui: 501" >&2; exit 113; }
    echo "gui/501/$name = {"
    printf '\\tstate = not running\\n\\truns = 7\\n\\tlast exit code = 0\\n}\\n' ;;
  enable) ;;
  kickstart) name=\${3##*/}; ${starts('$name')} ;;
  bootstrap) name=\${3##*/}; name=\${name%.plist}; ${starts('$name')} ;;
  *) echo "unplanned: launchctl $*" >&2; exit 64 ;;
esac`,
    )
  }

  function addSystemctl(starts: (name: string) => string): void {
    box.addTool(
      'systemctl',
      `echo "systemctl $*" >>'${callsFile}'
shift
case $1 in
  show)
    shift
    for unit; do
      name=\${unit%.*}
      case $unit in
        openclaw-gateway.service) printf 'Id=%s\\nLoadState=not-found\\nActiveState=inactive\\n\\n' "$unit" ;;
        *.timer)
          active=active; sub=waiting
          [ -e "${box.controlDir}/$name.off" ] && active=inactive sub=dead
          printf 'Id=%s\\nLoadState=loaded\\nActiveState=%s\\nSubState=%s\\n\\n' "$unit" "$active" "$sub" ;;
        *.service)
          printf 'MainPID=0\\nId=%s\\nLoadState=loaded\\nActiveState=inactive\\nSubState=dead\\n\\n' "$unit" ;;
      esac
    done ;;
  restart) case $3 in *.service) name=\${3%.service}; ${starts('$name')} ;; esac ;;
  daemon-reload | enable) ;;
  *) echo "unplanned: systemctl $*" >&2; exit 64 ;;
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
