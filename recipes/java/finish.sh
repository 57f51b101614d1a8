# For scripts that read this with `.`: makes the runtime, and the file with the start arguments.
# Given: $OUT/classes and $OUT/lib, filled; manifests in /tmp/manifests; ADD_MODULES, further modules of the JDK, by commas.
# Leaves: $OUT/jre and $OUT/java.args; $OUT is the work folder then.
#
# jdeps looks at classes outside of their modules, whose optional dependencies need not be there. What it cannot see is added: TLS, what
# is used by reflection and as a service, and the modules in ADD_MODULES. Spring Boot's jars name the main class as Start-Class; without
# any manifest that names one, it is the only class that has a main method.
# shellcheck shell=sh

cd "$OUT" || exit 1
for jar in lib/*.jar; do
    if [ -e "$jar" ]; then mkdir -p "/tmp/all/$jar"; unzip -qo "$jar" '*.class' -d "/tmp/all/$jar" || [ $? = 11 ]; fi
done
cp -r classes /tmp/all/
find /tmp/all -name module-info.class -delete
modules=$(jdeps -q --print-module-deps --ignore-missing-deps --multi-release base /tmp/all)
case $modules in *java.management*) modules=$modules,jdk.management ;; esac
case $modules in *java.naming*) modules=$modules,jdk.naming.dns ;; esac
jlink --strip-java-debug-attributes --no-header-files --no-man-pages --output jre \
    --add-modules "$modules,jdk.crypto.ec,jdk.unsupported,jdk.zipfs${ADD_MODULES:+,$ADD_MODULES}"
java /run/recipe/Trust.java /etc/ssl/certs/ca-certificates.crt jre/lib/security/cacerts

named() { tr -d '\r' < /tmp/manifests | sed -e :a -e '$!N; s/\n //; ta' -e 'P; D' | sed -n "s/^$1: //p" | sort -u; }
main=$(named Start-Class)
if [ -z "$main" ]; then main=$(named Main-Class); fi
if [ -z "$main" ]; then
    main=$(find classes -name '*.class' -exec javap -public {} + | awk '
        / class / { for (i = 1; i < NF; i++) if ($i == "class") name = $(i + 1) }
        / static .*void main\(java\.lang\.String(\[\]|\.\.\.)\)/ { print name }')
fi
# shellcheck disable=SC2086 # one word for each class
set -- $main
if [ $# != 1 ]; then echo "expected one main class, named by the build or with a main method, found: $*" >&2; exit 1; fi
echo "-cp classes$(find lib -name '*.jar' | sort | sed 's/^/:/' | tr -d '\n') $main" > java.args
rmdir classes lib 2> /dev/null || true
