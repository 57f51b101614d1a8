# Installs dependencies with npm: `npm.sh ci` by the lock file, `npm.sh install --no-package-lock` without one.
# Given: package.json, a lock file, and the whole project where it has install scripts of its own (OWN_SCRIPTS); further options of
# npm; DEVELOPMENT when packages for development are wanted, too.
# Leaves: node_modules.
# shellcheck shell=sh
set -e
# shellcheck source=recipes/shared/tool.sh
. /run/recipe/tool.sh

# npm 9 knows no other processor than its own.
case " $* $(npm --version)" in
    *" --os="*" "[0-9].*)
        tool npm
        npm_tool npm "$version" "$sum"
        ;;
esac
how=$1
shift
case " $* " in *" --ignore-scripts "*) OWN_SCRIPTS= ;; esac
if [ "${DEVELOPMENT:-}" ]; then
    npm "$how" "$@"
elif [ -z "${OWN_SCRIPTS:-}" ]; then
    npm "$how" --omit=dev "$@"
else
    # The project's own scripts may call programs of packages for development, or change what is installed.
    npm "$how" "$@"
    npm prune --omit=dev --ignore-scripts "$@"
fi
# What is for another processor is for another C library, too, where it has to be.
case " $* " in *" --libc="*) ;; *) node /run/recipe/prune.js . ;; esac
