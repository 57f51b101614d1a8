# Installs dependencies with Bun, by its lock file.
# Given: package.json, bun.lock or bun.lockb in the work folder; further options of `bun install`; OWN_SCRIPTS where the project has
# install scripts of its own; DEVELOPMENT when packages for development are wanted, too.
# Leaves: node_modules.
# shellcheck shell=sh
set -e
# shellcheck source=recipes/node/manager.sh
. /run/recipe/manager.sh

get_bun
if [ "${DEVELOPMENT:-}" ]; then exec bun install --frozen-lockfile "$@"; fi
case " $* " in *" --ignore-scripts "*) OWN_SCRIPTS= ;; esac
if [ "${OWN_SCRIPTS:-}" ]; then
    bun install --frozen-lockfile "$@"
    rm -rf node_modules
    set -- --ignore-scripts "$@"
fi
exec bun install --production --frozen-lockfile "$@"
