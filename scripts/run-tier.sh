#!/bin/sh
# Starts one tier, for launchd, systemd and cron:  sh run-tier.sh gateway-watchdog [flags]
#
# `gateway-watchdog --pulse`, started every minute, asks /health every 15 s and starts Level 1 when that is due (every
# 180 s), or at once when no answer is the gateway's. While all is well it is silent.
#
# A Node upgrade could end all watchers silently together: so each start searches a Node that works, and a tier that cannot
# start is logged and sent to every channel, once an hour per cause. With --cannot-start it only reports what it reads.
# `status`, for people (and `npm run status -- --fleet` elsewhere), changes nothing.
#
# Exit 1  the tier could not be started
#      2  unusable arguments
#      else the tier's own

set -u
[ -z "${ZSH_VERSION:-}" ] || emulate sh

LOWEST_NODE=20.19
# Not inside a function, where zsh may have the function's name in $0.
case $0 in */*) root=${0%/*} ;; *) root=. ;; esac

main() {
  root=$(CDPATH='' cd "$root/.." && pwd) || exit 1
  # A hand-made plist or crontab may lack HOME.
  [ -n "${HOME:-}" ] || eval "HOME=~$(id -un)"
  export HOME
  PATH=${PATH:-/usr/bin:/bin}
  # The rule of lib/tier/profile.ts: nothing that could lead out of HOME.
  case ${OPENCLAW_PROFILE:-} in
    '' | [Dd][Ee][Ff][Aa][Uu][Ll][Tt]) suffix= ;;
    *[!A-Za-z0-9_-]* | [!A-Za-z0-9]*)
      refuse 'OPENCLAW_PROFILE: expected letters, digits, - and _, beginning with a letter or digit' ;;
    *) suffix=-$OPENCLAW_PROFILE ;;
  esac
  state=${OPENCLAW_STATE_DIR:-$HOME/.openclaw$suffix}

  only_report=
  [ "${1:-}" != --cannot-start ] || { only_report=yes && shift; }
  script=${1:-}
  case $script in
    gateway-watchdog | gateway-healthcheck) tier=${script#gateway-} ;;
    emergency-recovery) tier=$script ;;
    emergency-recovery-monitor) tier=monitor ;;
    watchdog-guardian) tier=guardian ;;
    status) tier=$script ;;
    *) refuse 'usage: sh run-tier.sh gateway-watchdog|gateway-healthcheck|emergency-recovery|emergency-recovery-monitor|watchdog-guardian|status [flags]' ;;
  esac
  shift
  case "$tier $* " in 'status '* | *' --dry-run '*) dry_run=yes ;; *) dry_run= ;; esac
  [ -z "$only_report" ] || cannot_start "$(cat)"
  [ "$tier ${1:-}" != 'watchdog --pulse' ] || { shift && pulse; }

  find_node
  # launchd and cron give a poor PATH: the places where openclaw, claude and tmux usually are go behind it.
  PATH=$PATH:$HOME/.local/bin:$HOME/.npm-global/bin:$HOME/.claude/local:$HOME/bin:$HOME/.bun/bin:$HOME/.local/share/pnpm
  PATH=$PATH:$HOME/Library/pnpm:/opt/homebrew/bin:/usr/local/bin:/home/linuxbrew/.linuxbrew/bin:/opt/local/bin
  PATH=$PATH:/usr/sbin:/sbin
  export PATH
  [ -n "$dry_run" ] || [ ! -d "$state/watchdog" ] || export NODE_COMPILE_CACHE="$state/watchdog/compile-cache"

  for file in "$root/lib/tier/start.mjs" "$root/scripts/$script.ts"; do
    [ -f "$file" ] || cannot_start "$file is missing"
  done
  exec "$node" --disable-warning=ExperimentalWarning "$root/lib/tier/start.mjs" "$root/scripts/$script.ts" "$@"
}

refuse() {
  printf '%s\n' "$1" >&2
  exit 2
}

# Returns when Level 1 is to look; ends with 0 after a minute in which it need not.
pulse() {
  file=$state/watchdog/pulse
  now=$(date +%s)
  ends=$((now + 60))
  while :; do
    # Level 1 leaves there: when it looks next (epoch seconds), the seconds between two beats, the address to ask
    # (-: nothing before then; ?: nothing while it is paused, or a level is at work; none: only it can ask), and the
    # config, whose change is for it to see.
    due='' interval='' url='' config=''
    [ -f "$file" ] && [ -r "$file" ] && { read -r due interval url && IFS= read -r config; } <"$file"
    case $interval in [1-9] | [1-9][0-9]) ;; *) break ;; esac
    # Far ahead: the clock was set back. Long ago: no minute since came to its end.
    { [ "$due" -le $((now + 200)) ] && [ "$due" -gt $((now - 120)) ]; } 2>/dev/null || break
    if [ "$url" = - ] || { [ "$url" = '?' ] && stands_down; }; then
      [ "$now" -lt "$due" ] || break
    elif [ "$url" = '?' ]; then
      break
    else
      # Once it has settled.
      # shellcheck disable=SC3013
      [ -z "$config" ] || { [ -e "$config" ] && [ ! "$config" -nt "$file" ]; } || { sleep 6 && break; }
      # One that the machine slept through has not failed.
      beats || { [ $(($(date +%s) - now)) -le 20 ] && break; exit 0; }
    fi
    if [ $((now + interval)) -ge "$ends" ]; then
      # Level 1 comes as the last of its minute, so that none is without beats.
      case $url in [-?]) ;; *) [ "$due" -gt "$ends" ] || break ;; esac
      exit 0
    fi
    before=$now
    sleep "$interval"
    now=$(date +%s)
    # After a sleep of the machine nothing has had the time to answer.
    [ $((now - before)) -le $((interval + 20)) ] || exit 0
  done
  # Until Level 1 says otherwise, which it does not while something else is at work.
  [ -n "$dry_run" ] || [ ! -d "$state/watchdog" ] ||
    { printf '%s %s ?\n%s\n' $((now + 180)) "${interval:-15}" "$config" >"$file"; } 2>/dev/null
}

# True while it is paused, or a level is at work.
stands_down() {
  for reason in "$state/self-healing.paused" "$state/watchdog/watchdog.lock" "$state/watchdog/healthcheck.lock" \
    "$state/watchdog/emergency-recovery.lock"; do
    [ ! -e "$reason" ] || return 0
  done
  return 1
}

# True when the gateway answers at once, in its own words. Level 1 gives a slow one more time.
beats() {
  # -q, which has to be the first: without the user's .curlrc.
  answer=$(printf 'url = "%s"\n' "$url/health" |
    curl -q --silent --max-time 3 --limit-rate 64k --noproxy '*' --write-out '%{http_code}' --config - 2>/dev/null) ||
    return 1
  case $answer in '{"ok":true,'*'"status":"live"'*200) ;; *) return 1 ;; esac
}

# Sets $node: the recorded one, else the one on PATH, else the newest that a package or version manager installed.
find_node() {
  record=$state/watchdog/launcher
  recorded=
  recorded_path=
  [ -r "$record" ] && { IFS= read -r recorded && IFS= read -r recorded_path; } <"$record"
  # The PATH of the shell in which setup was run comes first, for the same openclaw, claude and tmux at every start.
  PATH=${recorded_path:+$recorded_path:}$PATH
  node=$recorded
  if usable "$node"; then
    PATH=$PATH:${node%/*}
    return
  fi
  node=node
  ! usable node || return 0

  node=
  newest=0
  for candidate in /opt/homebrew/bin/node /usr/local/bin/node /home/linuxbrew/.linuxbrew/bin/node /opt/local/bin/node \
    /usr/bin/node /snap/bin/node "$HOME/.local/bin/node" "$HOME/.volta/bin/node" "$HOME/n/bin/node" \
    "${NVM_DIR:-$HOME/.nvm}"/versions/node/*/bin/node \
    "${FNM_DIR:-$HOME/.local/share/fnm}"/node-versions/*/installation/bin/node \
    "$HOME/Library/Application Support/fnm"/node-versions/*/installation/bin/node \
    "$HOME"/.fnm/node-versions/*/installation/bin/node \
    "${VOLTA_HOME:-$HOME/.volta}"/tools/image/node/*/bin/node \
    "${ASDF_DATA_DIR:-$HOME/.asdf}"/installs/nodejs/*/bin/node \
    "${MISE_DATA_DIR:-$HOME/.local/share/mise}"/installs/node/*/bin/node \
    "$HOME"/.nodenv/versions/*/bin/node /usr/local/n/versions/node/*/bin/node \
    /opt/homebrew/opt/node@*/bin/node /usr/local/opt/node@*/bin/node; do
    if usable "$candidate" && [ "$release" -gt "$newest" ]; then
      newest=$release
      node=$candidate
    fi
  done
  [ -n "$node" ] ||
    cannot_start "no Node.js that works (>= $LOWEST_NODE) was found: looked at ${recorded:+$recorded, }PATH ($PATH), Homebrew, nvm, fnm, volta, asdf, mise, n"
  # The `node` on PATH does not work: openclaw and claude must find this one before it.
  PATH=${node%/*}:$PATH
  [ -n "$dry_run" ] || [ -z "$recorded" ] || { printf '%s\n' "$node" "$recorded_path" >"$record"; } 2>/dev/null
}

# True when the given Node runs (a file may be there and its libraries gone) and is new enough; sets $release, e.g. 20019.
usable() {
  { version=$("$1" --version); } 2>/dev/null || return 1
  major=${version#v}
  minor=${major#*.}
  minor=${minor%%.*}
  major=${major%%.*}
  case $major$minor in '' | *[!0-9]*) return 1 ;; esac
  release=$((major * 1000 + minor))
  [ "$release" -ge $((${LOWEST_NODE%.*} * 1000 + ${LOWEST_NODE#*.})) ]
}

cannot_start() {
  umask 077
  cause=$(printf '%s' "$1" | LC_ALL=C tr '\n\t' '  ' | LC_ALL=C tr -d '\000-\037\177')
  text="cannot start: ${cause:=no reason was given}"
  [ -z "$dry_run" ] || { printf '%s\n' "$tier: $text" >&2 && exit 1; }
  # No other tier writes the marker for Level 4 when Level 3 cannot start.
  [ "$tier" != emergency-recovery ] || text="MANUAL INTERVENTION REQUIRED: level 3 $text"
  write_log ERROR "$text"
  tell
  exit 1
}

write_log() {
  stamp=$(date +%Y-%m-%dT%H:%M:%S%z)
  line="[${stamp%??}:${stamp#"${stamp%??}"}] [$tier] [$1] $2"
  printf '%s\n' "$line" >&2
  log_name=${log_name:-$tier-${stamp%%T*}$([ "$tier" != emergency-recovery ] || date +-%H%M%S).log}
  logs=$(setting OPENCLAW_MEMORY_DIR)
  for folder in "${logs:-$HOME/openclaw$suffix/memory}" "$state/watchdog/logs"; do
    mkdir -p "$folder" 2>/dev/null || continue
    [ -z "$(tail -c 1 "$folder/$log_name" 2>/dev/null)" ] || line="
$line"
    { printf '%s\n' "$line" >>"$folder/$log_name"; } 2>/dev/null && return
  done
  printf '%s\n' "$tier: no log can be written" >&2
}

tell() {
  text=$(printf '%s' "openclaw-self-healing on $(uname -n)${suffix:+ (profile ${suffix#-})}: $tier cannot start: $cause" |
    LC_ALL=C cut -c 1-1500)
  printf '%s' "$text" | iconv -f UTF-8 -t UTF-8 >/dev/null 2>&1 ||
    text=$(printf '%s' "$text" | LC_ALL=C tr -c '\040-\176' '?')
  quoted=\"$(printf '%s' "$text" | json)\"
  post Discord "$(setting DISCORD_WEBHOOK_URL)" "{\"content\":$quoted,\"allowed_mentions\":{\"parse\":[]}}"
  # With these three Slack's markup (<!channel>) is only text.
  post Slack "$(setting SLACK_WEBHOOK_URL)" \
    "{\"text\":$(printf '%s' "$quoted" | LC_ALL=C sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/>/\&gt;/g')}"
  token=$(setting TELEGRAM_BOT_TOKEN)
  chat=$(setting TELEGRAM_CHAT_ID | json)
  api=$(setting TELEGRAM_API_URL | sed 's,/*$,,')
  post Telegram "${token:+${chat:+${api:-https://api.telegram.org}/bot$token/sendMessage}}" "{\"chat_id\":\"$chat\",\"text\":$quoted}"
  topic=$(setting NTFY_URL)
  topic=${topic%/}
  post ntfy "${topic:+${topic%/*}/}" "{\"topic\":\"$(printf '%s' "${topic##*/}" | json)\",\"priority\":5,\"message\":$quoted}" "$(setting NTFY_TOKEN)"
  post webhook "$(setting ALERT_WEBHOOK_URL)" "{\"text\":$quoted}"
}

