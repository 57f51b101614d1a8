# For scripts that read this with `.`, and for `microbuild dev`: fetches Bun by npm, in the version that package.json asks for
# ("packageManager", "engines"), or else in that of [tools]. `baseline` runs on every processor of its kind.
# Leaves: bun on PATH, and in $bun the name of npm's package.
# shellcheck shell=sh
# shellcheck source=recipes/shared/tool.sh
. /run/recipe/tool.sh

bun=@oven/bun-linux-$(node -p 'process.arch.replace("arm64", "aarch64")')
for loader in /lib/ld-musl-*; do if [ -e "$loader" ]; then bun=$bun-musl; fi; done
case $bun in *-x64*) bun=$bun-baseline ;; esac
tool "$bun"
asked bun engines
# The sum in package.json would be that of another package, which fetches this one.
if [ "$asked" ]; then sum=; fi
npm_tool "$bun" "$version" "$sum"
export PATH="/tmp/tools/node_modules/$bun/bin:$PATH"
