# Installs the packages of composer.json.
# Given: further options of `composer install`.
# Leaves: vendor, the same every time: Composer would give its classes random names, others in every build. It finds no scripts of the
# project beside its two files, so it runs none.
# shellcheck shell=sh
set -e

composer config --global autoloader-suffix "$(cat composer.* | sha256sum | cut -c1-32)"
composer install --no-dev --no-scripts --no-progress --optimize-autoloader "$@"
