# Builds the programs of a Cabal package, Main.hs, or the only source file.
# Given: the app as the work folder; BINARY, the name of the program; PROGRAM, another name than app.
# Leaves: the programs in $OUT; app there is a link to the only one.
# shellcheck shell=sh
set -e
# shellcheck source=recipes/shared/one-program.sh
. /run/recipe/one-program.sh
# shellcheck source=recipes/haskell/ghc.sh
. /run/recipe/ghc.sh

set -- *.cabal
if [ -e "$1" ] || [ -e cabal.project ]; then
    # Hackage is asked only for what is not installed already.
    touch /tmp/no-repositories
    set -- --config-file=/tmp/no-repositories --builddir=/tmp/build
    if ! cabal "$@" build all:exes --dry-run; then
        set -- --builddir=/tmp/build
        if ! cabal "$@" build all:exes --dry-run; then cabal update; fi
    fi
    cabal "$@" build all:exes
    find /tmp/build -type f -path '*/build/*' -perm -u=x ! -name '*.so*' ! -path '*/t/*' -exec cp {} "$OUT" ';'
elif [ -e Main.hs ]; then
    ghc -O2 -threaded -outputdir /tmp/build -o "$OUT/${PROGRAM:-app}" Main.hs
elif set -- *.hs && [ $# = 1 ] && [ -e "$1" ]; then
    ghc -O2 -threaded -outputdir /tmp/build -o "$OUT/${PROGRAM:-app}" "$1"
else
    echo "expected NAME.cabal, cabal.project or Main.hs; hpack makes a .cabal file of package.yaml" >&2
    exit 1
fi

# ./app is the only program, whatever its name is.
app=$PWD
cd "$OUT"
strip -- *
set -- *
one_program "${PROGRAM:-app}" "$app" "$@"
