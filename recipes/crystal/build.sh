# Builds the program of a Crystal project, or of the only source file.
# Given: the app as the work folder; SHARDS_LOCAL=1 when the network must not be used.
# Leaves: $OUT/app, linked statically with musl.
# shellcheck shell=sh
set -e

# A part of `targets:` in shard.yml: `NAME:`, and below it `main: FILE`.
main=
if [ -e shard.yml ]; then
    if grep -q '^dependencies:' shard.yml; then
        if [ -e shard.lock ]; then set -- --frozen; else set --; fi
        if command -v shards >/tmp/found; then
            shards install --production ${SHARDS_LOCAL:+--local} "$@"
        elif [ ! -e lib ]; then
            echo "shard.yml has dependencies, and this base has no shards: take --base alpine, or put them into lib beforehand" >&2
            exit 1
        fi
    fi
    # shellcheck disable=SC2046 # one word for each target
    set -- $(sed -n '/^targets:/,/^[^ ]/s/^ *main: *//p' shard.yml)
    if [ $# -gt 1 ]; then
        echo "expected one target in shard.yml, found: $*; leave one there, or build each in a folder of its own" >&2
        exit 1
    fi
    main=${1:-src/$(sed -n 's/^name: *//p' shard.yml).cr}
else
    set -- *.cr
    for name in main app server; do if [ -e "$name.cr" ]; then set -- "$name.cr"; fi; done
    if [ $# != 1 ]; then echo "expected one source file, or main.cr, found: $*" >&2; exit 1; fi
    main=$1
fi
static=; if [ -e /lib/ld-musl-x86_64.so.1 ] || [ -e /lib/ld-musl-aarch64.so.1 ]; then static=--static; fi
# shellcheck disable=SC2086 # no word, or one
crystal build --release --no-debug $static -o "$OUT/app" "$main"
