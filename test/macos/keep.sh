# For the scripts beside it: keeps what macOS says, word for word, one file for each answer, in $OUTPUTS.
# shellcheck shell=sh
OUTPUTS=${OUTPUTS:-mac-outputs}
DOMAIN=gui/$(id -u)
ENV_FILE=$HOME/.openclaw${OPENCLAW_PROFILE:+-$OPENCLAW_PROFILE}/.env
LABEL=$(sed -n "s/^\(export \)\{0,1\}OPENCLAW_LAUNCHD_LABEL=[\"']\{0,1\}\([^\"' ]*\).*/\2/p" "$ENV_FILE" 2>/dev/null | tail -n 1)
LABEL=${OPENCLAW_LAUNCHD_LABEL:-$LABEL}
GATEWAY=${LABEL:-ai.openclaw.${OPENCLAW_PROFILE:-gateway}}
WATCHDOG=com.openclaw.watchdog${OPENCLAW_PROFILE:+.$OPENCLAW_PROFILE}
HEALTHCHECK=com.openclaw.healthcheck${OPENCLAW_PROFILE:+.$OPENCLAW_PROFILE}
export DOMAIN WATCHDOG HEALTHCHECK
# A property list may hold the token of the gateway.
umask 077
mkdir -p "$OUTPUTS"

# keep NAME COMMAND…: the command, all that it says, and how it ended
keep() {
  file=$OUTPUTS/$1.txt
  shift
  { printf '$ %s\n' "$*" && "$@" 2>&1 </dev/null || printf '[exit %s]\n' "$?"; } >"$file"
}

# keep_job NAME [LABEL]: what there is to see of a job, and of the gateway's processes and ports
keep_job() {
  keep "$1-print" launchctl print "$DOMAIN/${2:-$GATEWAY}"
  keep "$1-print-disabled" launchctl print-disabled "$DOMAIN"
  keep "$1-ps" sh -c 'ps -axo pid=,ppid=,pgid=,uid=,rss=,stat=,time=,etime=,lstart=,command= | grep -i "[o]penclaw"'
  keep "$1-lsof" lsof -nP -iTCP -sTCP:LISTEN -Fpn
}
