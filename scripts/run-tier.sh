#!/bin/sh
# Starts one tier:  sh run-tier.sh gateway-watchdog [flags]   (a script's name without .ts)
# LaunchAgents, systemd timers and cron call this.
#
# The watchers share Node with the gateway: after a Node upgrade all of them would die silently together. So a Node that
# works is looked for at every start, and a tier that cannot even start is written into its own log and told to every
# channel that is configured, at most once an hour per cause. In the ordinary case this shell becomes the tier (exec):
# pid and exit code are its own.
#
# OPENCLAW_PROFILE says for which of several gateways: state, .env and logs are looked for in that profile's folders.
#
# Exit 1  the tier could not be started
#      2  unusable arguments
#      else the tier's own
#
# `run-tier.sh --cannot-start <script>` only reports the cause it reads from standard input; lib/tier/start.mjs uses it.

set -u

LOWEST_NODE=20.19

main() {
  case $0 in
    /*) root=$0 ;;
    *) root=$PWD/$0 ;;
  esac
  root=${root%/*}
  case $root in
    */scripts) root=${root%/scripts} ;;
    *) root=$root/.. ;;
  esac
  [ -n "${HOME:-}" ] || find_home
  PATH=${PATH:-/usr/bin:/bin}
  # The rule of lib/tier/profile.ts: nothing that could lead out of HOME.
  case ${OPENCLAW_PROFILE:-} in
    '' | [Dd][Ee][Ff][Aa][Uu][Ll][Tt]) suffix= ;;
    *[!A-Za-z0-9_-]* | [!A-Za-z0-9]*)
      printf '%s\n' 'run-tier.sh: OPENCLAW_PROFILE: expected letters, digits, - and _, beginning with a letter or digit' >&2
      exit 2
      ;;
    *) suffix=-$OPENCLAW_PROFILE ;;
  esac
  state=${OPENCLAW_STATE_DIR:-$HOME/.openclaw$suffix}

  arguments=$*
  script=${1:-}
  if [ "$script" = --cannot-start ]; then
    script=${2:-}
    tier_of "$script" || usage
    cannot_start "$(cat)"
    exit 1
  fi
  tier_of "$script" || usage
  shift

  find_node "$@"
  # launchd and cron give a poor PATH: the places where openclaw, claude, tmux and lsof usually are go behind it.
  PATH=$PATH:$HOME/.local/bin:$HOME/.npm-global/bin:$HOME/.claude/local:$HOME/bin:$HOME/.bun/bin:$HOME/.local/share/pnpm
  PATH=$PATH:$HOME/Library/pnpm:/opt/homebrew/bin:/usr/local/bin:/home/linuxbrew/.linuxbrew/bin:/opt/local/bin
  PATH=$PATH:/usr/sbin:/sbin
  export PATH

  for file in "$root/lib/tier/start.mjs" "$root/scripts/$script.ts"; do
    [ -f "$file" ] || { cannot_start "$file is missing"; exit 1; }
  done
  exec "$node" --disable-warning=ExperimentalWarning "$root/lib/tier/start.mjs" "$root/scripts/$script.ts" "$@"
}

usage() {
  printf '%s\n' "usage: sh run-tier.sh <script> [flags]" \
    "scripts: gateway-watchdog gateway-healthcheck emergency-recovery emergency-recovery-monitor watchdog-guardian" >&2
  exit 2
}

# Sets $tier, the name under which the script logs.
tier_of() {
  case $1 in
    gateway-watchdog) tier=watchdog ;;
    gateway-healthcheck) tier=healthcheck ;;
    emergency-recovery) tier=emergency-recovery ;;
    emergency-recovery-monitor) tier=monitor ;;
    watchdog-guardian) tier=guardian ;;
    *) return 1 ;;
  esac
}

# A hand-made plist or crontab may lack HOME.
find_home() {
  HOME=/
  user=$(id -un)
  case $user in
    '' | *[!A-Za-z0-9._-]*) ;;
    *) eval "HOME=~$user" ;;
  esac
  export HOME
}

# ---------------------------------------------------------------------------------------------------------------------
# Node

