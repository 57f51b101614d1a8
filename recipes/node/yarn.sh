# Installs dependencies with Yarn: 1 where the lock is its, else 4 or later.
# Given: package.json, yarn.lock and Yarn's own files in the work folder; --ignore-scripts, --offline; for another processor
# os=OS, cpu=CPU and libc=LIBC; OWN_SCRIPTS where the project has install scripts of its own; DEVELOPMENT when packages for
# development are wanted, too.
# Leaves: node_modules. What would be Plug'n'Play becomes one too, since the image is started with node alone; Yarn 4 installs for 2
# and 3 as well, which have no `focus`.
# shellcheck shell=sh
set -e
# shellcheck source=recipes/node/manager.sh
. /run/recipe/manager.sh

get_yarn
if [ "$yarn" = 1 ]; then
    case $* in *cpu=*) echo "Yarn 1 installs for this machine's processor only" >&2; exit 1 ;; esac
    case " $* " in *" --ignore-scripts "*) OWN_SCRIPTS= ;; esac
    if [ "${DEVELOPMENT:-}" ]; then exec yarn install --production=false --frozen-lockfile --non-interactive "$@"; fi
    # The project's own scripts may call programs of packages for development, or change what is installed.
    if [ "${OWN_SCRIPTS:-}" ]; then
        yarn install --production=false --frozen-lockfile --non-interactive "$@"
        set -- --ignore-scripts "$@"
    fi
    exec yarn install --production --frozen-lockfile --non-interactive "$@"
fi

for word; do case $word in
    --ignore-scripts) export YARN_ENABLE_SCRIPTS=false ;;
    *=*) yarn config set -H "supportedArchitectures.${word%=*}" --json "[\"${word#*=}\"]" ;;
esac; done
locked=$(grep '"[^"]*@npm:' yarn.lock)
yarn install --mode=update-lockfile
if [ "$locked" != "$(grep '"[^"]*@npm:' yarn.lock)" ]; then
    echo "yarn.lock does not fit package.json: yarn install mends it" >&2; exit 1
fi
if [ "${DEVELOPMENT:-}" ]; then exec yarn install; fi
if [ "${OWN_SCRIPTS:-}" ]; then yarn install; fi
exec yarn workspaces focus --all --production
