# Runs npm in the version of [tools], with the arguments: for another processor, of which Debian's npm knows nothing.
# shellcheck shell=sh
set -e
# shellcheck source=recipes/shared/tool.sh
. /run/recipe/tool.sh

tool npm
npm_tool npm "$version" "$sum"
exec npm "$@"
