# Makes the release that rebar.config describes.
# Given: the app as the work folder; REBAR_OFFLINE=1 when the network must not be used.
# Leaves: the release in $OUT, and there `erts` and `release` as links to the folders whose names tell versions.
# shellcheck shell=sh
set -e

rebar3 as prod release --output-dir /tmp/made --dev-mode false --include-erts true --system_libs true
set -- /tmp/made/*/releases/*/start.boot
if [ $# != 1 ]; then echo "expected one release, found: $*" >&2; exit 1; fi
cp -a "${1%/releases/*}/." "$OUT"
cd "$OUT"
ln -s erts-* erts
ln -s "releases/$(basename "${1%/start.boot}")" release
# Beams keep the parts for running them, without those for debuggers.
erl -noinput -eval '{ok, _} = beam_lib:strip_release("."), halt().'
