#!/bin/sh
# The steps of .github/workflows/macos.yml that try us on a real launchd:  sh test/macos/steps.sh STEP
# They kill gateways and break jobs, so only on a Mac that is thrown away afterwards: THROW_AWAY_MAC=yes says that it is.
# What macOS answered is kept in $OUTPUTS. The gateway is the tests' stand-in, as a job of launchd with KeepAlive.
#
# Exit 0  it was as it should be
#      1  it was not: the last line says what
#      2  no such step, or not a Mac to throw away
set -u
[ "${THROW_AWAY_MAC:-}" = yes ] || { echo 'not without THROW_AWAY_MAC=yes: it breaks the gateway of this Mac' >&2; exit 2; }
cd "$(dirname "$0")/../.." || exit 1
. test/macos/keep.sh

PORT=${OPENCLAW_GATEWAY_PORT:-18789}
AGENTS=$HOME/Library/LaunchAgents
STATE=$HOME/.openclaw
CONTROL=${STAND_IN_CONTROL:-$STATE/stand-in}
PROGRAM=$HOME/.npm-global/bin/openclaw
# A slow runner may have all of them multiplied.
PATIENCE=${PATIENCE:-1}

fail() {
  tail -n 30 "$OUTPUTS/level-1.log" 2>/dev/null
  printf 'FAILED: %s\n' "$*" >&2
  exit 1
}

# within SECONDS WHAT COMMAND…: waits until the command succeeds
within() {
  limit=$(($(date +%s) + $1 * PATIENCE))
  what="$2 (within $1 s)"
  shift 2
  until "$@"; do
    [ "$(date +%s)" -lt "$limit" ] || fail "$what"
    sleep 1
  done
  printf 'as it should be: %s\n' "$what"
}

# A field of a job: one tab deep, what is deeper is of another thing.
field() { launchctl print "$DOMAIN/$1" 2>/dev/null | sed -n "s/^	$2 = //p" | head -n 1; }
gateway_pid() { field "$GATEWAY" pid; }
answers() { curl --silent --max-time 5 "http://127.0.0.1:$PORT/health" | grep -q '"live"'; }
is_unloaded() { ! launchctl print "$DOMAIN/$GATEWAY" >/dev/null 2>&1; }
# How often a tier has run, by its log.
runs_of() { cat "$HOME/openclaw/memory/$1"-*.log 2>/dev/null | grep -c 'RUN started'; }
has_run() { [ "$(runs_of "$1")" -ge "$2" ]; }
has_begun() { [ "$(field "$1" runs)" -ge "$2" ]; }
boots() { grep -c '"boot"' "$CONTROL/events.jsonl"; }
has_booted() { [ "$(boots)" -ge "$1" ]; }
is_another() { [ -n "$(gateway_pid)" ] && [ "$(gateway_pid)" != "$1" ] && answers; }
is_unset() { case $(field "$GATEWAY" 'last exit code') in 78*) return 0 ;; *) return 1 ;; esac; }
level_1() { sh scripts/run-tier.sh gateway-watchdog >>"$OUTPUTS/level-1.log" 2>&1; }
from_now_on() { printf '%s' "$1" >"$CONTROL/faults.json.new" && mv "$CONTROL/faults.json.new" "$CONTROL/faults.json"; }

no_tier_runs() { ! pgrep -f "$PWD/scripts/(run-tier|gateway-|emergency-|watchdog-)" >/dev/null; }

# A step that failed leaves nothing broken for the next one.
mend() {
  [ ! -e "$PROGRAM-away" ] || mv "$PROGRAM-away" "$PROGRAM"
  mkdir -p "$CONTROL/logs"
  from_now_on '{}'
  launchctl enable "$DOMAIN/$GATEWAY"
}

kill_it() {
  trap mend EXIT
  within 120 'the gateway answers before it is killed' answers
  gone=$(gateway_pid)
  [ -n "$gone" ] || fail 'launchd has no process of the gateway'
  kill -9 "$gone"
}

