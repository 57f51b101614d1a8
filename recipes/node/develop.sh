# Installs what building the app needs, packages for development among it, with the package manager that wrote the lock file.
# Given: the project's manifests and lock files in the work folder; --offline and --ignore-scripts.
# Leaves: node_modules.
# shellcheck shell=sh
set -e
export DEVELOPMENT=1

if [ -e pnpm-lock.yaml ]; then exec sh /run/recipe/pnpm.sh "$@"; fi
if [ -e yarn.lock ]; then exec sh /run/recipe/yarn.sh "$@"; fi
if [ -e bun.lock ] || [ -e bun.lockb ]; then exec sh /run/recipe/bun-install.sh "$@"; fi
if [ -e package-lock.json ] || [ -e npm-shrinkwrap.json ]; then exec sh /run/recipe/npm.sh ci "$@"; fi
exec sh /run/recipe/npm.sh install --no-package-lock "$@"
