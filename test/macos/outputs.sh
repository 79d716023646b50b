#!/bin/sh
# Asks macOS what the tiers ask it, and a little more; changes nothing:  sh test/macos/outputs.sh [FOLDER]
# `npm run mac:outputs` makes one file of it, without secrets (docs/macos.md).
# shellcheck disable=SC2016
set -u
OUTPUTS=${1:-mac-outputs}
cd "$(dirname "$0")/../.." || exit 1
. test/macos/keep.sh

keep system sw_vers
keep machine uname -srm
keep sh ls -l /private/var/select/sh
keep session launchctl managername
keep domain launchctl print "$DOMAIN"
for label in "$GATEWAY" "$WATCHDOG" "$HEALTHCHECK"; do
  keep_job "$label" "$label"
  keep "$label-blame" launchctl blame "$DOMAIN/$label"
  keep "$label-plist" cat "$HOME/Library/LaunchAgents/$label.plist"
done
keep jobs sh -c 'launchctl list | grep -i openclaw'
keep agents ls -leO "$HOME/Library/LaunchAgents"
keep errors sh -c 'tail -n 20 "$HOME"/Library/Logs/com.openclaw.*.err.log'
keep crontab sh -c 'crontab -l | grep -i openclaw'
keep power pmset -g
keep launchd-log sh -c '/usr/bin/log show --last 30m --style compact --predicate "process == \"launchd\"" | grep -i openclaw | tail -n 200'
keep setup node --import tsx install.ts --dry-run
keep status node --import tsx scripts/status.ts
keep our-logs sh -c 'for tier in watchdog healthcheck monitor guardian; do
  tail -n 60 "$HOME/openclaw${OPENCLAW_PROFILE:+-$OPENCLAW_PROFILE}/memory/$tier-$(date +%Y-%m-%d).log"
done'
