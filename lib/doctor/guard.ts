/**
 * The guard's policy, in one table: what the doctor may do and what it may not, each rule with the words that the
 * doctor reads when a call of its is refused. What no rule allows is refused.
 *
 * The judging is done beside it: `guard-judge.ts` (tool by tool), `guard-shell.ts` (a command line taken apart),
 * `guard-programs.ts`, `guard-readers.ts`, `guard-processes.ts`, `guard-packages.ts` and `guard-patient.ts` (program by
 * program),
 * `guard-paths.ts` (files), `guard-config.ts` (edits of the gateway's config).
 */

export const RULES = {
  // What the doctor may do.
  read: allowed('reads a log, a report, the gateway’s package or its service file; contents were looked through first'),
  live: allowed(
    'reads what cannot be looked through first: the journal, a log that grows or is very large; secrets are taken out of the answer',
  ),
  'read-config': allowed('reads the gateway’s config with Read, which Edit demands before it edits'),
  list: allowed('lists files, or asks for sizes, dates and the host’s state'),
  processes: allowed('lists processes, ports and open files'),
  text: allowed('prints or computes text, waits, or tests a condition'),
  probe: allowed('asks the gateway’s own health addresses on this machine'),
  diagnose: allowed('asks the openclaw command, the service manager or the package manager for information'),
  restart: allowed('restarts or starts the gateway'),
  repair: allowed('runs OpenClaw’s own repair, once; a copy of the config was taken first'),
  service: allowed('handles the gateway’s own job in launchd or systemd'),
  'edit-config': allowed(
    'edits the gateway’s config: its syntax, `gateway.mode` to local, log levels, models, timeouts and limits, `enabled` to false, unknown keys away, or back to what last booted; a copy was taken first',
  ),
  'end-process': allowed('ends a process that was shown to be the gateway’s own'),
  reinstall: allowed('reinstalls the gateway’s package at the installed version'),
  report: allowed('writes the recovery report or the reasoning log'),
  notes: allowed('keeps the doctor’s own to-do list, or looks at its own earlier output'),

  // What it may not do, however it is spelled.
  delete: refused(
    'Deleting, moving, truncating or overwriting files is for a human.',
    'Leave the file where it is and name it in the report. The config is repaired with Edit.',
  ),
  write: refused(
    'Nothing may be written but the gateway’s config, the report and the reasoning log.',
    'Write findings into the report, with Write or with `cat >> <report> <<"EOF"`.',
  ),
  security: refused(
    'Security settings (auth, tokens, bind address, allow lists, permissions, firewall, keys, users) are for a human.',
    'Leave the setting as it is and describe in the report what would have to change.',
  ),
  secrets: refused(
    'This would show or send a secret.',
    'Use `openclaw config validate --json`, `openclaw config get <path>` or the redacted copies; names of settings are enough for a diagnosis.',
  ),
  network: refused(
    'Nothing is fetched from or sent to other machines.',
    'The gateway’s health is asked with `curl -s http://127.0.0.1:<port>/health`.',
  ),
  project: refused(
    'The self-healing system’s own files and jobs are not part of the patient.',
    'Describe in the report what seems wrong with them.',
  ),
  'foreign-process': refused(
    'Only processes that are shown to be the gateway’s own may be ended, one by one, by their pid.',
    'Find the pid with `lsof -nP -iTCP:<port> -sTCP:LISTEN` and use `kill <pid>`; a foreign owner of the port goes into the report.',
  ),
  schedule: refused('Nothing is scheduled.', 'Do the step now, or name it in the report.'),
  guard: refused(
    'The guard, Claude Code’s settings and this terminal session stay as they are.',
    'Go on with the repair, or end with a report.',
  ),
  escape: refused(
    'Subagents, skills, other tools’ servers and questions to a user are not available: nobody is there to answer.',
    'Use Bash, Read, Grep, Glob, Edit and Write yourself.',
  ),
  interpreter: refused(
    'Interpreters and shells that read programs can do anything and are not run.',
    'Write plain commands, or `bash -c` with a literal command; for JSON use jq, for the config `openclaw config validate --json`.',
  ),
  privilege: refused('No other user’s rights are taken.', 'Work as this user; name in the report what needs more.'),
  background: refused(
    'Nothing may outlive its call.',
    'Run it in the foreground; slow commands may be given a longer timeout.',
  ),
  'not-allowed': refused(
    'This is not among the things a doctor may do here.',
    'Allowed are: reading logs and status, `openclaw status|health|config validate|config get|gateway status|gateway restart|doctor`, the gateway’s own service, editing its config, its report.',
  ),
  unclear: refused(
    'The guard does not understand this well enough to allow it.',
    'Write it as plain, separate commands with literal arguments.',
  ),
  'guard-failed': refused(
    'The guard could not judge this call.',
    'Try a simpler call; if it goes on, end with a report.',
  ),
} as const satisfies Record<string, Rule>

