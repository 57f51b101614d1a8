# For scripts that read this with `.`: makes the runtime, and the file with the start arguments.
# Given: $OUT/classes and $OUT/lib, filled; manifests in /tmp/manifests; or, in /tmp/start, the words that start what else is in $OUT;
# ADD_MODULES, further modules of the JDK, by commas.
# Leaves: $OUT/jre and $OUT/java.args; $OUT is the work folder then.
#
# jdeps looks at classes outside of their modules, whose optional dependencies need not be there. What it cannot see is added: TLS, what
# is used by reflection and as a service, what used.sh finds, and the modules in ADD_MODULES. Spring Boot's jars name the main class as
# Start-Class; without any manifest that names one, it is the only class that has a main method.
# shellcheck shell=sh
# shellcheck source=recipes/java/package.sh
. /run/recipe/package.sh
# shellcheck source=recipes/java/used.sh
. /run/recipe/used.sh

cd "$OUT" || exit 1
unpack() { mkdir -p "$2"; unzip -qo "$1" '*.class' '*.jar' -d "$2" 2>/tmp/unzip || [ $? = 11 ]; }
find . -name '*.jar' -o -name '*.war' | while read -r archive; do unpack "$archive" "/tmp/all/$archive.d"; done
if [ -d /tmp/all ]; then
    # The jars in jars that start by themselves.
    find /tmp/all -type f -name '*.jar' | while read -r jar; do unpack "$jar" "$jar.d"; done
fi
mkdir -p /tmp/all
cp -r classes /tmp/all/
find /tmp/all -name module-info.class -delete
modules=$(jdeps -q --print-module-deps --ignore-missing-deps --multi-release base /tmp/all)
case $modules in *java.management*) modules=$modules,jdk.management ;; esac
case $modules in *java.naming*) modules=$modules,jdk.naming.dns ;; esac
jlink --strip-java-debug-attributes --no-header-files --no-man-pages --output jre \
    --add-modules "$modules,jdk.crypto.ec,jdk.unsupported,jdk.zipfs$(used_modules)${ADD_MODULES:+,$ADD_MODULES}"
java /run/recipe/Trust.java /etc/ssl/certs/ca-certificates.crt jre/lib/security/cacerts

named() { tr -d '\r' < /tmp/manifests | sed -e :a -e '$!N; s/\n //; ta' -e 'P; D' | sed -n "s/^$1: //p" | sort -u; }
if [ -e /tmp/start ]; then
    cp /tmp/start java.args
else
    main=$(named Start-Class)
    if [ -z "$main" ]; then main=$(named Main-Class); fi
    if [ -z "$main" ]; then main=$(main_classes classes); fi
    # shellcheck disable=SC2086 # one word for each class
    set -- $main
    if [ $# != 1 ]; then echo "expected one main class, named by the build or with a main method, found: $*" >&2; exit 1; fi
    echo "-cp classes$(find lib -name '*.jar' | sort | sed 's/^/:/' | tr -d '\n') $main" > java.args
fi
rmdir classes lib 2> /dev/null || true