# Sets $node, or reports and ends; gets the tier's flags. A Node whose file is there may still not run (a library is
# gone), so it is asked for its `--version`: the one that setup recorded, else the one on PATH, else any that is found.
find_node() {
  record=$state/watchdog/launcher
  recorded=
  recorded_path=
  [ -r "$record" ] && { IFS= read -r recorded && IFS= read -r recorded_path; } <"$record"
  # The PATH of the shell in which setup was run comes first: whoever starts a tier, it finds the same openclaw, claude
  # and tmux.
  PATH=${recorded_path:+$recorded_path:}$PATH
  if [ -n "$recorded" ] && { has_just_run "$recorded" "$@" || usable "$recorded"; }; then
    node=$recorded
    PATH=$PATH:${node%/*}
    return
  fi
  if usable node; then
    node=node
    return
  fi

  node=
  for candidate in /opt/homebrew/bin/node /usr/local/bin/node /home/linuxbrew/.linuxbrew/bin/node /opt/local/bin/node \
    /usr/bin/node /snap/bin/node "$HOME/.local/bin/node" "$HOME/.volta/bin/node" "$HOME/n/bin/node"; do
    if usable "$candidate"; then
      node=$candidate
      break
    fi
  done
  [ -n "$node" ] || newest_managed
  if [ -z "$node" ]; then
    cannot_start "no Node.js that works (>= $LOWEST_NODE) was found: looked at ${recorded:+$recorded, }PATH ($PATH), Homebrew, nvm, fnm, volta, asdf, mise, n"
    exit 1
  fi
  usable "$node"
  # Whatever `node` is on PATH was just seen not to work: openclaw and claude must find this one before it.
  PATH=${node%/*}:$PATH
  case " $* " in
    *' --dry-run '*) ;;
    *) [ -z "$recorded" ] || { printf '%s\n' "$node" "$recorded_path" >"$record"; } 2>/dev/null ;;
  esac
}

# has_just_run <node> [flags]: true when the start before this one came as far as JavaScript with that Node. Then it left
# its name and version there (lib/tier/start.mjs), and need not be asked again, which costs a tenth of a healthy tick.
# That word counts once. Should the Node have broken since, this start is lost, with what the system says of it on
# standard error; the next start of whichever tier, minutes later, finds no word, and asks. Level 3 asks always.
has_just_run() {
  word=$state/watchdog/node-ran
  [ $# -eq 1 ] && [ "$tier" != emergency-recovery ] && [ -x "$1" ] && [ -s "$word" ] && [ -r "$word" ] || return 1
  { IFS= read -r just_ran && IFS= read -r version; } <"$word"
  # Not `:`, with which a shell would end where the file cannot be written.
  [ "$just_ran" = "$1" ] && new_enough "$version" && { true >"$word"; } 2>/dev/null
}

# True when the given Node runs and is new enough; sets $major and $minor.
usable() {
  case $1 in
    */*) [ -x "$1" ] && [ ! -d "$1" ] || return 1 ;;
  esac
  # Around it, the redirection also takes what the shell itself says of a Node that dies of a signal.
  { version=$("$1" --version); } 2>/dev/null && new_enough "$version"
}

new_enough() {
  major=${1#v}
  minor=${major#*.}
  minor=${minor%%.*}
  major=${major%%.*}
  case $major$minor in
    '' | *[!0-9]*) return 1 ;;
  esac
  [ "$major" -gt "${LOWEST_NODE%.*}" ] || { [ "$major" -eq "${LOWEST_NODE%.*}" ] && [ "$minor" -ge "${LOWEST_NODE#*.}" ]; }
}

# The newest Node of a version manager.
newest_managed() {
  best=0
  for candidate in "${NVM_DIR:-$HOME/.nvm}"/versions/node/*/bin/node \
    "${FNM_DIR:-$HOME/.local/share/fnm}"/node-versions/*/installation/bin/node \
    "$HOME/Library/Application Support/fnm"/node-versions/*/installation/bin/node \
    "$HOME"/.fnm/node-versions/*/installation/bin/node \
    "${VOLTA_HOME:-$HOME/.volta}"/tools/image/node/*/bin/node \
    "${ASDF_DATA_DIR:-$HOME/.asdf}"/installs/nodejs/*/bin/node \
    "${MISE_DATA_DIR:-$HOME/.local/share/mise}"/installs/node/*/bin/node \
    "$HOME"/.nodenv/versions/*/bin/node \
    /usr/local/n/versions/node/*/bin/node \
    /opt/homebrew/opt/node@*/bin/node /usr/local/opt/node@*/bin/node; do
    if usable "$candidate" && [ $((major * 1000 + minor)) -gt "$best" ]; then
      best=$((major * 1000 + minor))
      node=$candidate
    fi
  done
}

# ---------------------------------------------------------------------------------------------------------------------
# A tier that cannot start. Nothing below runs in the ordinary case.

cannot_start() {
  umask 077
  # A dry run changes nothing: neither the log nor the memory of what was told.
  case " $arguments " in
    *' --dry-run '*)
      printf '%s\n' "$tier: cannot start: $1" >&2
      return
      ;;
  esac
  # One line without control characters, so that nothing in it can pass for a line of its own.
  cause=$(printf '%s' "$1" | LC_ALL=C tr '\n\t' '  ' | LC_ALL=C tr -d '\000-\037\177')
  cause=${cause:-no reason was given}
  text="cannot start: $cause"
  # Nobody else would write what Level 4 looks for when it is Level 3 that cannot start.
  [ "$tier" = emergency-recovery ] && text="MANUAL INTERVENTION REQUIRED: level 3 $text"
  write_log ERROR "$text"
  tell "$cause"
}

