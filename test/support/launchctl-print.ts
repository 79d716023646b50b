/** What `launchctl print` shows of a domain and of a job: fields one tab deep, blocks of other things two tabs deep. */
import type { Job } from './stand-in-launchd.ts'

const SIGNALS: Record<number, string> = { 6: 'Abort trap', 9: 'Killed', 11: 'Segmentation fault', 15: 'Terminated' }

export function domainPrint(domain: string, { onDemandOnly, manager }: { onDemandOnly: boolean; manager: string }) {
  return `${domain} = {
	type = login
	handle = ${domain.slice(4)}
	active count = 402
	service count = 388
	active service count = 131
	maximum allowed shutdown time = 65 s
	service stats = 257/3/0 (COALITIONS)
	on-demand count = ${onDemandOnly ? 1 : 0}
	creator = loginwindow[171]
	creator euid = 0
	session = ${manager}
	security context = {
		uid = ${domain.slice(4)}
		asid = 100006
	}
	bringup time = 34 ms
	services = {
		       0      - 	com.apple.SafariHistoryServiceAgent
		     512      - 	com.apple.Finder
	}
	properties = uncorked | audit check done | bootcache hint
}
`
}

const fieldsOf = (job: Job): [name: string, value: string | number | undefined | false][] => {
  const { child, stopping, isBoxed, isScheduled, lastExit, lastSignal, pended, runs, dict } = job
  const waits = isBoxed || isScheduled ? 'spawn scheduled' : 'not running'
  const code = lastExit === 78 ? '78: EX_CONFIG' : lastExit
  return [
    ['state', child ? (stopping ?? 'running') : waits],
    ['program', dict.ProgramArguments[0]],
    ['working directory', dict.WorkingDirectory],
    ['stdout path', dict.StandardOutPath],
    ['stderr path', dict.StandardErrorPath],
    ['minimum runtime', dict.ThrottleInterval ?? 10],
    ['exit timeout', 5],
    ['runs', runs],
    ['pid', child?.pid],
    ['pended nondemand spawn', pended],
    ['last exit code', lastSignal ? undefined : (code ?? '(never exited)')],
    ['last terminating signal', lastSignal && `${SIGNALS[lastSignal] ?? 'Signal'}: ${lastSignal}`],
    ['last exit reason', job.lastReason],
    ['run interval', dict.StartInterval && `${dict.StartInterval} seconds`],
  ]
}

export function jobPrint(job: Job, domain: string): string {
  const { dict, isBoxed, child } = job
  const lines = fieldsOf(job).flatMap(([name, value]) => (value === undefined ? [] : [`\t${name} = ${value}`]))
  const properties = [dict.KeepAlive && 'keepalive', dict.RunAtLoad && 'runatload', isBoxed && 'penalty box']
  return `${domain}/${dict.Label} = {
	active count = ${child ? 1 : 0}
	path = ${job.path}
	type = LaunchAgent
${lines.slice(0, 2).join('\n')}
	arguments = {
${dict.ProgramArguments.map((one) => `\t\t${one}`).join('\n')}
	}
${lines.slice(2).join('\n')}
${NESTED}
	job state = ${isBoxed ? 'spawn failed' : child ? 'running' : 'exited'}

	properties = ${[...properties.filter(Boolean), 'inferred program'].join(' | ')}
}
`
}

/** Blocks of other things whose fields have the same names. */
export const NESTED = `
	event channels = {
		"com.apple.launchd.helper" = {
			port = 0x5a03f
			active = 0
			state = running
			pid = 99
		}
	}

	resource coalition = {
		ID = 1204
		type = resource
		state = active
		active count = 1
		pid = 99
		runs = 42
		last exit code = 7
		job state = spawn failed
		name = com.example.other
	}
`
