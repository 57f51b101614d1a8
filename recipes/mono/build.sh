# Builds a C# program with Mono: of a project that xbuild knows, or of all sources below the work folder.
# Given: the app as the work folder.
# Leaves: $OUT/app.exe, its libraries, and the certificates that Mono trusts in $OUT/.config.
# shellcheck shell=sh
set -e
# shellcheck source=recipes/shared/one-program.sh
. /run/recipe/one-program.sh

set -- *.sln *.csproj
while [ $# != 0 ] && [ ! -e "$1" ]; do shift; done
if [ $# != 0 ]; then
    xbuild /nologo /p:Configuration=Release /p:OutDir="$OUT/" "$1"
    find . -path '*/obj/*' '(' -name '*.exe' -o -name '*.dll' ')' -printf '%f\n' >/tmp/made
else
    libraries=$(find . -name '*.dll' -printf '%p,')
    usual=Mono.Posix,System.IO.Compression,System.Json,System.Net.Http,System.Numerics,System.Runtime.Serialization,System.Xml.Linq
    mcs -optimize -out:"$OUT/app.exe" -recurse:'*.cs' -r:"$libraries$usual"
    find . -name '*.dll' -exec cp {} "$OUT" ';'
    echo app.exe >/tmp/made
fi
app=$PWD
cd "$OUT"
set -- *.exe
one_program app.exe "$app" "$@"
if [ -L app.exe ] && [ -e "$(readlink app.exe).config" ]; then ln -s "$(readlink app.exe).config" app.exe.config; fi

# Mono does not read the certificates of others: it has a folder of its own.
XDG_CONFIG_HOME="$OUT/.config" cert-sync --quiet --user /etc/ssl/certs/ca-certificates.crt

cecil=$(find /usr/lib/mono/gac/Mono.Cecil -name Mono.Cecil.dll | sort -V | tail -n 1)
mcs -out:/tmp/restamp.exe -r:"$cecil" /run/recipe/Restamp.cs
while read -r file; do mono /tmp/restamp.exe "$file"; done </tmp/made
