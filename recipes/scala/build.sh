# Builds a Scala app with sbt, which is fetched by Maven; plain source files with the Scala of [tools].
# Given: the app as the work folder; OFFLINE, --offline or nothing; SBT_OPTS; what finish.sh is given.
# Leaves: classes, lib, jre and java.args in $OUT.
# shellcheck shell=sh
set -e
# shellcheck source=recipes/shared/tool.sh
. /run/recipe/tool.sh

# shellcheck source=recipes/java/start.sh
. /run/recipe/start.sh
if [ ! -e build.sbt ]; then
    tool org.scala-lang:scala3-compiler
    echo "scalaVersion := \"$version\"" > build.sbt
fi
tool org.apache.maven.plugins:maven-dependency-plugin
plugin=$name:$version
tool org.scala-sbt:sbt-launch
# shellcheck disable=SC2086 # OFFLINE may be none
mvn -B -ntp -q $OFFLINE "$plugin:copy" -Dartifact="$name:$version" -DoutputDirectory=/tmp
verify "$name:$version" "/tmp/sbt-launch-$version.jar" "$sum"
# shellcheck disable=SC2086 # SBT_OPTS are words
java $SBT_OPTS -Dsbt.color=false -Dsbt.supershell=false ${OFFLINE:+-Dsbt.offline=true} -jar "/tmp/sbt-launch-$version.jar" \
    package 'export Runtime / fullClasspath' > /tmp/said || { cat /tmp/said; exit 1; }
grep '^/' /tmp/said | tr : '\n' | while read -r path; do
    if [ -d "$path" ]; then cp -r "$path/." "$OUT/classes"; elif [ -e "$path" ]; then cp "$path" "$OUT/lib"; fi
done
find . -path '*/target/*.jar' -exec unzip -p {} META-INF/MANIFEST.MF ';' >> /tmp/manifests
# shellcheck source=recipes/java/finish.sh
. /run/recipe/finish.sh
