# Installs dependencies with pnpm, in the version that "packageManager" in package.json names, or else in that of [tools].
# Given: package.json, pnpm-lock.yaml and pnpm's own files in the work folder; further options of `pnpm install`.
# Leaves: node_modules. pnpm runs the scripts of packages that the project allows (onlyBuiltDependencies).
# shellcheck shell=sh
set -e
# shellcheck source=recipes/shared/tool.sh
. /run/recipe/tool.sh

tool pnpm
asked pnpm
npm_tool pnpm "$version" "$sum"
npm pkg delete scripts.prepare   # meant for those who develop it
pnpm install --prod --frozen-lockfile "$@"