write_log() {
  stamp=$(date +%Y-%m-%dT%H:%M:%S%z)
  line="[${stamp%??}:${stamp#"${stamp%??}"}] [$tier] [$1] $2"
  printf '%s\n' "$line" >&2
  if [ -z "${log_name:-}" ]; then
    log_name=$tier-${stamp%%T*}.log
    [ "$tier" = emergency-recovery ] && log_name=$tier-${stamp%%T*}-$(date +%H%M%S).log
  fi
  logs=$(setting OPENCLAW_MEMORY_DIR)
  logs=${logs:-$HOME/openclaw$suffix/memory}
  for folder in "$logs" "$state/watchdog/logs"; do
    mkdir -p "$folder" 2>/dev/null || continue
    # A line that a crash cut in half must not swallow ours.
    [ -s "$folder/$log_name" ] && [ -n "$(tail -c 1 "$folder/$log_name" 2>/dev/null)" ] && line="
$line"
    { printf '%s\n' "$line" >>"$folder/$log_name"; } 2>/dev/null && return
  done
  printf '%s\n' "$tier: neither $logs nor $state/watchdog/logs can be written" >&2
}

# Tells every channel that is configured, each in the plainest form that it takes.
tell() {
  told=$state/watchdog/told
  cause_id=$(printf '%s' "$1" | cksum | tr ' ' '-')
  message "$1"
  escaped=$(printf '%s' "$text" | json)
  post Discord "$(setting DISCORD_WEBHOOK_URL)" '' "{\"content\":\"$escaped\",\"allowed_mentions\":{\"parse\":[]}}"
  # With these three Slack's markup (<!channel>) is only text.
  post Slack "$(setting SLACK_WEBHOOK_URL)" '' \
    "{\"text\":\"$(printf '%s' "$text" | LC_ALL=C sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/>/\&gt;/g' | json)\"}"
  token=$(setting TELEGRAM_BOT_TOKEN)
  chat=$(setting TELEGRAM_CHAT_ID | json)
  [ -z "$token" ] || [ -z "$chat" ] || post Telegram \
    "$(setting TELEGRAM_API_URL | sed -e 's,/*$,,' -e 's,^$,https://api.telegram.org,')/bot$token/sendMessage" '' \
    "{\"chat_id\":\"$chat\",\"text\":\"$escaped\"}"
  # A message as JSON goes to the server's root and names its topic.
  topic=$(setting NTFY_URL)
  topic=${topic%/}
  [ -z "$topic" ] || post ntfy "${topic%/*}/" "$(setting NTFY_TOKEN)" \
    "{\"topic\":\"$(printf '%s' "${topic##*/}" | json)\",\"priority\":5,\"message\":\"$escaped\"}"
  post webhook "$(setting ALERT_WEBHOOK_URL)" '' "{\"text\":\"$escaped\"}"
}

# post <channel> <address> <bearer token or ''> <body>, unless the channel is not configured, or was told of this cause
# (by whichever tier) within the hour.
post() {
  [ -n "$2" ] || return 0
  case $2$3 in
    *[\"\\[:space:]]*)
      write_log WARN "$1 was not told: its address is no URL"
      return 0
      ;;
  esac
  claim=$told/$cause_id-$1
  mkdir -p "$told" 2>/dev/null
  claim_hour || return 0
  bearer=
  [ -z "$3" ] || bearer="header = \"Authorization: Bearer $3\""
  # What is secret goes in by standard input: a command line can be read by everybody on the machine.
  if failure=$(curl --silent --show-error --fail --max-time 15 --output /dev/null --config - \
    --header 'Content-Type: application/json' --data-binary "$4" 2>&1 <<CONFIG
url = "$2"
$bearer
CONFIG
  ); then
    find "$told" -type f -mtime +1 -exec rm -f {} + 2>/dev/null
  else
    # Not delivered: the next run tries again.
    rm -f "$claim"
    write_log WARN "$1 was not told: ${failure:-curl failed}"
  fi
}

# True when it is up to this run to tell: of several tiers that fail together one creates the file (noclobber).
claim_hour() {
  now=$(date +%s)
  if [ -e "$claim" ]; then
    at=
    IFS= read -r at 2>/dev/null <"$claim"
    case $at in
      # Another run is writing it, or the disk is full: its age tells.
      '' | *[!0-9]*) [ -z "$(find "$claim" -mmin -60)" ] || return 1 ;;
      # A minute into the future is another run's clock reading; more than that is a clock that was set back.
      *) [ $((now - at)) -ge 3600 ] || [ $((now - at)) -lt -60 ] || return 1 ;;
    esac
    # rename: of several runs that see the old claim one takes it away.
    mv "$claim" "$claim.$$" 2>/dev/null || return 1
    taken=
    IFS= read -r taken 2>/dev/null <"$claim.$$"
    if [ "$taken" != "$at" ]; then
      # It was the new claim of a run that had been quicker.
      mv "$claim.$$" "$claim" 2>/dev/null
      return 1
    fi
    rm -f "$claim.$$"
  fi
  (
    set -C
    printf '%s\n' "$now" >"$claim"
  ) 2>/dev/null
}

