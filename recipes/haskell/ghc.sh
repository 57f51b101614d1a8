# For scripts that read this with `.`, and for `microbuild dev`: makes GHC find the packages that are installed. Debian's scripts, which do
# not run here, would have made the index that it looks into.
# Leaves: ghc and ghc-pkg on PATH, with an index in /tmp/ghc where the installed one lacks it.
# shellcheck shell=sh

libdir=$(ghc --print-libdir)
if [ ! -e "$libdir/package.conf.d/package.cache" ]; then
    mkdir /tmp/bin /tmp/ghc
    for program in ghc ghc-pkg; do
        sed "s|^topdir=.*|topdir=/tmp/ghc|" "/usr/bin/$program" >"/tmp/bin/$program"
    done
    chmod +x /tmp/bin/*
    export PATH="/tmp/bin:$PATH"
    ln -s "$libdir"/* /tmp/ghc
    rm /tmp/ghc/package.conf.d
    cp -RL "$libdir/package.conf.d" /tmp/ghc
    ghc-pkg recache
fi
