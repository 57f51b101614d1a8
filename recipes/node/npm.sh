# Runs npm in the version of [tools], with the arguments: for another processor, which Debian's npm does not support.
# shellcheck shell=sh
set -e
# shellcheck source=recipes/shared/tool.sh
. /run/recipe/tool.sh

tool npm
npm_tool npm "$version" "$sum"
exec npm "$@"
