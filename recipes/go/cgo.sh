# For scripts that read this with `.`: decides whether the C code of packages is compiled.
#   choose_cgo PACKAGE          exports CGO_ENABLED, unless it is set: 1 where the program of PACKAGE does not work without
# Given: $tags, as flags.sh leaves it.
#
# Most packages with C code have the same in Go, or do without. One that has nothing else, or says in its Go code that it requires cgo,
# does not: such as drivers of SQLite, which are empty then.
# shellcheck shell=sh

choose_cgo() {
    # shellcheck disable=SC2154 # flags.sh sets tags
    also=$tags
    if [ "$CGO_ENABLED" ]; then return; fi
    export CGO_ENABLED=0
    if [ "$GOARCH" ]; then return; fi
    list="go list -deps -tags=netgo,osusergo$also"
    CGO_ENABLED=1 $list -f '{{if and .CgoFiles (not .Standard)}}{{.ImportPath}}{{end}}' "$1" >/tmp/with-c
    if [ ! -s /tmp/with-c ]; then return; fi
    needed=
    while read -r package; do
        # shellcheck disable=SC2016 # Go's own variables
        go list -e -find -tags="netgo,osusergo$also" -f '{{$dir := .Dir}}{{range .GoFiles}}{{$dir}}/{{.}}
{{end}}' "$package" >/tmp/without-c
        if [ ! -s /tmp/without-c ] || requires_cgo </tmp/without-c; then needed="$needed $package"; fi
    done </tmp/with-c
    if [ ! "$needed" ]; then return; fi
    echo "CGO_ENABLED=1, because of$needed"
    if ! command -v gcc >/tmp/found; then echo "gcc: not found" >&2; exit 1; fi
    export CGO_ENABLED=1
}

requires_cgo() {
    while read -r file; do
        if grep -qiE 'requires? cgo|CGO_ENABLED' "$file"; then return; fi
    done
    return 1
}
