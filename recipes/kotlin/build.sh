# Builds a Kotlin app: with Maven, with Gradle, or of plain source files, which Maven builds too.
# Given: the app as the work folder; what maven.sh, gradle.sh and finish.sh are given.
# Leaves: classes, lib, jre and java.args in $OUT.
# shellcheck shell=sh
set -e
# shellcheck source=recipes/shared/tool.sh
. /run/recipe/tool.sh

# shellcheck source=recipes/java/start.sh
. /run/recipe/start.sh
gradle=$(find . -maxdepth 1 '(' -name '*.gradle' -o -name '*.gradle.kts' ')')
if [ -z "$gradle" ] && [ ! -e pom.xml ]; then
    for sources in src/main/kotlin src .; do if [ -e "$sources" ]; then break; fi; done
    tool org.jetbrains.kotlin:kotlin-maven-plugin
    sed -e "s|SOURCES|$sources|" -e "s|VERSION|$version|" /run/recipe/pom.xml > pom.xml
fi
if [ -e pom.xml ]; then
    # shellcheck source=recipes/java/maven.sh
    . /run/recipe/maven.sh
else
    # shellcheck source=recipes/java/gradle.sh
    . /run/recipe/gradle.sh
fi
# shellcheck source=recipes/java/finish.sh
. /run/recipe/finish.sh
