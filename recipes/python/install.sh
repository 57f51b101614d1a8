# Installs what a project depends on with uv, by the first of the files that is there: requirements.txt, uv.lock, pylock.toml,
# locked-requirements.txt (which microbuild makes of the locks of Poetry, PDM and Pipenv), pyproject.toml, setup.py. Groups and extras
# stay out, unless uv-options names them. The project itself is not installed, unless requirements.txt asks for that: it lies in /app
# or /app/src, and microbuild made its metadata in own-metadata.
# Given: these files in the work folder; UV_OFFLINE=1 with --offline; TARGET for another processor: CPU-LIBC, such as aarch64-musl;
# wants-find-library where the app calls find_library.
# Leaves: site-packages.
# shellcheck shell=sh
set -e
# shellcheck source=recipes/shared/tool.sh
. /run/recipe/tool.sh

export UV_CACHE_DIR=/root/.cache/uv UV_LINK_MODE=copy UV_NO_PROGRESS=1 UV_PREVIEW_FEATURES=pylock
export UV_PYTHON=/usr/bin/python3 UV_PYTHON_DOWNLOADS=never PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
# What is compiled would tell the random names of the folders in which uv compiles.
export CFLAGS=-g0 CXXFLAGS=-g0

# Sets platform to uv's name of what the packages are for, which is empty for this machine. Its names of glibc end with version 2.40.
target() {
    platform=
    case ${TARGET:-} in
        '') return ;;
        x86_64-glibc | aarch64-glibc)
            minor=$(python3 -c 'import os; print(min(int(os.confstr("CS_GNU_LIBC_VERSION").split(".")[1]), 40))')
            platform=${TARGET%-*}-manylinux_2_$minor
            ;;
        x86_64-musl | aarch64-musl) platform=${TARGET%-*}-unknown-linux-musl ;;
        riscv64-glibc) platform=riscv64-unknown-linux ;;
        *)
            echo "uv installs for other processors amd64, arm64, and riscv64 with glibc, but not for ${TARGET%-*} with ${TARGET#*-}" >&2
            exit 1
            ;;
    esac
}

# Puts uv on PATH: the wheel that [tools] names, which pip fetches, and the cache keeps. The programs in wheels for musl need no library.
get_uv() {
    machine=$(uname -m)
    tool "uv-$machine"
    wheel=$UV_CACHE_DIR/tool/uv-$version-$machine.whl
    if ! [ -e "$wheel" ]; then
        if [ "${UV_OFFLINE:-}" ]; then
            echo "uv $version is not in the cache, and the network was disabled" >&2
            exit 1
        fi
        case $machine in ppc64le | s390x) tag=manylinux_2_17_$machine ;; *) tag=musllinux_1_1_$machine ;; esac
        mkdir -p "$UV_CACHE_DIR/tool"
        folder=$(mktemp -d "$UV_CACHE_DIR/tool/new.XXXXXX")
        # The bytes are compared with what [tools] has: that is all that counts.
        python3 -m pip download -q --no-cache-dir --no-deps --only-binary=:all: "--platform=$tag" -d "$folder" "uv==$version"
        (verify "uv $version" "$folder"/*.whl "$sum") || { rm -r "$folder" && exit 1; }
        mv "$folder"/*.whl "$wheel"
        rm -r "$folder"
    fi
    verify "uv $version" "$wheel" "$sum"
    python3 -m zipfile -e "$wheel" /tmp/uv
    chmod +x /tmp/uv/uv-*.data/scripts/uv
    PATH=$(echo /tmp/uv/uv-*.data/scripts):$PATH
}

# Writes what uv.lock says to the file $1: pylock.toml or requirements.txt. Mostly of the project's files only pyproject.toml is here, so
# that uv cannot find a version or dependencies that programs tell; then the lock counts as it is. The lock is compared with the indexes
# that it was made with.
export_lock() {
    what="--no-dev --no-editable --no-emit-project --no-header --no-annotate $options"
    # shellcheck disable=SC2086 # words
    if ! env -u UV_DEFAULT_INDEX -u UV_INDEX uv export -q --locked $what -o "$1" 2>/tmp/said; then
        if grep -q 'needs to be updated' /tmp/said; then
            cat /tmp/said >&2
            exit 1
        fi
        uv export -q --frozen $what -o "$1"
    fi
}

install() {
    if [ -z "$platform" ]; then
        uv pip install --target=site-packages "$@"
    elif ! uv pip install --target=site-packages "--python-platform=$platform" --only-binary=:all: "$@" 2>/tmp/wheels; then
        # A package without wheels may be pure Python, which this machine can build for any other; uv refuses a wheel for this one.
        if uv pip install --target=site-packages "--python-platform=$platform" "$@" >/tmp/said 2>&1; then
            cat /tmp/said >&2
        else
            cat /tmp/wheels >&2
            exit 1
        fi
    else
        cat /tmp/wheels >&2
    fi
}

# A file with one of the hashes is the right one, whichever index has it. Packages of Git and of the project have none.
install_locked() {
    hashes=--require-hashes
    if grep -v -e '--hash=' -e '^--' "$1" | grep -q .; then hashes=; fi
    install --no-deps ${hashes:+"$hashes"} --index-strategy=unsafe-best-match -r "$1"
}

target
settings=$(python3 /run/recipe/indexes.py)
eval "$settings"
options=
if [ -e uv-options ]; then options=$(cat uv-options); fi
if [ -e requirements.txt ] || [ -e pyproject.toml ] || [ -e locked-requirements.txt ] || [ -e pylock.toml ] || [ -e setup.py ]; then get_uv; fi
if [ -e requirements.txt ]; then
    install -r requirements.txt
elif [ -e uv.lock ]; then
    # The lock has the address of each file, in whichever index it is; an index that the user names stands for those.
    if [ "${UV_DEFAULT_INDEX:-}" ]; then
        export_lock locked-requirements.txt
        install_locked locked-requirements.txt
    else
        # Folders of the project are relative to it.
        export_lock pylock.toml
        install -r pylock.toml
    fi
elif [ -e pylock.toml ]; then
    install -r pylock.toml
elif [ -e locked-requirements.txt ]; then
    install_locked locked-requirements.txt
elif [ -e pyproject.toml ] && python3 -c 'import sys, tomllib; sys.exit("project" not in tomllib.load(open("pyproject.toml", "rb")))'; then
    # shellcheck disable=SC2086 # words
    install -r pyproject.toml $options
elif [ -e setup.py ]; then
    install -r setup.py
fi

if [ -e own-metadata ]; then
    mkdir -p site-packages
    cp -R own-metadata/. site-packages/
fi
# The app's own file of that name would be imported instead.
if [ -e wants-find-library ] && ! [ -e sitecustomize.py ] && ! [ -e src/sitecustomize.py ]; then
    mkdir -p site-packages
    cp /run/recipe/sitecustomize.py site-packages/
fi
