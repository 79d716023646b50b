#!/bin/bash
# What the bash version's watchdog does when all is well, for `npm run bench` to measure.
url="http://localhost:${PORT:-18789}/"
curl -sf "$url" >/dev/null || exit 1
