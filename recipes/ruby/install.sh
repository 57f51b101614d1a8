# Installs the gems of Gemfile.
# Given: further options of `bundle install`; BUNDLE_FROZEN=true when Gemfile.lock counts.
# Leaves: bundle, where GEM_HOME is; the gems themselves in BUNDLE_CACHE_PATH, for --local.
# shellcheck shell=sh
set -e

bundle install "$@"
bundle cache --quiet --no-install
# Gems' programs are to be run by Ruby and not by env(1), which the image does not have.
for program in bundle/bin/*; do
    if [ -f "$program" ]; then sed -i '1s|^#!/usr/bin/env ruby.*|#!/usr/bin/ruby|' "$program"; fi
done
