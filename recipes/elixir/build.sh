# Makes the release of a Mix project.
# Given: the app as the work folder; HEX_OFFLINE=1 when the network must not be used.
# Leaves: the release in $OUT, and there `erts` and `release` as links to the folders whose names tell versions.
# shellcheck shell=sh
set -e

export MIX_ENV=prod
# Only projects with packages need Hex and Rebar.
if [ -e mix.lock ]; then
    mix local.hex --force --if-missing
    mix local.rebar --force --if-missing
    mix deps.get --only prod
fi
mix compile
if grep -q 'assets[.]deploy' mix.exs; then mix assets.deploy; fi
mix release --path "$OUT"
cd "$OUT"
ln -s erts-* erts
set -- releases/*/start.boot
ln -s "${1%/start.boot}" release
