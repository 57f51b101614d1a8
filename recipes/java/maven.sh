# For scripts that read this with `.`: builds with Maven, by the project's own wrapper where it has one.
# Given: pom.xml in the work folder; OFFLINE, --offline or nothing; MAVEN_SETTINGS, the path of a settings file or nothing; MAVEN_ARGS;
# MAVEN_MODULE, the folder of the module that is the app.
# Leaves: as modules.sh and package.sh say.
# shellcheck shell=sh
# shellcheck source=recipes/shared/tool.sh
. /run/recipe/tool.sh
# shellcheck source=recipes/java/modules.sh
. /run/recipe/modules.sh
# shellcheck source=recipes/java/package.sh
. /run/recipe/package.sh

tool org.apache.maven.plugins:maven-dependency-plugin
mvn=mvn; if [ -e mvnw ]; then mvn="sh ./mvnw"; fi
# shellcheck disable=SC2086 # the wrapper is two words, and the others may be none
$mvn -B -ntp $OFFLINE ${MAVEN_SETTINGS:+-s "$MAVEN_SETTINGS"} $MAVEN_ARGS ${MAVEN_MODULE:+-pl "$MAVEN_MODULE" -am} -Dmaven.test.skip package \
    "$name:$version:copy-dependencies" -DincludeScope=runtime
choose_module
take "$module"
