# Publishes the .NET project at the top of the work folder.
# Given: the app as the work folder.
# Leaves: the result of `dotnet publish` in $OUT, and app.dll there as a link to the program.
# shellcheck shell=sh
set -e

set -- *.[cfv][sb]proj
if [ $# != 1 ]; then echo "expected one project at the top of the folder, found: $*" >&2; exit 1; fi
dotnet publish "$1" --configuration Release --output "$OUT" --self-contained false \
    -p:UseAppHost=false -p:ContinuousIntegrationBuild=true -p:DebugType=none
cd "$OUT"
set -- *.runtimeconfig.json
if [ $# != 1 ] || [ ! -e "$1" ]; then echo "expected a program, found: $(ls)" >&2; exit 1; fi
# dotnet follows the link app.dll, and looks for hello.runtimeconfig.json where hello.dll is.
name=${1%.runtimeconfig.json}
if [ "$name" != app ]; then ln -s "$name.dll" app.dll; fi
