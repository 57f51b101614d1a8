# Builds a project of C or C++: by CMake, Meson, configure or make; or else of the sources at the top of the work folder.
# Given: the app as the work folder; CFLAGS, CXXFLAGS, LDFLAGS; BINARY, the name of the program; PROGRAM, another name than app.
# Leaves: in $OUT what was installed below the work folder, which is the prefix, or else the programs that were built; app there is a
# link to the only program. Tests are neither built nor installed where the app's files can be told so.
# shellcheck shell=sh
set -e
# shellcheck source=recipes/shared/one-program.sh
. /run/recipe/one-program.sh

if [ -e CMakeLists.txt ]; then
    # shellcheck disable=SC2086 # CMAKE_ARGS are words
    cmake -S . -B /tmp/build -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$PWD" -DBUILD_TESTING=OFF $CMAKE_ARGS
    cmake --build /tmp/build
    DESTDIR=/tmp/root cmake --install /tmp/build
elif [ -e meson.build ]; then
    meson setup --buildtype=release --prefix="$PWD" --libdir=lib --wrap-mode=nodownload /tmp/build
    meson compile -C /tmp/build
    DESTDIR=/tmp/root meson install -C /tmp/build --no-rebuild
elif [ -e configure.ac ] || [ -e configure ] || [ -e Makefile ] || [ -e makefile ] || [ -e GNUmakefile ]; then
    if [ ! -e configure ] && [ -e configure.ac ]; then autoreconf --force --install; fi
    if [ -e configure ]; then sh ./configure --prefix="$PWD"; fi
    make -j"$(nproc)" PREFIX="$PWD" prefix="$PWD"
    if make -n install >/tmp/install 2>&1; then make install DESTDIR=/tmp/root PREFIX="$PWD" prefix="$PWD"; fi
else
    compiler=gcc flags=$CFLAGS
    set --
    for file in *; do
        case $file in
            *.c) ;;
            *.C | *.c++ | *.cc | *.cpp | *.cxx) compiler=g++ flags=$CXXFLAGS ;;
            *) continue ;;
        esac
        set -- "$@" "$file"
    done
    # shellcheck disable=SC2086 # flags are words
    "$compiler" $flags $CPPFLAGS -pthread -o "${PROGRAM:-app}" "$@" $LDFLAGS -lm
fi

# What was installed; or else the programs that there are now.
programs() {
    find "$@" '(' -name CMakeFiles -o -name 'meson-*' ')' -prune -o -type f -perm -u=x ! -name '*.so*' -print | sort |
        while read -r file; do if readelf -h "$file" >/tmp/header 2>&1; then echo "$file"; fi; done
}
if [ -d "/tmp/root$PWD" ]; then
    cp -a "/tmp/root$PWD/." "$OUT"
else
    mkdir -p /tmp/build
    programs . /tmp/build | while read -r file; do cp "$file" "$OUT"; done
fi
find "$OUT" -type f '(' -perm -u=x -o -name '*.so*' ')' | while read -r file; do
    if readelf -h "$file" >/tmp/header 2>&1; then strip --strip-unneeded "$file"; fi
done

# ./app is the only program, wherever it lies and whatever its name is.
source=$PWD
cd "$OUT"
folder=.; if [ -d bin ]; then folder=bin; fi
IFS='
'
# shellcheck disable=SC2046 # one word for each line
one_program "${PROGRAM:-app}" "$source" $(programs "$folder")
