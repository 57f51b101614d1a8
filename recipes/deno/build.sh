# Fetches the imports of a Deno app, and tells Deno to look only there.
# Given: the app as the work folder; npm_config_offline=true when the network must not be used.
# Leaves: the app in $OUT with the folders node_modules and vendor, to which deno.json points, so that nothing is fetched when it runs; and
# Deno itself in $OUT/.deno where no package has it.
# shellcheck shell=sh
set -e

# shellcheck source=recipes/deno/deno.sh
. /run/recipe/deno.sh
lies="--vendor --node-modules-dir=auto"
if [ -e deno.lock ]; then lies="$lies --frozen"; fi
set --
for file in *.ts *.tsx *.js *.jsx *.mjs; do
    case $file in *test.*) ;; *) if [ -e "$file" ]; then set -- "$@" "$file"; fi ;; esac
done
# shellcheck disable=SC2086 # options are words
if [ -e deno.json ] || [ -e deno.jsonc ]; then deno install $lies; fi
# shellcheck disable=SC2086 # options are words
if [ $# != 0 ]; then deno cache $lies "$@"; fi
deno run --allow-all --no-config --no-lock /run/recipe/configure.js
cp -a . "$OUT"
if [ "$deno" ]; then
    mkdir "$OUT/.deno"
    cp "$deno/deno" "$deno/package.json" "$OUT/.deno"
fi