# Sets $text: at most 1500 bytes, UTF-8 or else plain ASCII.
message() {
  whose=${suffix:+ (profile ${suffix#-})}
  text=$(printf '%s' "openclaw-self-healing on $(uname -n)$whose: $tier cannot start: $1" | LC_ALL=C cut -c 1-1500)
  printf '%s' "$text" | iconv -f UTF-8 -t UTF-8 >/dev/null 2>&1 ||
    text=$(printf '%s' "$text" | LC_ALL=C tr -c '\040-\176' '?')
}

# Escapes standard input, one line without control characters, for a JSON string.
json() {
  LC_ALL=C sed -e 's/\\/\\\\/g' -e 's/"/\\"/g'
}

# Prints a setting: from the environment, else from the .env file that lib/tier/settings.ts reads.
setting() {
  eval "value=\${$1:-}"
  if [ -z "$value" ]; then
    env_file=$state/.env
    [ -f "$env_file" ] || [ -n "$suffix" ] || env_file=$HOME/openclaw/.env
    [ -r "$env_file" ] || return 0
    # The last assignment counts. A quoted value ends at its quote, another at a # behind a blank.
    value=$(
      LC_ALL=C tr -d '\r' <"$env_file" | LC_ALL=C sed -n \
        -e "s/^[[:blank:]]*\(export[[:blank:]]\{1,\}\)\{0,1\}$1[[:blank:]]*=[[:blank:]]*//" -e 't found' -e d \
        -e ':found' -e 's/^"\([^"]*\)".*/\1/p' -e t -e "s/^'\([^']*\)'.*/\1/p" -e t \
        -e 's/[[:blank:]]\{1,\}#.*//' -e 's/[[:blank:]]*$//' -e p | tail -n 1
    )
  fi
  # The words between quotes are what stands in the file: nothing is to be expanded here.
  # shellcheck disable=SC2016,SC2088
  case $value in
    '~' | '~/'*) value=$HOME${value#'~'} ;;
    '$HOME'*) value=$HOME${value#'$HOME'} ;;
    '${HOME}'*) value=$HOME${value#'${HOME}'} ;;
  esac
  printf '%s\n' "$value"
}

main "$@"
