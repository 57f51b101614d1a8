# Installs dependencies with pnpm, in the version that "packageManager" in package.json names, or else in one that reads the lock.
# Given: package.json, pnpm-lock.yaml and pnpm's own files in the work folder; further options of `pnpm install`; OWN_SCRIPTS where
# the project has install scripts of its own; DEVELOPMENT when packages for development are wanted, too.
# Leaves: node_modules. pnpm runs the scripts of packages that the project allows (onlyBuiltDependencies).
# shellcheck shell=sh
set -e
# shellcheck source=recipes/node/manager.sh
. /run/recipe/manager.sh

get_pnpm
if [ "${DEVELOPMENT:-}" ]; then exec pnpm install --frozen-lockfile "$@"; fi
case " $* " in *" --ignore-scripts "*) OWN_SCRIPTS= ;; esac
if [ -z "${OWN_SCRIPTS:-}" ]; then exec pnpm install --prod --frozen-lockfile "$@"; fi
# The project's own scripts may call programs of packages for development, or change what is installed.
pnpm install --frozen-lockfile "$@"
exec pnpm install --prod --frozen-lockfile --ignore-scripts --offline