export type RuleId = keyof typeof RULES

export interface Rule {
  allow: boolean
  /** Allowed: what the call does. Refused: why. */
  what: string
  /** The way that is open instead. */
  instead?: string
}

function allowed(what: string): Rule {
  return { allow: true, what }
}

function refused(what: string, instead: string): Rule {
  return { allow: false, what, instead }
}

export interface Decision {
  allow: boolean
  rule: RuleId
  /** For the doctor: what is wrong and what to do instead. */
  reason: string
}

/** Thrown wherever a call turns out to be against a rule; `detail` names what exactly. */
export class Refused extends Error {
  readonly rule: RuleId
  constructor(rule: RuleId, detail: string) {
    super(detail)
    this.rule = rule
  }
}

/** The decision that a rule makes; `detail` says what exactly in the call it is about. */
export function decide(rule: RuleId, detail = ''): Decision {
  const { allow, what, instead } = RULES[rule] as Rule
  const reason = allow ? what : [detail, what, instead].filter(Boolean).join(' ')
  return { allow, rule, reason }
}

/**
 * Programs that are refused by name, so that the doctor is told the right reason. Programs that are neither here nor in
 * the tables of allowed ones are refused as `not-allowed`.
 */
export const REFUSED_PROGRAMS: ReadonlyMap<string, RuleId> = new Map(
  Object.entries({
    delete: `rm rmdir unlink shred srm wipe trash truncate dd mv rename install rsync ditto mkfs mke2fs newfs diskutil
      hdiutil fdisk parted wipefs blkdiscard sfdisk git hg svn tar zip unzip gzip gunzip bzip2 xz zstd cpio 7z split csplit
      fallocate sqlite3 mysql psql redis-cli mongosh patch ed ex vi vim nvim nano emacs pico tmutil`,
    write: 'cp touch mkdir ln link mktemp mkfifo mknod sponge plutil defaults logger',
    security: `chmod chown chgrp chattr chflags setfacl xattr umask passwd chpasswd chage useradd usermod userdel groupadd
      adduser deluser dscl dseditgroup sysadminctl security keyctl secret-tool csrutil spctl codesign tccutil pfctl ufw iptables
      ip6tables nft firewall-cmd fwupdmgr socketfilterfw setenforce semanage visudo ssh-keygen ssh-add ssh-agent ssh-copy-id
      gpg gpgconf openssl certutil update-ca-certificates scutil networksetup ifconfig route tailscale kmutil`,
    secrets: `printenv declare typeset local readonly export set unset compgen op vault pass bw rbw gopass strace dtruss ltrace gdb lldb gcore dtrace
      rev od hexdump xxd`,
    network: `wget nc ncat netcat socat telnet ssh scp sftp ftp rcp mosh dig nslookup host drill ping ping6 traceroute mail mailx
      sendmail mutt msmtp aria2c http https httpie xh lynx w3m links elinks tftp whois gh glab aws gcloud az kubectl docker podman
      heroku rclone croc ngrok cloudflared nmap tcpdump open xdg-open say pbcopy xclip wl-copy`,
    schedule: 'crontab at atq atrm batch anacron systemd-run launchd periodic pmset',
    'foreign-process':
      'pkill killall killall5 skill snice fuser xkill taskkill reboot shutdown halt poweroff init telinit loginctl renice',
    guard: 'claude tmux screen script expect zellij byobu reptyr codex',
    interpreter: `eval source . exec builtin python python2 python3 perl ruby php lua luajit tclsh wish osascript swift java
      groovy scala deno ts-node tsx npx bunx pnpx uvx uv pip pip3 pipx gem cargo go make cmake ninja gcc cc clang tcc R Rscript julia ghci
      runghc m4 bc dc busybox toybox xargs parallel watch entr fish csh tcsh ksh mksh pwsh powershell nu elvish
      enable hash alias unalias trap zmodload autoload zle bindkey print fc history read readarray mapfile getopts let shopt setopt unsetopt
      emulate noglob nocorrect repeat foreach select function coproc base64 base32 uudecode envsubst gettext ld.so ld-linux.so`,
    privilege:
      'sudo doas su runuser pkexec sudoedit setpriv capsh chroot unshare nsenter newgrp sg login machinectl setsid',
    background: 'nohup disown bg daemon start-stop-daemon',
  } satisfies Partial<Record<RuleId, string>>).flatMap(([rule, names]) =>
    names.split(/\s+/).map((name): [string, RuleId] => [name, rule as RuleId]),
  ),
)
