# Makes one program of a Bun app, what it imports, and Bun.
# Given: the app as the work folder; npm_config_offline=true when the network must not be used.
# Leaves: $OUT/app, and Bun's package.json in $OUT/node_modules/bun, for scanners.
# shellcheck shell=sh
set -e

# shellcheck source=recipes/bun/bun.sh
. /run/recipe/bun.sh
set --; if [ -e bun.lock ] || [ -e bun.lockb ]; then set -- --frozen-lockfile; fi
if [ -e package.json ]; then bun install "$@"; fi
bun build --compile --minify --outfile "$OUT/${PROGRAM:-app}" "$(node /run/recipe/entry.js)"
mkdir -p "$OUT/node_modules/bun"
cp "/tmp/tools/node_modules/$bun/package.json" "$OUT/node_modules/bun"
