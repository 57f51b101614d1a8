# Builds a Zig project, or the program of the only source file.
# Given: the app as the work folder; ZIG_OFFLINE=1 when the network must not be used; TARGET, another processor.
# Leaves: in $OUT what `zig build` installs; app there is a link to the only program.
# shellcheck shell=sh
set -e
# shellcheck source=recipes/shared/tool.sh
. /run/recipe/tool.sh
# shellcheck source=recipes/shared/one-program.sh
. /run/recipe/one-program.sh

# shellcheck disable=SC2153 # the recipe sets it
kept=$ZIG_GLOBAL_CACHE_DIR/tool
machine=$(uname -m)
tool "zig-$machine"
wheel=$kept/zig-$version-$machine.whl
if ! [ -e "$wheel" ]; then
    if [ "$ZIG_OFFLINE" ]; then echo "Zig $version is not in the cache, and the network was disabled" >&2; exit 1; fi
    mkdir -p "$kept"
    folder=$(mktemp -d "$kept/new.XXXXXX")
    python3 -m pip download -q --no-cache-dir --no-deps --only-binary=:all: "--platform=musllinux_1_1_$machine" -d "$folder" \
        "ziglang==$version"
    (verify "Zig $version" "$folder"/*.whl "$sum") || { rm -r "$folder" && exit 1; }
    mv "$folder"/*.whl "$wheel"
    rm -r "$folder"
fi
verify "Zig $version" "$wheel" "$sum"
python3 -m zipfile -e "$wheel" /tmp/zig
chmod +x /tmp/zig/ziglang/zig
PATH=/tmp/zig/ziglang:$PATH
export ZIG_LOCAL_CACHE_DIR=/tmp/zig-cache

# The oldest processor of its kind, so that the program is the same on every machine and runs there.
target=${TARGET:-$machine}-linux-musl
app=$PWD
if [ -e build.zig ]; then
    zig build --prefix /tmp/made -Dtarget="$target" -Dcpu=baseline -Doptimize=ReleaseSafe
    cp -a /tmp/made/. "$OUT"
else
    set -- *.zig
    for name in main app server; do if [ -e "$name.zig" ]; then set -- "$name.zig"; fi; done
    if [ $# != 1 ]; then echo "expected one source file, or main.zig, found: $*" >&2; exit 1; fi
    zig build-exe -target "$target" -mcpu=baseline -O ReleaseSafe -fstrip -femit-bin="$OUT/app" "$1"
fi
rm -rf "$OUT/include" "$OUT/lib/"*.a
cd "$OUT"
folder=.; if [ -d bin ]; then folder=bin; fi
IFS='
'
# shellcheck disable=SC2046 # one word for each line
one_program app "$app" $(find "$folder" -maxdepth 1 -type f -perm -u=x)
