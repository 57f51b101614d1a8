# For scripts that read this with `.`, and for `microbuild dev`: fetches Deno by npm where no package has it, in the version of .dvmrc or
# else in that of [tools].
# Given: the app as the work folder.
# Leaves: deno on PATH; in $deno the folder of what was fetched, if it was.
# shellcheck shell=sh
# shellcheck source=recipes/shared/tool.sh
. /run/recipe/tool.sh

deno=
if ! command -v deno >/tmp/found; then
    tool "@deno/linux-$(node -p process.arch)-glibc"
    if [ -e .dvmrc ]; then version=$(cat .dvmrc) sum=; fi
    npm_tool "$name" "$version" "$sum"
    deno=/tmp/tools/node_modules/$name
    export PATH="$deno:$PATH"
fi
