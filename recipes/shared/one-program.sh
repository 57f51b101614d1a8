# For scripts that read this with `.`: one_program LINK APP FILE…
# Given: the result as the work folder, the folder APP of the app's source, and the programs in the result; BINARY, the name of the one
# that is meant.
# Leaves: ./LINK as a link to the FILE that BINARY names, or the process `web` of the app's Procfile, or else to the only one; unless LINK
# is there.
# shellcheck shell=sh

one_program() {
    link=$1 app=$2
    shift 2
    if [ -e "$link" ] && [ ! "$BINARY" ]; then return; fi
    named=$BINARY
    if [ ! "$named" ] && [ -e "$app/Procfile" ]; then
        named=$(sed -n 's/^web:[[:space:]]*//p' "$app/Procfile" | sed 's/[[:space:]].*//; s|.*/||')
    fi
    for file; do
        if [ "${file##*/}" = "$named" ]; then set -- "$file"; break; fi
    done
    if [ $# != 1 ] || [ ! -e "$1" ]; then
        echo "expected one program, found: $*; BINARY=NAME in the environment of microbuild says which" >&2
        exit 1
    fi
    if [ "$1" != "$link" ]; then ln -sf "$1" "$link"; fi
}
