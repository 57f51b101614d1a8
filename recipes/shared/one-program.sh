# For scripts that read this with `.`: one_program LINK APP FILE…
# Given: the result as the work folder, the folder APP of the app's source, and the programs in the result.
# Leaves: ./LINK as a link to the only FILE, unless LINK is there or a Procfile of the app sets the command.
# shellcheck shell=sh

one_program() {
    link=$1 app=$2
    shift 2
    if [ -e "$link" ] || [ -e "$app/Procfile" ]; then return; fi
    if [ $# != 1 ] || [ ! -e "$1" ]; then
        echo "expected one program, or a Procfile that says which one is run; found: $*" >&2
        exit 1
    fi
    ln -s "$1" "$link"
}
