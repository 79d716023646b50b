#!/bin/sh
# `crontab` with a file in place of the spool, and the answers of Debian's cron. Usage: <file> <calls file> -l | -r | -
file=$1
echo "crontab $3" >>"$2"
case $3 in
  -l | -r)
    [ -f "$file" ] || { echo "no crontab for $(id -un)" >&2; exit 1; }
    if [ "$3" = -l ]; then cat "$file"; else rm "$file"; fi
    ;;
  -)
    [ -e "$file.refuses" ] && { echo 'crontab: operation not permitted' >&2; exit 1; }
    cat >"$file.new"
    # cron cannot read a last line without a line break, and says so.
    [ -z "$(tail -c 1 "$file.new")" ] || { echo 'new crontab file is missing newline before EOF' >&2; exit 1; }
    mv "$file.new" "$file"
    ;;
  *)
    echo "unplanned: crontab $*" >&2
    exit 64
    ;;
esac
