#!/bin/bash
# What the bash version's monitor does when all is well: no log of the last 30 minutes.
recent=$(find "$HOME/openclaw/memory" -name 'emergency-recovery-*.log' -mmin -30)
[ -z "$recent" ] || ! xargs grep -q "MANUAL INTERVENTION REQUIRED" <<<"$recent"
