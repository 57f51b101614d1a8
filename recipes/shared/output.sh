# For scripts that read this with `.`: builds an app, and leaves what an image needs of it.
#   build    runs the command line BUILD
#   leave    copies the parts of the result that OUTPUT names to $OUT. Each line of OUTPUT is a path, a tab, and its path in the image;
#            a tab and ? behind that for a part that may be missing; or a plus for every file that `build` wrote
# shellcheck shell=sh

build() {
    touch /tmp/started
    sh -ec "$BUILD"
}

leave() {
    tab=$(printf '\t')
    printf '%s' "$OUTPUT" | while IFS=$tab read -r from to missing; do
        if [ "$from" = + ]; then
            leave_new
        else
            leave_path "$from" "$to" "$missing"
        fi
    done
}

# Caches and what package managers installed are nothing that was built.
leave_new() {
    find . \( -name node_modules -o -name .cache -o -path ./.next/cache -o -name .git \) -prune -o \
        \( -type f -o -type l \) -newer /tmp/started -print >/tmp/new
    while read -r file; do
        mkdir -p "$OUT/${file%/*}"
        cp -a "$file" "$OUT/$file"
    done </tmp/new
}

# The path $1, as $2; with ? in $3 it may be missing. A path with * stands for several.
leave_path() {
    found=
    for path in $1; do
        if ! [ -e "$path" ]; then continue; fi
        found=1
        target=$2
        if [ "$1" != "$path" ]; then target=$path; fi
        if [ -d "$path" ]; then
            mkdir -p "$OUT/$target"
            cp -a "$path/." "$OUT/$target"
        else
            mkdir -p "$(dirname "$OUT/$target")"
            cp -a "$path" "$OUT/$target"
        fi
    done
    if [ -z "$found" ] && [ -z "$3" ]; then
        echo "the build left no $1: --build-output PATH, or [build] output in microbuild.toml, names what it makes" >&2
        exit 1
    fi
}
