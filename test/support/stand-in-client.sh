#!/bin/sh
# `launchctl` and `systemctl` of the stand-ins: passes its arguments on through a socket and gives the answer.
# Usage: <curl> <socket> <arguments…>. The answer: the exit code, then lines of output behind 1 and of errors behind 2.
curl=$1
socket=$2
shift 2
"$curl" --silent --max-time 300 --unix-socket "$socket" --data-binary "$(printf '%s\n' "$@")" http://stand-in/ | {
  read -r code
  while IFS= read -r line; do
    case $line in
      1*) printf '%s\n' "${line#1}" ;;
      2*) printf '%s\n' "${line#2}" >&2 ;;
    esac
  done
  exit "${code:-1}"
}
