# Builds the program of a Go module or workspace, or of the source files at the top of the work folder.
# Given: the app as the work folder; GO_MAIN, CGO_ENABLED, GOPROXY and the like; the secret netrc, if there is one.
# Leaves: $OUT/app, linked statically.
# shellcheck shell=sh
set -e

ln -s /run/secrets/netrc ~/.netrc
# Source files alone are a module without dependencies.
if [ ! -e go.mod ] && [ ! -e go.work ]; then go mod init app; fi
asked=$(sed -n 's/^go //p' go.mod go.work 2>/dev/null | sort -V | tail -n 1)
has=$(go version | sed 's/.* go\([0-9.]*\).*/\1/')
if [ "$(printf '%s\n' "$asked" "$has" | sort -V | tail -n 1)" != "$has" ]; then
    trap '[ $? = 0 ] || echo "expected Go $asked, as go.mod says, found $has: --base debian:trixie, alpine:3.23, … have others" >&2' EXIT
fi

modules=$(go list -m -f '{{.Dir}}/...')
# shellcheck disable=SC2086 # one word for each module of a workspace
programs=$(go list -find -f '{{if eq .Name "main"}}{{.Dir}}{{end}}' $modules | sed "s|^$PWD|.|")
for place in '^\.$' '^\./cmd/' ''; do
    main=${GO_MAIN:-$(echo "$programs" | grep "$place")} && break
done
case $main in
    '') echo "expected a package main, found none" >&2; exit 1 ;;
    *[[:space:]]*)
        echo "expected one program, found $(echo "$main" | tr '\n' ' '); GO_MAIN=./cmd/NAME in the environment says which" >&2
        exit 1 ;;
esac
# Of modules that are fetched Go notes more than of the same ones in vendor.
if [ -d vendor ]; then export GOCACHE=~/.cache/go-build/vendor GOMODCACHE=/tmp/none; fi
static=; if [ "$CGO_ENABLED" = 1 ]; then static="-linkmode=external -extldflags=-static"; fi
go build -trimpath -buildvcs=false -tags=netgo,osusergo -ldflags="-buildid= -s -w $static" -o "$OUT/app" "$main"
