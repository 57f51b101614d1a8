# Builds the app, and leaves what the image needs of it.
# Given: the app with what is installed for its build in the work folder; BUILD and OUTPUT, as output.sh says; OFFLINE=1 without a
# network.
# Leaves: the result in $OUT.
# shellcheck shell=sh
set -e
# shellcheck source=recipes/node/manager.sh
. /run/recipe/manager.sh
# shellcheck source=recipes/shared/output.sh
. /run/recipe/output.sh

# Scripts of the project may call its package manager.
case $BUILD in *pnpm* | *yarn* | *bun* | *"npm run"*) get_manager ;; esac
PATH=$PWD/node_modules/.bin:$PATH build
leave
node /run/recipe/prune.js "$OUT"