# healed NAME: by Level 1, in as many ticks as it takes
healed() {
  keep_job "$1"
  within 300 "$1: Level 1 ends with 0" level_1
  within 60 "$1: another process is the gateway, and answers" is_another "$gone"
  keep_job "$1-healed"
}

not_healed() {
  keep_job "$1"
  if level_1; then fail "$1: Level 1 ended with 0, and nothing answers"; fi
}

# --- the steps, in the order of the workflow

# Not as a child of the runner: where launchd started that, it would count as the supervisor of the tests' gateways.
tests() {
  rm -f "$OUTPUTS/tests-exit"
  (
    {
      npm test && npx vitest run --project process test/process/launcher
      echo $? >"$OUTPUTS/tests-exit"
    } >"$OUTPUTS/tests.txt" 2>&1 &
  )
  within 2400 'the tests end' test -s "$OUTPUTS/tests-exit"
  cat "$OUTPUTS/tests.txt"
  [ "$(cat "$OUTPUTS/tests-exit")" = 0 ] || fail 'a test failed'
}

plists() {
  node --import tsx test/macos/fill-plists.ts "$OUTPUTS/plists" || fail 'the plists could not be filled in'
  for plist in "$OUTPUTS"/plists/*.plist; do plutil -lint "$plist" || fail "$plist is no property list"; done
}

gateway() {
  mkdir -p "$CONTROL/logs" "$STATE/logs" "$AGENTS"
  if ! command -v openclaw >/dev/null; then
    package=$HOME/.npm-global/lib/node_modules/openclaw
    mkdir -p "$package" "$HOME/.npm-global/bin"
    echo '{ "name": "openclaw", "version": "2026.9.6", "type": "module" }' >"$package/package.json"
    printf '#!/bin/sh\nexport STAND_IN_CONTROL="%s"\nexec "%s" "%s/test/support/openclaw-cli.mjs" "$@"\n' \
      "$CONTROL" "$(command -v node)" "$PWD" >"$package/openclaw.mjs"
    chmod 755 "$package/openclaw.mjs"
    ln -sf "$package/openclaw.mjs" "$PROGRAM"
    PATH=$PATH:$HOME/.npm-global/bin
    from_now_on '{}'
  fi
  [ -e "$STATE/openclaw.json" ] || echo "{ \"gateway\": { \"mode\": \"local\", \"port\": $PORT } }" >"$STATE/openclaw.json"
  # One fault follows the other here: no cooling down between restarts.
  [ -e "$STATE/.env" ] || cat >"$STATE/.env" <<EOF
OPENCLAW_GATEWAY_PORT="$PORT"
OPENCLAW_WATCHDOG_BACKOFF="0"
OPENCLAW_WATCHDOG_RETRY_DELAY="2"
OPENCLAW_STARTUP_GRACE="30"
EOF
  cat >"$AGENTS/$GATEWAY.plist" <<EOF
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key>
  <string>$GATEWAY</string>
  <key>ProgramArguments</key>
  <array>
    <string>$PROGRAM</string>
    <string>gateway</string>
    <string>run</string>
  </array>
  <key>RunAtLoad</key>
  <true/>
  <key>KeepAlive</key>
  <true/>
  <key>EnvironmentVariables</key>
  <dict>
    <key>HOME</key>
    <string>$HOME</string>
    <key>PATH</key>
    <string>$PATH</string>
  </dict>
  <key>StandardOutPath</key>
  <string>$STATE/logs/gateway.log</string>
  <key>StandardErrorPath</key>
  <string>$CONTROL/logs/gateway.err.log</string>
</dict>
</plist>
EOF
  launchctl bootstrap "$DOMAIN" "$AGENTS/$GATEWAY.plist" || fail 'launchd did not take the job of the gateway'
  within 60 'the gateway answers' answers
  within 60 'Level 1 gets to know it' level_1
  keep_job running
}

killed() {
  kill_it
  healed killed
}

crash_loop() {
  from_now_on '{ "exitAtBoot": { "code": 1, "stderr": "[openclaw] made to crash" } }'
  had=$(boots)
  kill_it
  within 180 'it has crashed three times' has_booted $((had + 3))
  not_healed crash-loop
  from_now_on '{}'
  healed crash-loop-over
}

# As `brew upgrade` takes a Node away: that needs a human, or the doctor.
program_gone() {
  mv "$PROGRAM" "$PROGRAM-away"
  kill_it
  within 120 'launchd says 78, for its program is gone' is_unset
  not_healed program-gone
  mv "$PROGRAM-away" "$PROGRAM"
  healed program-gone-over
}

# Level 1 makes the folder.
penalty_box() {
  rm -r "$CONTROL/logs"
  kill_it
  within 120 'launchd says 78, for it cannot open the log' is_unset
  healed penalty-box
}

disabled() {
  launchctl disable "$DOMAIN/$GATEWAY" || fail 'launchd did not disable the job of the gateway'
  kill_it
  healed disabled
}

unloaded() {
  gone=$(gateway_pid)
  launchctl bootout "$DOMAIN/$GATEWAY"
  # It returns before the job has ended.
  within 60 'launchd has let it go' is_unloaded
  healed unloaded
}

setup() {
  keep setup-dry-run node --import tsx install.ts --dry-run
  # Level 1 has run by hand before.
  had=$(runs_of watchdog)
  node --import tsx install.ts --yes || fail 'setup did not end with 0'
  within 60 'the watchdog has run' has_run watchdog $((had + 1))
  for tier in watchdog healthcheck; do
    within 60 "$tier has run" has_run "$tier" 1
    keep_job "installed-$tier" "com.openclaw.$tier"
    # `runs` is what launchd itself counts.
    runs=$(field "com.openclaw.$tier" runs)
    [ "${runs:-1}" -ge 1 ] || fail "launchd says that it has run $tier $runs times"
  done
}

# Two more slots of each: nobody else starts them within ten minutes.
schedule() {
  watchdog=$(field com.openclaw.watchdog runs)
  healthcheck=$(runs_of healthcheck)
  within 200 'two more beginnings of the pulse' has_begun com.openclaw.watchdog $((watchdog + 2))
  within 420 'two more runs of the health check' has_run healthcheck $((healthcheck + 2))
  for tier in watchdog healthcheck; do keep_job "scheduled-$tier" "com.openclaw.$tier"; done
}

escalation() {
  had=$(runs_of healthcheck)
  echo "$(date) a step of the workflow" >>"$HOME/openclaw/memory/escalations.log"
  within 30 'Level 2 runs when the file changes' has_run healthcheck $((had + 1))
}

cron() {
  keep crontab crontab -l
  monitor=$(runs_of monitor)
  guardian=$(runs_of guardian)
  within 660 'cron runs the monitor' has_run monitor $((monitor + 1))
  within 330 'cron runs the guardian' has_run guardian $((guardian + 1))
}

uninstall() {
  node --import tsx install.ts --uninstall || fail 'the uninstallation did not end with 0'
  for tier in watchdog healthcheck; do
    [ ! -e "$AGENTS/com.openclaw.$tier.plist" ] || fail "the plist of $tier is still there"
    if launchctl print "$DOMAIN/com.openclaw.$tier" >/dev/null 2>&1; then fail "launchd still has $tier"; fi
  done
  if crontab -l 2>/dev/null | grep run-tier.sh; then fail 'the crontab still has our lines'; fi
  [ ! -e "$STATE/watchdog" ] || fail "$STATE/watchdog is still there"
  within 30 'no tier of ours runs any more' no_tier_runs
}

case ${1:-} in
  tests | plists | gateway | killed | disabled | unloaded | setup | schedule | escalation | cron | uninstall) "$1" ;;
  crash-loop) crash_loop ;;
  penalty-box) penalty_box ;;
  program-gone) program_gone ;;
  *) echo "no such step: ${1:-}" >&2 && exit 2 ;;
esac
