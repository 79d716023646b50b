#!/bin/sh
# `crontab` with a file in place of the spool, and the answers of Debian's cron. Usage: <file> <calls file> -l | -r | -
file=$1
echo "crontab $3" >>"$2"
case $3 in
  -l)
    [ -f "$file" ] || { echo "no crontab for $(id -un)" >&2; exit 1; }
    cat "$file"
    ;;
  -r)
    [ -f "$file" ] || { echo "no crontab for $(id -un)" >&2; exit 1; }
    rm "$file"
    ;;
  -)
    [ -e "$file.refuses" ] && { echo 'crontab: operation not permitted' >&2; exit 1; }
    cat >"$file.new"
    # cron cannot read a last line without a line break, and says so.
    if [ -s "$file.new" ] && [ -n "$(tail -c 1 "$file.new")" ]; then
      echo 'new crontab file is missing newline before EOF, can'\''t install.' >&2
      rm "$file.new"
      exit 1
    fi
    mv "$file.new" "$file"
    ;;
  *)
    echo "unplanned: crontab $*" >&2
    exit 64
    ;;
esac
