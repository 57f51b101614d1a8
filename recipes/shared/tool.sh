# For scripts that read this with `.`: fetches tools, and checks them by the sums that the recipe's table [tools] has.
#   tool NAME                   sets name, version and sum (sha512:HEX) to what [tools] says of NAME
#   asked NAME [engines]        sets version and sum to what package.json asks for, if it does, as asked.js tells
#   verify NAME FILE SUM        ends the build unless the bytes of FILE have that sum; an empty SUM fits all
#   npm_tool NAME VERSION SUM   fetches a package of npm without dependencies, and verifies the archive that the registry has of it;
#                               it lies in /tmp/tools/node_modules/NAME then, and its programs are on PATH
# shellcheck shell=sh
# shellcheck disable=SC2034 # scripts that read this use name, version and sum

tool() {
    while read -r name version sum; do
        if [ "$name" = "$1" ]; then return; fi
    done </run/recipe/tools
    echo "expected $1 in [tools] of the recipe, found none" >&2
    exit 1
}

asked() {
    asked=$(node /run/recipe/asked.js "$@")
    if [ "$asked" ]; then version=${asked% *} sum=${asked##* }; fi
}

verify() {
    if [ -z "$3" ]; then return; fi
    algorithm=${3%%:*}
    if command -v "${algorithm}sum" >/tmp/found; then
        found=$("${algorithm}sum" "$2")
    else
        found=$(node -p 'const [algorithm, file] = process.argv.slice(1);
            crypto.createHash(algorithm).update(fs.readFileSync(file)).digest("hex")' "$algorithm" "$2")
    fi
    found=$algorithm:${found%% *}
    if [ "$found" != "$3" ]; then
        echo "the tool $1 is not the one that is expected, and is not run" >&2
        echo "expected $3" >&2
        echo "found    $found" >&2
        exit 1
    fi
}

npm_tool() {
    mkdir -p /tmp/tools/packed
    npm pack --loglevel=error --prefer-offline --pack-destination=/tmp/tools/packed "$1@$2" >/tmp/tools/said
    mv /tmp/tools/packed/*.tgz /tmp/tools/package.tgz
    verify "$1@$2" /tmp/tools/package.tgz "$3"
    npm install --loglevel=error --offline --ignore-scripts --no-audit --no-fund --no-package-lock --prefix=/tmp/tools \
        /tmp/tools/package.tgz >/tmp/tools/said
    export PATH="/tmp/tools/node_modules/.bin:$PATH"
}
