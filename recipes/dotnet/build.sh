# Publishes the .NET project at the top of the work folder, or the only program among those below it.
# Given: the app as the work folder.
# Leaves: the result of `dotnet publish` in $OUT, and app.dll there as a link to the program.
# shellcheck shell=sh
set -e

set -- *.[cfv][sb]proj
if [ ! -e "$1" ]; then
    # The program of a solution: a project for the web, or one whose output is a program. Projects for tests are programs, too.
    find . -name '*.[cfv][sb]proj' ! -path '*/bin/*' ! -path '*/obj/*' | sort | while read -r file; do
        if grep -qE 'Sdk="Microsoft\.NET\.Sdk\.(Web|Worker)"|<OutputType>(Exe|WinExe)<' "$file" &&
            ! grep -qE 'Microsoft\.NET\.Test\.Sdk|<IsTestProject>true<' "$file"; then echo "$file"; fi
    done >/tmp/meant
    IFS='
'
    # shellcheck disable=SC2046 # one word for each line
    set -- $(cat /tmp/meant)
    unset IFS
fi
if [ $# != 1 ]; then
    echo "expected one project that is a program, found: $*; build the folder of the one that is meant" >&2
    exit 1
fi
dotnet publish "$1" --configuration Release --output "$OUT" --self-contained false \
    -p:UseAppHost=false -p:ContinuousIntegrationBuild=true -p:DebugType=none
cd "$OUT"
set -- *.runtimeconfig.json
if [ $# != 1 ] || [ ! -e "$1" ]; then echo "expected a program, found: $(ls)" >&2; exit 1; fi
# dotnet follows the link app.dll, and looks for hello.runtimeconfig.json where hello.dll is.
name=${1%.runtimeconfig.json}
if [ "$name" != app ]; then ln -s "$name.dll" app.dll; fi
