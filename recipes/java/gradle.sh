# For scripts that read this with `.`: builds with Gradle, by the project's own wrapper where it has one.
# Given: a Gradle build in the work folder; OFFLINE, --offline or nothing.
# Leaves: as microbuild.gradle says.
# shellcheck shell=sh

gradle=gradle; if [ -e gradlew ]; then gradle="sh ./gradlew"; fi
# shellcheck disable=SC2086 # the wrapper is two words, and OFFLINE may be none
$gradle --no-daemon --console=plain $OFFLINE --init-script /run/recipe/microbuild.gradle microbuild
