# Builds a Clojure app with Leiningen, with the profile uberjar.
# Given: the app as the work folder; OFFLINE, ",offline" or nothing; what finish.sh is given.
# Leaves: app.jar, lib, jre and java.args in $OUT.
# shellcheck shell=sh
set -e

# shellcheck source=recipes/java/start.sh
. /run/recipe/start.sh
lein with-profile "uberjar$OFFLINE" "do" jar, classpath /tmp/classpath
unzip -q "$(find target -name '*.jar')" -d "$OUT/classes"
tr : '\n' < /tmp/classpath | while read -r jar || [ "$jar" ]; do if [ -f "$jar" ]; then cp "$jar" "$OUT/lib"; fi; done

# The namespace that :main names is a class where it was compiled ahead of time (:gen-class, and :aot of the profile
# uberjar). Else clojure.main runs it, and the modules that its source uses are unknown.
namespace=
mv "$OUT/classes/META-INF/MANIFEST.MF" /tmp/manifests
rm -rf "$OUT/classes/META-INF/leiningen"
main=$(sed -n 's/^Main-Class: \([^\r]*\)\r*$/\1/p' /tmp/manifests)
if [ ! -e "$OUT/classes/$(echo "$main" | tr . /).class" ]; then
    namespace=" -m $(echo "$main" | tr _ -)"
    echo "Main-Class: clojure.main" > /tmp/manifests
    ADD_MODULES=java.management,java.naming,java.net.http,java.prefs,java.security.jgss,java.sql,java.xml.crypto,jdk.httpserver
fi
# shellcheck source=recipes/java/finish.sh
. /run/recipe/finish.sh

# Clojure takes a compiled namespace only if it is newer than its source, which may be in another jar; in an image all files are of
# the same age.
cd classes
find . -name '*__init.class' | sed 's/__init.class$//' | while read -r name; do rm -f "$name.clj" "$name.cljc"; done
find . -type f | sort > /tmp/files
jar --create --file ../app.jar --date=2099-12-31T23:59:58Z @/tmp/files
cd ..
rm -r classes
sed -i "s/^-cp classes\(.*\)/-cp app.jar\1$namespace/" java.args