# post <channel> <address, '' when it is not configured> <body> [bearer token], once an hour for the same cause
post() {
  [ -n "$2" ] || return 0
  case $2${4:-} in *[\"\\[:space:]]*) write_log WARN "$1 got no alert: its address is no URL" && return ;; esac
  claims=$state/watchdog/told
  claim=$claims/$(printf '%s' "$cause" | cksum | tr ' ' '-')-$1
  mkdir -p "$claims" 2>/dev/null
  find "$claims" -type f -mmin +59 -exec rm -f {} + 2>/dev/null
  # Of several tiers that start at once only one creates it.
  (set -C && : >"$claim") 2>/dev/null || return 0
  # Secrets go in by standard input: every user of the machine can read a command line.
  failure=$(printf '%s = "%s"\n' url "$2" ${4:+header "Authorization: Bearer $4"} |
    curl -q --silent --show-error --fail --max-time 15 --output /dev/null --config - \
      --header 'Content-Type: application/json' --data-binary "$3" 2>&1) && return
  rm -f "$claim"
  write_log WARN "$1 got no alert: ${failure:-curl failed}"
}

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
  # shellcheck disable=SC2016,SC2088
  case $value in
    '~' | '~/'*) value=$HOME${value#'~'} ;;
    '$HOME'*) value=$HOME${value#'$HOME'} ;;
    '${HOME}'*) value=$HOME${value#'${HOME}'} ;;
  esac
  printf '%s\n' "$value"
}

main "$@"
