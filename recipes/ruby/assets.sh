# Makes the assets of a Rails app.
# Given: the app as the work folder, with its gems.
# Leaves: public/assets. Rails wants a secret to start with, which assets do not depend on; it is in no image.
# shellcheck shell=sh
set -e

SECRET_KEY_BASE_DUMMY=1 SECRET_KEY_BASE=none ruby bin/rails assets:precompile
# The times of when they were made.
find public/assets -name '*.gz' -exec sh -c 'for file; do gzip -dc "$file" | gzip -n9 >"$file.new" && mv "$file.new" "$file"; done' sh {} +
