# For scripts that read this with `.`: builds with Maven, by the project's own wrapper where it has one.
# Given: pom.xml in the work folder; OFFLINE, --offline or nothing; MAVEN_SETTINGS, the path of a settings file or nothing.
# Leaves: what was compiled in $OUT/classes, the jars of dependencies in $OUT/lib, manifests in /tmp/manifests.
# shellcheck shell=sh
# shellcheck source=recipes/shared/tool.sh
. /run/recipe/tool.sh

tool org.apache.maven.plugins:maven-dependency-plugin
mvn=mvn; if [ -e mvnw ]; then mvn="sh ./mvnw"; fi
# shellcheck disable=SC2086 # the wrapper is two words, and OFFLINE may be none
$mvn -B -ntp $OFFLINE ${MAVEN_SETTINGS:+-s "$MAVEN_SETTINGS"} -Dmaven.test.skip package \
    "$name:$version:copy-dependencies" -DincludeScope=runtime -DoutputDirectory="$OUT/lib"
if [ ! -e target/classes ]; then echo "expected one module, found none in target/classes" >&2; exit 1; fi
cp -r target/classes "$OUT"
for jar in target/*.jar; do unzip -p "$jar" META-INF/MANIFEST.MF >> /tmp/manifests; done
