# Publishes a .NET project: the one at the top of the work folder, or else the only one below that is an app.
# Given: the app as the work folder; DOTNET_PROJECT, the path of the project that is meant, or nothing.
# Leaves: the result of `dotnet publish` in $OUT, and app.dll there as a link to the program.
# shellcheck shell=sh
set -e

# Leaves in $project those of its lines that name a file with the expression $1; all where none has it.
those() {
    some=$(echo "$project" | while read -r file; do if grep -q "$1" "$file"; then echo "$file"; fi; done)
    if [ "$some" ]; then project=$some; fi
}

projects() { find . "$@" -name '*.[cfv][sb]proj' ! -path '*/bin/*' ! -path '*/obj/*' ! -iname '*test*' ! -path '*/node_modules/*'; }

project=$DOTNET_PROJECT
if [ ! "$project" ]; then project=$(projects -maxdepth 1); fi
if [ ! "$project" ]; then
    project=$(projects)
    those '<OutputType>Exe\|Sdk="Microsoft.NET.Sdk.\(Web\|Worker\)"'
    those 'Sdk="Microsoft.NET.Sdk.Web"'
fi
case $project in
    '') echo "expected a project that is an app, found none" >&2; exit 1 ;;
    *'
'*) echo "expected one project that is an app, found: $(echo "$project" | tr '\n' ' '); DOTNET_PROJECT=PATH in the environment says which" >&2; exit 1 ;;
esac
dotnet publish "$project" --configuration Release --output "$OUT" --self-contained false \
    -p:UseAppHost=false -p:ContinuousIntegrationBuild=true -p:DebugType=none
cd "$OUT"
set -- *.runtimeconfig.json
if [ $# != 1 ] || [ ! -e "$1" ]; then echo "expected a program, found: $(ls)" >&2; exit 1; fi
# dotnet follows the link app.dll, and looks for hello.runtimeconfig.json where hello.dll is.
name=${1%.runtimeconfig.json}
if [ "$name" != app ]; then ln -s "$name.dll" app.dll; fi
