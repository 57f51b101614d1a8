# For scripts that read this with `.`: finds the module of a Maven build that is the app.
#   choose_module               sets module to its folder
# Given: a build in the work folder; MAVEN_MODULE, the folder that is meant, or nothing.
#
# The modules that a plugin made startable count first (Quarkus, Spring Boot, a manifest with a main class), then a war, then those with a
# class that has a main method.
# shellcheck shell=sh

choose_module() {
    module=$MAVEN_MODULE
    if [ "$module" ]; then return; fi
    # The copies of the dependencies would look like modules.
    find . -name pom.xml ! -path '*/target/*' ! -path '*/src/*' | sed 's|/pom.xml$||' | sort | while read -r folder; do
        if [ -d "$folder/target" ]; then echo "$folder"; fi
    done >/tmp/modules
    for kind in quarkus boot manifest war main any; do
        while read -r folder; do
            if "is_$kind" "$folder"; then echo "$folder"; fi
        done </tmp/modules >/tmp/found
        if [ -s /tmp/found ]; then break; fi
    done
    case $(wc -l </tmp/found) in
        0) echo "expected a module with classes, found none" >&2; exit 1 ;;
        1) module=$(cat /tmp/found) ;;
        *)
            echo "expected one module that is an app, found $(tr '\n' ' ' </tmp/found); MAVEN_MODULE=FOLDER in the environment says which" >&2
            exit 1 ;;
    esac
}

is_quarkus() { [ -e "$1/target/quarkus-app/quarkus-run.jar" ]; }
is_boot() { archives "$1" | while read -r file; do if is_of_boot "$file"; then echo x; fi; done | grep -q x; }
is_manifest() { archives "$1" | while read -r file; do manifest "$file"; done | grep -q '^Main-Class:'; }
is_war() { archives "$1" | grep -q '\.war$'; }
is_main() { [ -d "$1/target/classes" ] && [ "$(main_classes "$1/target/classes")" ]; }
is_any() { [ -d "$1/target/classes" ]; }

# The archives that a module made, without those of its sources and tests.
archives() {
    for file in "$1"/target/*.jar "$1"/target/*.war; do
        case $file in
            *-sources.jar | *-javadoc.jar | *-tests.jar) ;;
            *) if [ -e "$file" ]; then echo "$file"; fi ;;
        esac
    done
}
