# Builds the program of a Cargo package or workspace, or of the only source file.
# Given: the app as the work folder; CARGO_BIN and CARGO_PACKAGE, the program and its package; PROGRAM, another name than app;
# CARGO_FEATURES; CARGO_FLAGS, words for `cargo build`; RUSTFLAGS.
# Leaves: $OUT/app, linked statically; or dynamically, where a library of C has no other way.
# shellcheck shell=sh
set -e
# shellcheck source=recipes/rust/link.sh
. /run/recipe/link.sh

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
if [ "$CARGO_PACKAGE" ]; then set -- "$@" --package "$CARGO_PACKAGE"; fi
if [ "$CARGO_BIN" ]; then set -- "$@" --bin "$CARGO_BIN"; else set -- "$@" --bins; fi
if [ "$CARGO_FEATURES" ]; then set -- "$@" --features "$CARGO_FEATURES"; fi
# shellcheck disable=SC2086 # CARGO_FLAGS are words
build "$@" $CARGO_FLAGS
# shellcheck disable=SC2046 # one word for each program
set -- $(grep -o '"executable":"[^"]*"' /tmp/made | cut -d '"' -f 4)
if [ $# != 1 ]; then
    for path; do set -- "$@" "${path##*/}"; shift; done
    echo "expected one program, found: $*; CARGO_BIN=NAME in the environment says which" >&2; exit 1
fi
cp "$1" "$OUT/${PROGRAM:-app}"
