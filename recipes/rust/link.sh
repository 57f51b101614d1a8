# For scripts that read this with `.`: links a program statically, or dynamically where that is not possible.
#   build ARGUMENT…             runs `cargo build`; the messages about what it makes are in /tmp/made
# Given: RUSTFLAGS of the user.
#
# A static library seldom says which others it needs, and Debian's libssl does not. Then the program is linked with shared libraries,
# which come into the image with it.
# shellcheck shell=sh

user=$RUSTFLAGS

build() {
    if [ ! -e Cargo.lock ]; then cargo generate-lockfile; fi
    if grep -q '^name = "openssl-sys"' Cargo.lock && ! grep -q '^name = "openssl-src"' Cargo.lock; then
        linked dynamically "$@"
        return
    fi
    if linked statically "$@"; then return; fi
    # shellcheck disable=SC2016 # cargo's own words
    if ! grep -q 'linking with `cc` failed\|could not find native static library' /tmp/said; then return 1; fi
    echo "it cannot be linked statically, and is linked with shared libraries"
    linked dynamically "$@"
}

linked() {
    crt=-crt-static
    if [ "$1" = statically ]; then crt=+crt-static; fi
    shift
    export RUSTFLAGS="-C target-feature=$crt $user"
    { cargo build "$@" --message-format json-render-diagnostics 3>&1 >/tmp/made 2>&3 || touch /tmp/failed; } | tee /tmp/said >&2
    if [ -e /tmp/failed ]; then rm /tmp/failed; return 1; fi
}
