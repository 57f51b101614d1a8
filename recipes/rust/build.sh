# Builds the program of a Cargo package or workspace, or of the only source file.
# Given: the app as the work folder; CARGO_BIN, the name of the program where there are several.
# Leaves: $OUT/app, linked statically.
# shellcheck shell=sh
set -e

# A source file alone is a package without dependencies.
if [ ! -e Cargo.toml ]; then
    if [ -e main.rs ]; then set -- main.rs; else set -- *.rs; fi
    if [ $# != 1 ]; then echo "expected one source file, main.rs or Cargo.toml, found: $*" >&2; exit 1; fi
    printf '[package]\nname = "app"\nversion = "0.0.0"\nedition = "2021"\n[[bin]]\nname = "app"\npath = "%s"\n' "$1" >Cargo.toml
fi

# Flags for a target that is named do not reach build scripts and macros, which cannot be linked statically.
target=$(rustc -vV | sed -n 's/^host: //p')
set -- --release --target "$target"
if [ -e Cargo.lock ]; then set -- "$@" --locked; fi
if [ "$CARGO_BIN" ]; then set -- "$@" --bin "$CARGO_BIN"; else set -- "$@" --bins; fi
cargo build "$@" --message-format json-render-diagnostics > /tmp/made
# shellcheck disable=SC2046 # one word for each program
set -- $(grep -o '"executable":"[^"]*"' /tmp/made | cut -d '"' -f 4)
default=$(cargo metadata --no-deps --format-version 1 | grep -o '"default_run":"[^"]*"' | cut -d '"' -f 4)
if [ $# -gt 1 ] && [ "$default" ]; then set -- "${1%/*}/$default"; fi
if [ $# != 1 ]; then
    for path; do set -- "$@" "${path##*/}"; shift; done
    echo "expected one program, found: $*; default-run in Cargo.toml, or CARGO_BIN=NAME in the environment, says which" >&2; exit 1
fi
cp "$1" "$OUT/app"
