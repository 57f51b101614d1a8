# Installs dependencies with Yarn: 1 where the lock is its, else the version (of 4 and later) that "packageManager" in package.json
# names, or that of [tools].
# Given: package.json, yarn.lock and Yarn's own files in the work folder; --ignore-scripts, --offline; for another processor
# os=OS, cpu=CPU and libc=LIBC.
# Leaves: node_modules. What would be Plug'n'Play becomes one too, since the image is started with node alone; Yarn 4 installs for 2
# and 3 as well, which have no `focus`.
# shellcheck shell=sh
set -e
# shellcheck source=recipes/shared/tool.sh
. /run/recipe/tool.sh

# Since version 2 the lock has __metadata.
if ! grep -q ^__metadata: yarn.lock; then
    case $* in *cpu=*) echo "Yarn 1 installs for this machine's processor only" >&2; exit 1 ;; esac
    tool yarn
    npm_tool yarn "$version" "$sum"
    exec yarn install --production --frozen-lockfile --non-interactive "$@"
fi

tool @yarnpkg/cli-dist
theirs=
asked yarn
case $asked in
    [4-9]*) theirs=$sum sum= ;;
    *) tool @yarnpkg/cli-dist ;;
esac
npm_tool @yarnpkg/cli-dist "$version" "$sum"
# The sum in package.json is that of the program, since Corepack fetches it alone.
verify "yarn@$version" /tmp/tools/node_modules/@yarnpkg/cli-dist/bin/yarn.js "$theirs"
for word; do case $word in
    --ignore-scripts) export YARN_ENABLE_SCRIPTS=false ;;
    *=*) yarn config set -H "supportedArchitectures.${word%=*}" --json "[\"${word#*=}\"]" ;;
esac; done
locked=$(grep '"[^"]*@npm:' yarn.lock)
yarn install --mode=update-lockfile
if [ "$locked" != "$(grep '"[^"]*@npm:' yarn.lock)" ]; then
    echo "yarn.lock does not fit package.json: yarn install mends it" >&2; exit 1
fi
yarn workspaces focus --all --production
