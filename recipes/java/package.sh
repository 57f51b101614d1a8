# For scripts that read this with `.`: takes what a build packaged.
#   take FOLDER                 takes the result of the module in FOLDER
#   take_archive FILE           takes a jar or war that starts by itself
#   manifest FILE, is_of_boot FILE, main_classes FOLDER   tell of an archive, or of classes
# Leaves: what was compiled in $OUT/classes, the jars of dependencies in $OUT/lib, manifests in /tmp/manifests; or an archive in $OUT, and in
# /tmp/start the words that start it.
#
# Spring Boot's plugin leaves development tools and what is excluded out of its jar: its libraries are those of that jar, and not all that
# Maven knows.
# shellcheck shell=sh

manifest() { unzip -p "$1" META-INF/MANIFEST.MF 2>/dev/null | tr -d '\r'; }
is_of_boot() { manifest "$1" | grep -q '^Start-Class:'; }

main_classes() {
    find "$1" -name '*.class' -exec javap -public {} + | awk '
        / class / { for (i = 1; i < NF; i++) if ($i == "class") name = $(i + 1) }
        / static .*void main\(java\.lang\.String(\[\]|\.\.\.)\)/ { print name }'
}

take() {
    if [ -e "$1/target/quarkus-app/quarkus-run.jar" ]; then
        cp -r "$1/target/quarkus-app/." "$OUT"
        echo "-jar quarkus-run.jar" >/tmp/start
        return
    fi
    archives "$1" >/tmp/archives
    while read -r file; do
        case $file in
            *.war)
                if is_of_boot "$file"; then take_archive "$file"; return; fi
                echo "expected an app that starts by itself, found a war: a server such as Tomcat runs it, and no package of the base is one." >&2
                echo "Spring Boot's Maven plugin makes a war that starts, and Jetty or Tomcat can be embedded" >&2
                exit 1 ;;
            *) if is_of_boot "$file"; then take_boot "$file"; return; fi ;;
        esac
    done </tmp/archives
    if [ -d "$1/target/dependency" ]; then cp -r "$1/target/dependency/." "$OUT/lib"; fi
    cp -r "$1/target/classes/." "$OUT/classes"
    while read -r file; do manifest "$file"; done </tmp/archives >>/tmp/manifests
    if ! grep -q '^Main-Class:' /tmp/manifests; then
        sed -n 's|.*<\(mainClass\|exec\.mainClass\|main\.class\|start-class\)> *\([A-Za-z0-9_.$]*\) *</.*|Main-Class: \2|p' "$1/pom.xml" >>/tmp/manifests
    fi
}

take_boot() {
    mkdir /tmp/boot
    unzip -q "$1" 'BOOT-INF/*' -d /tmp/boot
    cp -r /tmp/boot/BOOT-INF/classes "$OUT"
    if [ -d /tmp/boot/BOOT-INF/lib ]; then cp -r /tmp/boot/BOOT-INF/lib "$OUT"; fi
    rm -f "$OUT"/lib/spring-boot-jarmode-*.jar
    manifest "$1" >>/tmp/manifests
}

take_archive() {
    cp "$1" "$OUT/app.${1##*.}"
    echo "-jar app.${1##*.}" >/tmp/start
}
