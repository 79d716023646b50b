/** A launchctl of a few lines, for the gateway's job alone. The whole launchd is stand-in-launchd.ts. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { NESTED } from './launchctl-print.ts'
import type { Sandbox } from './sandbox.ts'

/** A launchctl that answers as documented: from the file `job`, and by starting the gateway. */
export function standInLaunchctl(box: Sandbox, job: string): void {
  const plist = join(box.home, 'Library', 'LaunchAgents', 'ai.openclaw.gateway.plist')
  mkdirSync(join(plist, '..'), { recursive: true })
  writeFileSync(plist, '<plist/>')
  writeFileSync(join(box.root, 'job'), job)
  writeFileSync(join(box.root, 'nested'), NESTED)
  box.addTool(
    'launchctl',
    `echo "$*" >>'${box.root}/launchctl.calls'
run() { printf 'state = running\\npid = %s\\n' "$1" >'${box.root}/job'; }
case "$1" in
  print) [ -s '${box.root}/job' ] || { echo 'Could not find service "ai.openclaw.gateway" in domain for user gui' >&2; exit 113; }
    printf 'gui/501/ai.openclaw.gateway = {\\n\ttype = LaunchAgent\\n'; sed 's/^/\t/' '${box.root}/job'; cat '${box.root}/nested'; printf '}\\n' ;;
  print-disabled) printf 'disabled services = {\\n'; cat '${box.root}/disabled' 2>/dev/null; printf '}\\n' ;;
  enable) ;;
  bootstrap) [ -e '${box.root}/let-go' ] || { touch '${box.root}/let-go'; echo 'Bootstrap failed: 5: Input/output error' >&2; exit 5; }
    openclaw gateway run >>'${box.gatewayLog}' 2>&1 & run $! ;;
  kickstart) [ "$2" != -k ] && kill -0 "$(sed -n 's/^pid = //p' '${box.root}/job')" 2>/dev/null && exit 0
    openclaw gateway run >>'${box.gatewayLog}' 2>&1 & run $! ;;
esac`,
  )
}
/** Every call of launchctl, a line each. */
export const launchctlCalls = (box: Sandbox): string =>
  readFileSync(join(box.root, 'launchctl.calls'), 'utf8').replace(/gui\/\d+/g, 'gui/UID')
