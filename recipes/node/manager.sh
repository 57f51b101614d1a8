# For scripts that read this with `.`: fetches the package manager of a project, and puts it on PATH.
#   get_pnpm    pnpm in the version that "packageManager" in package.json names; else one that reads the lock file
#   get_yarn    Yarn: 1 where the lock is its, else the version (of 4 and later) that "packageManager" names, or that of [tools];
#               sets yarn to 1 or 4
#   get_bun     Bun in the version that "packageManager" or "engines" names, or that of [tools]
# shellcheck shell=sh
# shellcheck disable=SC2034,SC2154 # tool.sh sets version, sum and asked; yarn.sh uses yarn
# shellcheck source=recipes/shared/tool.sh
. /run/recipe/tool.sh

get_pnpm() {
    tool pnpm
    # Each format of the lock has its versions of pnpm, and the next one asks for another lock.
    case $(sed -n "s/^lockfileVersion: *'\{0,1\}\([0-9.]*\).*/\1/p" pnpm-lock.yaml) in
        5.*) version=7.33.7 sum= ;;
        6.*) version=8.15.9 sum= ;;
    esac
    asked pnpm
    npm_tool pnpm "$version" "$sum"
    # Links to programs instead of scripts for a shell, so that node can start them.
    export npm_config_prefer_symlinked_executables=true pnpm_config_prefer_symlinked_executables=true
}

get_yarn() {
    # Since version 2 the lock has __metadata.
    if ! grep -q ^__metadata: yarn.lock; then
        yarn=1
        tool yarn
        npm_tool yarn "$version" "$sum"
        return
    fi
    yarn=4
    tool @yarnpkg/cli-dist
    theirs=
    asked yarn
    case $asked in
        [4-9]*) theirs=$sum sum= ;;
        *) tool @yarnpkg/cli-dist ;;
    esac
    npm_tool @yarnpkg/cli-dist "$version" "$sum"
    # The sum in package.json is that of the program, since Corepack fetches it alone.
    verify "yarn@$version" /tmp/tools/node_modules/@yarnpkg/cli-dist/bin/yarn.js "$theirs"
}

get_bun() {
    bun=@oven/bun-linux-$(node -p 'process.arch.replace("arm64", "aarch64")')
    for loader in /lib/ld-musl-*; do if [ -e "$loader" ]; then bun=$bun-musl; fi; done
    case $bun in *-x64*) bun=$bun-baseline ;; esac
    tool "$bun"
    asked bun engines
    # The sum in package.json would be that of another package, which fetches this one.
    if [ "$asked" ]; then sum=; fi
    npm_tool "$bun" "$version" "$sum"
    export PATH="/tmp/tools/node_modules/$bun/bin:$PATH"
}

# Fetches the manager that wrote the lock file; npm is there.
get_manager() {
    if [ -e pnpm-lock.yaml ]; then
        get_pnpm
    elif [ -e yarn.lock ]; then
        get_yarn
    elif [ -e bun.lock ] || [ -e bun.lockb ]; then
        get_bun
    fi
}
