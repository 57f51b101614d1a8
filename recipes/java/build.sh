# Builds an app for the JVM: with Maven, with Gradle, or of plain source files; or takes the jar that there is instead.
# Given: the app as the work folder; what maven.sh, gradle.sh and finish.sh are given.
# Leaves: classes, lib, jre and java.args in $OUT.
# shellcheck shell=sh
set -e

# shellcheck source=recipes/java/start.sh
. /run/recipe/start.sh
if [ -e pom.xml ]; then
    # shellcheck source=recipes/java/maven.sh
    . /run/recipe/maven.sh
elif [ -e build.gradle ] || [ -e build.gradle.kts ] || [ -e settings.gradle ] || [ -e settings.gradle.kts ]; then
    # shellcheck source=recipes/java/gradle.sh
    . /run/recipe/gradle.sh
elif [ -z "$(find . -name '*.java' ! -path './src/test/*' ! -path './test/*')" ]; then
    # shellcheck source=recipes/java/package.sh
    . /run/recipe/package.sh
    set -- *.jar *.war
    for file; do shift; if [ -e "$file" ]; then set -- "$@" "$file"; fi; done
    if [ $# != 1 ]; then echo "expected source files, or one jar at the top of the folder, found: $*" >&2; exit 1; fi
    take_archive "$1"
    # A jar may name others beside it, in its manifest.
    if [ -d lib ]; then cp -r lib/. "$OUT/lib"; fi
else
    if [ -e lib ]; then cp -r lib/. "$OUT/lib"; fi
    if [ -e src/main/resources ]; then cp -r src/main/resources/. "$OUT/classes"; fi
    find . -name '*.java' ! -path './src/test/*' ! -path './test/*' -exec javac -encoding UTF-8 -cp 'lib/*' -d "$OUT/classes" {} +
fi
# shellcheck source=recipes/java/finish.sh
. /run/recipe/finish.sh
