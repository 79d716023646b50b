#!/bin/sh
# The demo, in one command on a fresh clone: installs the npm packages if they are missing, then runs it.
set -eu
cd "$(dirname "$0")/../.."
if [ ! -d node_modules/tsx ] || [ ! -d node_modules/execa ]; then
  echo "Installing the npm packages of package-lock.json …"
  npm ci --no-audit --no-fund
fi
exec node --import tsx test/demo/demo.ts "$@"
