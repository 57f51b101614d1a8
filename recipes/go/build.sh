# Builds the program of a Go module or workspace, or of source files without a module.
# Given: the app as the work folder; GO_MAIN and GO_MODULE, the program and the folder of its module; PROGRAM, another name than app;
# GOFLAGS, GO_LDFLAGS, GO_TAGS, CGO_ENABLED, GOPROXY and the like; the secret netrc, if there is one.
# Leaves: $OUT/app, linked statically.
# shellcheck shell=sh
set -e
# shellcheck source=recipes/go/flags.sh
. /run/recipe/flags.sh
# shellcheck source=recipes/go/cgo.sh
. /run/recipe/cgo.sh

ln -s /run/secrets/netrc ~/.netrc
cd "${GO_MODULE:-.}"
if [ ! -e go.mod ] && [ ! -e go.work ]; then
    go mod init app
    go mod tidy
fi
asked=$(sed -n 's/^go //p' go.mod go.work 2>/dev/null | sort -V | tail -n 1)
has=$(GOTOOLCHAIN=local go version | sed 's/.* go\([0-9.]*\).*/\1/')
if [ "$(printf '%s\n' "$asked" "$has" | sort -V | tail -n 1)" != "$has" ]; then
    trap '[ $? = 0 ] || echo "expected Go $asked, as go.mod says, found $has" >&2' EXIT
fi

if [ ! "$GO_MAIN" ]; then
    modules=$(go list -m -f '{{.Dir}}/...')
    # shellcheck disable=SC2086 # one word for each module of a workspace
    GO_MAIN=$(go list -find -f '{{if eq .Name "main"}}{{.Dir}}{{end}}' $modules | sed "s|^$PWD|.|")
fi
case $GO_MAIN in
    '') echo "expected a package main, found none" >&2; exit 1 ;;
    *[[:space:]]*)
        echo "expected one program, found $(echo "$GO_MAIN" | tr '\n' ' '); GO_MAIN=./cmd/NAME in the environment says which" >&2
        exit 1 ;;
esac
# Of modules that are fetched Go notes more than of the same ones in vendor.
if [ -d vendor ]; then export GOCACHE=~/.cache/go-build/vendor GOMODCACHE=/tmp/none; fi
choose_cgo "$GO_MAIN"
static=; if [ "$CGO_ENABLED" = 1 ]; then static="-linkmode=external -extldflags=-static"; fi
go build -trimpath -buildvcs=false -tags="netgo,osusergo$tags" -ldflags="-buildid= -s -w $static $ldflags" -o "$OUT/${PROGRAM:-app}" "$GO_MAIN"
